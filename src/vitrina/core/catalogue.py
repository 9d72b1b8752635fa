"""What can be shown, how, and where: offers, creatives, placements."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from vitrina.core.clock import Micros
from vitrina.core.consent import Purpose
from vitrina.core.money import Money
from vitrina.core.predicate import Predicate

__all__ = [
    "Cap",
    "Creative",
    "CreativeStatus",
    "Eligibility",
    "Offer",
    "OutcomeRule",
    "Placement",
    "PolicySettings",
    "Schedule",
]


class Cap(msgspec.Struct, frozen=True):
    """At most `count` times per person and `per` = day | week | month | ever (rolling 1, 7, 30 days)."""

    count: int
    per: str


class Schedule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When an offer may be shown: [`start`, `end`), ISO weekdays 1–7, hours 0–23 in UTC; empty means always."""

    start: Micros | None = None
    end: Micros | None = None
    days: tuple[int, ...] = ()
    hours: tuple[int, ...] = ()


class Eligibility(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who may be shown an offer."""

    minimum_age: int | None = None
    maximum_age: int | None = None
    requires_consent: tuple[Purpose, ...] = ()
    audience: Predicate | None = None
    exclude: Predicate | None = None
    exclude_bought_days: int | None = None
    cap: Cap | None = None


class Offer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is proposed. `margin` is what one sale earns after the discount; `cost` is that of showing or sending once.

    `placements` empty means every placement. `stock` None means not counted. `revision` counts changes.
    """

    id: str
    name: str
    category: str = ""
    attributes: dict[str, str | int | float | bool] = {}
    price: Money | None = None
    margin: Money | None = None
    discount: float = 0.0
    cost: Money | None = None
    placements: tuple[str, ...] = ()
    schedule: Schedule | None = None
    stock: int | None = None
    tags: tuple[str, ...] = ()
    advertising: bool = False
    eligibility: Eligibility = Eligibility()
    enabled: bool = True
    revision: int = 0


class CreativeStatus(enum.StrEnum):
    """Only an approved creative is shown."""

    DRAFT = "draft"
    APPROVED = "approved"
    WITHDRAWN = "withdrawn"


class Creative(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an offer is shown, in one language and size. `content` is the object that the page renders."""

    id: str
    offer_id: str
    channel: str = "web"
    locale: str = ""
    size: str = ""
    content: dict[str, Any] = {}
    generated: bool = False
    status: CreativeStatus = CreativeStatus.DRAFT
    revision: int = 0


class OutcomeRule(msgspec.Struct, frozen=True, kw_only=True):
    """An event that a decision is credited with.

    `value` is a fixed amount in minor units, or None for the event's own value (else the offer's margin); `sign` −1
    takes back; `weak` marks an early signal (a click); `window` in microseconds counts from the decision.
    """

    event: str
    value: int | None = None
    sign: int = 1
    weak: bool = False
    window: Micros


class PolicySettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The rule that turns expected margins into chances: `kind` bank | uniform | ranking; `floor` ε in [0, 1).

    `ranking` is deterministic (replay only): position k shows the k-th best with probability 1.
    """

    kind: str = "bank"
    floor: float = 0.02


class Placement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a decision is shown."""

    id: str
    name: str = ""
    public: bool = False
    slots: int = 1
    channel: str = "web"
    currency: str = "EUR"
    holdout: float = 0.05
    holdout_serves: str | tuple[str, ...] = "uniform"
    policy: PolicySettings = PolicySettings()
    outcomes: tuple[OutcomeRule, ...] = ()
    fallback: dict[str, Any] = {}
    durability: str = "power"
    purpose: Purpose = Purpose.PERSONALISATION
    enabled: bool = True
    revision: int = 0
