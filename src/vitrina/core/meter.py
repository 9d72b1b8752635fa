"""Counting what happens, for those who watch: counts by label and histograms, in memory, since the process began.

They cost a fraction of a microsecond and know nothing of how they are shown. A label is never about a person.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Generic, TypeVar

import msgspec

__all__ = ["OTHER", "Distribution", "Histogram", "Tally"]

K = TypeVar("K")

OTHER = "other"
"""The label under which everything beyond a bound of cardinality is counted."""


class Distribution(msgspec.Struct, frozen=True):
    """What a histogram holds: for each upper bound how many values were at most that; count, sum."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    count: int
    total: float


class Histogram:
    """Counts of values by upper bounds. One thread observes, any may read: a reader may miss the latest value.

    >>> seen = Histogram((1, 10))
    >>> for value in (0.5, 1, 3, 100): seen.observe(value)
    >>> seen.read()
    Distribution(bounds=(1, 10), counts=(2, 3), count=4, total=104.5)
    """

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def read(self) -> Distribution:
        """What was seen so far."""
        counts = tuple(accumulate(self._counts))
        return Distribution(self._bounds, counts[:-1], counts[-1], self._total)


class Tally(Generic[K]):
    """Counts by label, from any thread. Of new labels beyond `most`, the rest is counted under `other`.

    >>> seen = Tally(most=1, other="other")
    >>> for label in ("home", "basket", "home"): seen.add(label)
    >>> seen.read()
    {'home': 2, 'other': 1}
    """

    def __init__(self, *, most: int, other: K) -> None:
        self._most = most
        self._other = other
        self._counts: dict[K, int] = {}
        self._lock = threading.Lock()

    def add(self, label: K, count: int = 1) -> None:
        """Count `label`."""
        with self._lock:
            counts = self._counts
            if label not in counts and len(counts) >= self._most:
                label = self._other
            counts[label] = counts.get(label, 0) + count

    def read(self) -> dict[K, int]:
        """The counts so far."""
        with self._lock:
            return dict(self._counts)
