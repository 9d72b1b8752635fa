"""Counting: bounds are inclusive, nothing is lost among threads, labels have a bound."""

from __future__ import annotations

import threading
from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from vitrina.core.meter import Histogram, Tally

BOUNDS = (0.1, 1.0, 10.0)


@given(st.lists(st.floats(0, 100)))
def test_a_histogram_counts_values_up_to_each_bound(values: list[float]) -> None:
    seen = Histogram(BOUNDS)
    for value in values:
        seen.observe(value)
    found = seen.read()
    ordered = sorted(values)
    assert found.counts == tuple(bisect_left(ordered, bound) + values.count(bound) for bound in BOUNDS)
    assert found.count == len(values)
    assert abs(found.total - sum(values)) < 1e-6


def test_threads_lose_no_count() -> None:
    seen: Tally[str] = Tally(most=3, other="other")

    def count() -> None:
        for number in range(20_000):
            seen.add("abcdef"[number % 6])

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = seen.read()
    assert set(counts) == {"a", "b", "c", "other"}
    assert sum(counts.values()) == 80_000
