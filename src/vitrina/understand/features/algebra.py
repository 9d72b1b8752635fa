"""The feature algebra: what to look at (`Events`), and what to compute of it.

A feature is a small expression over one person's events. Two compilers give it the same meaning: `fold` keeps it up to
date event by event, `batch` computes it for everyone with Ibis.

Shared meaning:

- The moment of an event is `occurred_at`, or `available_at` if that is earlier. An event counts at moment T when
  `available_at` is before T.
- A window of N days covers whole UTC days, today included: the days (today − N, today].
- Sums are in integers, so that order and engine don't matter. An amount beyond ±`LARGEST_AMOUNT` counts as that.
- An empty text is a missing value.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from vitrina.core.clock import MINUTE
from vitrina.core.predicate import Predicate

__all__ = [
    "LARGEST_AMOUNT",
    "LINES",
    "WEIGHT_ONE",
    "Amount",
    "Count",
    "DaysSince",
    "Decayed",
    "Distinct",
    "Events",
    "Expression",
    "Feature",
    "Field",
    "Last",
    "Lines",
    "Ratio",
    "Sessions",
    "Sum",
    "TopDecayed",
    "decay_weights",
]

Field = Literal["product_id", "category", "offer_id", "decision_id"]
"""An event's own text."""

Lines = Literal["products.product_id"]
"""A text of each sold line of an order; a value counts once an event."""

Amount = Literal["revenue", "value"]
"""Which amount is summed, in minor units."""

LINES: Lines = "products.product_id"

LARGEST_AMOUNT = 10**12
"""Minor units above which one event's amount is cut, so that no sum leaves 64 bits."""

WEIGHT_ONE = 1 << 20
"""Decay weights are integers in units of 1/`WEIGHT_ONE`: sums are exact in any order and on any engine."""

HALVINGS = 8
"""After this many half-lives an event no longer counts (less than 0.4 % of its weight is left)."""


class Events(msgspec.Struct, frozen=True):
    """Which events to look at.

    Attributes:
        key: short name under which the fold keeps its state; one key, one meaning.
        names: names of `track` events.
        types: other event types (page, screen, identify …) that count whatever their name. With neither names nor
            types, every event counts.
        trusted: only events from secret keys and imports, as for everything that is money.
        where: a further rule over event fields (`category`, `revenue`, `properties.NAME` …).
    """

    key: str
    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    trusted: bool = False
    where: Predicate | None = None


class Count(msgspec.Struct, frozen=True, tag="count"):
    """Number of events in the last `days` UTC days, or ever. An integer, never missing."""

    events: Events
    days: int | None = None


class Sum(msgspec.Struct, frozen=True, tag="sum"):
    """Sum of an amount in minor units, over the last `days` UTC days or ever; no amount counts as 0. Never missing."""

    events: Events
    amount: Amount
    days: int | None = None


class Ratio(msgspec.Struct, frozen=True, tag="ratio"):
    """One count or sum divided by another, as float64; missing when the denominator is 0."""

    numerator: Count | Sum
    denominator: Count | Sum


class DaysSince(msgspec.Struct, frozen=True, tag="days_since"):
    """Whole UTC days from the first or last such event to today; missing when there was none."""

    events: Events
    which: Literal["first", "last"] = "last"


class Distinct(msgspec.Struct, frozen=True, tag="distinct"):
    """Number of different values in the last `days` UTC days, at most `limit`. Never missing."""

    events: Events
    field: Field | Lines
    days: int
    limit: int = 1_000


class Last(msgspec.Struct, frozen=True, tag="last"):
    """The latest value; of several at the same microsecond the largest text. Missing when there was none."""

    events: Events
    field: Field


class Sessions(msgspec.Struct, frozen=True, tag="sessions"):
    """Number of sessions with activity in the last `days` UTC days.

    A session is a run of events in which no two neighbours are more than `gap` microseconds apart (a gap of exactly
    `gap` joins). Never missing.
    """

    events: Events
    days: int
    gap: int = 30 * MINUTE


class Decayed(msgspec.Struct, frozen=True, tag="decayed"):
    """Number of events, each weighing half as much after `half_life` days.

    Ages are whole UTC days; after 8 half-lives an event weighs nothing. A float64, never missing.
    """

    events: Events
    half_life: int


class TopDecayed(msgspec.Struct, frozen=True, tag="top_decayed"):
    """The value with the most decayed events (see `Decayed`); on a tie the larger text.

    Missing when there was none, or when more than `limit` values compete: that is no taste but a robot's walk.
    """

    events: Events
    field: Field
    half_life: int
    limit: int = 200


Expression = Count | Sum | Ratio | DaysSince | Distinct | Last | Sessions | Decayed | TopDecayed


class Feature(msgspec.Struct, frozen=True):
    """A named expression. `english` and `russian` are its words on the screen; `unit` is as in the reference."""

    name: str
    expression: Expression
    english: str
    russian: str
    unit: str = ""


def decay_weights(half_life: int) -> tuple[int, ...]:
    """Integer weight by age in whole days, from 0 to 8 half-lives.

    >>> [w / WEIGHT_ONE for w in decay_weights(1)][:3]
    [1.0, 0.5, 0.25]
    """
    return tuple(round(WEIGHT_ONE * 2 ** (-age / half_life)) for age in range(HALVINGS * half_life + 1))
