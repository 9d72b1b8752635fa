"""From named values and a page's context to the vector that a model scores.

Every entry is standardised with a fixed, stated scale, so that a vector logged today means the same tomorrow: numbers
as (f(value) − centre) / spread, cut to [−3, 3], with f the identity or log(1 + value); categories as one entry a
choice or hash bucket, with the value `height`. A missing value is 0. The first entry is the constant 1; the second is
1 when personal data were read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from math import copysign, log1p
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitrina.core.clock import DAY, HOUR, Micros

__all__ = ["COMMERCE_COLUMNS", "VECTOR_NUMBER", "Choice", "Clock", "Column", "Hashed", "Number", "Vectoriser", "height"]

VECTOR_NUMBER = 1
"""Version of `COMMERCE_COLUMNS`: raise it whenever they change."""

_CUT = 3.0


class Number(msgspec.Struct, frozen=True, tag="number"):
    """A number as (f(value) − centre) / spread; `log` takes log(1 + value).

    With `indicator` there is one more entry: 1 if missing. `field` is a feature's name, `trait.NAME` or `context.NAME`.
    """

    field: str
    centre: float = 0.0
    spread: float = 1.0
    log: bool = False
    indicator: bool = False


class Choice(msgspec.Struct, frozen=True, tag="choice"):
    """A category with known values: one entry each (`height`), compared without case; anything else is all 0."""

    field: str
    values: tuple[str, ...]


class Hashed(msgspec.Struct, frozen=True, tag="hashed"):
    """A category with unknown values: `height(buckets)` in one of `buckets` entries, by BLAKE2b of the text."""

    field: str
    buckets: int


class Clock(msgspec.Struct, frozen=True, tag="clock"):
    """Hour of the day and day of the week in UTC, each as a sine and a cosine."""


Column = Number | Choice | Hashed | Clock

COMMERCE_COLUMNS: tuple[Column, ...] = (
    Number("orders_30d", 0.5, 0.5, log=True),
    Number("orders_90d", 0.7, 0.6, log=True),
    Number("orders_all", 1.0, 1.0, log=True),
    Number("revenue_90d", 5.0, 4.0, log=True),
    Number("average_order", 8.0, 1.5, log=True, indicator=True),
    Number("days_since_last_order", 3.5, 1.5, log=True, indicator=True),
    Number("refunds_90d", 0.0, 0.7, log=True),
    Number("discount_share", 0.3, 0.3),
    Number("products_bought_365d", 1.5, 1.5, log=True),
    Number("views_7d", 1.0, 1.0, log=True),
    Number("views_decayed", 1.0, 1.0, log=True),
    Number("products_viewed_7d", 1.0, 1.0, log=True),
    Number("sessions_30d", 1.0, 0.8, log=True),
    Number("clicks_30d", 0.5, 0.7, log=True),
    Number("emails_opened_30d", 0.5, 0.7, log=True),
    Number("days_since_first_seen", 3.0, 1.5, log=True),
    Hashed("top_category", 8),
    Choice("context.device", ("mobile", "desktop", "tablet")),
    Clock(),
)
"""Columns for a shop: starter features, the device, and the time."""

Place = Callable[[str], int | None]


class _Part(NamedTuple):
    """Columns that are filled from one source, as the tuples that the loop needs."""

    numbers: list[tuple[str, int, int, bool, float, float]]
    """Field, entry, entry of the indicator or 0, logarithm, centre, 1 / spread."""
    categories: list[tuple[str, Place, float]]


class Vectoriser:
    """Turns values and context into a float32 vector of fixed length and order.

    Args:
        columns: what to put into the vector, in this order.
        number: version of the columns.

    Attributes:
        names, size: names of the entries, and how many there are.
        personal: places of the entries that come from a person: all others are the page's, or the same for everybody.
    """

    def __init__(self, columns: Sequence[Column] = COMMERCE_COLUMNS, number: int = VECTOR_NUMBER) -> None:
        self.number = number
        self.columns = tuple(columns)
        names = ["constant", "personal"]
        personal = [1]
        self._person = _Part([], [])
        self._context = _Part([], [])
        self._clock: int | None = None
        for column in columns:
            at = len(names)
            if isinstance(column, Clock):
                self._clock = at
            else:
                contextual = column.field.startswith("context.")
                part, field = (self._context if contextual else self._person), column.field.removeprefix("context.")
                if isinstance(column, Number):
                    missing = at + 1 if column.indicator else 0
                    part.numbers.append((field, at, missing, column.log, column.centre, 1 / column.spread))
                else:
                    part.categories.append((field, _categories(column, at), height(len(_entry_names(column)))))
                if not contextual:
                    personal += range(at, at + len(_entry_names(column)))
            names += _entry_names(column)
        self.personal = tuple(personal)
        self.names = tuple(names)
        self.size = len(names)
        self._nobody = [1.0] + [0.0] * (self.size - 1)

    def vector(
        self,
        values: Mapping[str, Any],
        context: Mapping[str, Any],
        now: Micros,
        traits: Mapping[str, Any] | None = None,
    ) -> NDArray[np.float32]:
        """The vector of a person, float32 of shape (`size`,).

        Args:
            values: feature values by name (see `FeatureSet.values`).
            context: what the page said.
            now: moment of the decision.
            traits: traits by name, for columns `trait.NAME`.
        """
        return self.on_page(self.person(values, traits), context, now)

    def person(self, values: Mapping[str, Any], traits: Mapping[str, Any] | None = None) -> list[float]:
        """The personal entries, the others 0: what stays the same from page to page (see `on_page`)."""
        entries = [0.0] * self.size
        entries[0] = entries[1] = 1.0
        known = values if traits is None else {**values, **{f"trait.{name}": value for name, value in traits.items()}}
        _fill(self._person, entries, known)
        return entries

    def on_page(self, person: list[float], context: Mapping[str, Any], now: Micros) -> NDArray[np.float32]:
        """The vector of somebody whose personal entries are known (`person`, left as it is) on a page at a moment."""
        entries = person.copy()
        _fill(self._context, entries, context)
        if self._clock is not None:
            at = self._clock
            entries[at : at + 4] = _CLOCK[now // HOUR % 24, (now // DAY + 3) % 7]
        return np.array(entries, dtype=np.float32)

    def empty(self, context: Mapping[str, Any], now: Micros) -> NDArray[np.float32]:
        """The vector of nobody: context only, every personal entry 0. No personal data go in."""
        return self.on_page(self._nobody, context, now)


def _fill(part: _Part, entries: list[float], source: Mapping[str, Any]) -> None:
    for field, at, missing, log, centre, scale in part.numbers:
        value = source.get(field)
        if value is None or value != value or not isinstance(value, (int, float)):
            if missing:
                entries[missing] = 1.0
            continue
        scaled = ((log1p(value if value > 0 else 0) if log else value) - centre) * scale  # noqa: FURB136
        entries[at] = scaled if -_CUT <= scaled <= _CUT else copysign(_CUT, scaled)
    for field, place, value_there in part.categories:
        value = source.get(field)
        at = place(value) if isinstance(value, str) else None
        if at is not None:
            entries[at] = value_there


def height(entries: int) -> float:
    """What the entry of a category holds: 1 over the standard deviation of one that is true once in `entries` times.

    At most 3, as everything; so a category weighs as much as a number under the model's one prior.

    >>> round(height(4), 2), height(8)
    (2.31, 3.0)
    """
    share = 1.0 / max(entries, 2)
    return min(_CUT, 1.0 / math.sqrt(share * (1.0 - share)))


def _clock_entries(hour: int, weekday: int) -> tuple[float, float, float, float]:
    day, week = 2 * math.pi * hour / 24, 2 * math.pi * weekday / 7
    return math.sin(day), math.cos(day), math.sin(week), math.cos(week)


_CLOCK = {(hour, weekday): _clock_entries(hour, weekday) for hour in range(24) for weekday in range(7)}


def _entry_names(column: Column) -> list[str]:
    match column:
        case Number(field=field, indicator=indicator):
            return [field, f"{field} missing"] if indicator else [field]
        case Choice(field=field, values=values):
            return [f"{field}={value}" for value in values]
        case Hashed(field=field, buckets=buckets):
            return [f"{field}#{bucket}" for bucket in range(buckets)]
        case Clock():
            return ["hour sine", "hour cosine", "weekday sine", "weekday cosine"]


def _categories(column: Choice | Hashed, at: int) -> Place:
    """The function that finds the entry of a category, or None."""
    match column:
        case Choice(values=values):
            places = {value.casefold(): at + i for i, value in enumerate(values)}
            return lambda text: places.get(text.casefold())
        case Hashed(buckets=buckets):
            return lambda text: at + _bucket(text, buckets)


@lru_cache(maxsize=65_536)
def _bucket(text: str, buckets: int) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).digest()) % buckets
