"""Time as an argument.

Inside the house an instant is an `int`: microseconds since 1970-01-01 UTC (type `Micros`). At the borders (wire,
screen, files) it is an aware `datetime` or ISO 8601 text. The clock belongs to the workspace, so that the gym and
`replay` run the very code that production runs.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

__all__ = [
    "DAY",
    "HOUR",
    "MILLISECOND",
    "MINUTE",
    "SECOND",
    "Clock",
    "Micros",
    "SimulatedClock",
    "SystemClock",
    "from_datetime",
    "instant_of",
    "iso",
    "month_of",
    "to_datetime",
]

Micros = int
"""Microseconds since the Unix epoch, UTC."""

MILLISECOND = 1_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE = timedelta(microseconds=1)


class Clock(Protocol):
    """Anything that tells the time."""

    def now(self) -> Micros:
        """The present instant, in microseconds UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> Micros:
        """The present instant, in microseconds UTC."""
        return time.time_ns() // 1_000


class SimulatedClock:
    """A clock that moves only when told to; it never goes back."""

    def __init__(self, start: Micros) -> None:
        self._now = start

    def now(self) -> Micros:
        """The instant it was last set to."""
        return self._now

    def set(self, instant: Micros) -> None:
        """Move to `instant`; an earlier one is a `ValueError`."""
        if instant < self._now:
            raise ValueError(f"a simulated clock can't go back from {iso(self._now)} to {iso(instant)}")
        self._now = instant

    def advance(self, micros: int) -> None:
        """Move forward by `micros`."""
        self.set(self._now + micros)


def from_datetime(value: datetime) -> Micros:
    """Microseconds of an aware datetime; a naive one is a `ValueError`.

    >>> from_datetime(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    if value.tzinfo is None:
        raise ValueError("a time without a zone can't be placed: add an offset, for example +00:00")
    return (value - _EPOCH) // _ONE


def instant_of(value: datetime) -> Micros:
    """Microseconds of a datetime; one without a zone is UTC.

    >>> instant_of(datetime(1970, 1, 1, 0, 0, 1))
    1000000
    """
    return from_datetime(value if value.tzinfo is not None else value.replace(tzinfo=UTC))


def month_of(instant: Micros) -> int:
    """The month of an instant in UTC, as the lake names its partitions.

    >>> month_of(0)
    197001
    """
    moment = to_datetime(instant)
    return moment.year * 100 + moment.month


def to_datetime(instant: Micros) -> datetime:
    """The aware UTC datetime of an instant."""
    return _EPOCH + timedelta(microseconds=instant)


def iso(instant: Micros) -> str:
    """ISO 8601 text in UTC with a trailing Z.

    >>> iso(1_500_000)
    '1970-01-01T00:00:01.500000Z'
    """
    return to_datetime(instant).isoformat().replace("+00:00", "Z")
