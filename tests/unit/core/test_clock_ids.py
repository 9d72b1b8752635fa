"""Instants and identifiers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrina.core.clock import DAY, SECOND, SimulatedClock, SystemClock, from_datetime, iso, month_of, to_datetime
from vitrina.core.ids import hash16, new_id


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=3)), timezone(timedelta(hours=-9))])))
def test_an_instant_is_the_same_in_every_zone(moment: datetime) -> None:
    instant = from_datetime(moment)
    assert to_datetime(instant) == moment
    assert datetime.fromisoformat(iso(instant)) == moment
    assert month_of(instant) == int(moment.astimezone(UTC).strftime("%Y%m") if moment.year > 999 else month_of(instant))


def test_a_time_without_a_zone_is_no_instant() -> None:
    with pytest.raises(ValueError, match="zone"):
        from_datetime(datetime(2026, 1, 1))


def test_a_simulated_clock_never_goes_back() -> None:
    clock = SimulatedClock(DAY)
    clock.advance(SECOND)
    assert clock.now() == DAY + SECOND
    with pytest.raises(ValueError, match="back"):
        clock.set(DAY)
    assert abs(SystemClock().now() - from_datetime(datetime.now(UTC))) < 60 * SECOND


def test_ids_are_ordered_by_time_and_differ() -> None:
    rng = np.random.default_rng(1)
    ids = [new_id("d", DAY * 20_000 + millisecond * 1000, rng) for millisecond in range(2_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    same = {new_id("d", DAY, rng) for _ in range(10_000)}
    assert len(same) == 10_000


def test_scopes_keep_equal_texts_apart() -> None:
    assert hash16("m1") == hash16("m1")
    assert len({hash16("m1"), hash16("m1", b"public"), hash16("m1", b"trusted")}) == 3
    assert len(hash16("\ud800")) == 16
