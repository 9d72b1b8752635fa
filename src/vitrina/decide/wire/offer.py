"""An offer on the wire: money, schedule, and who may be shown it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from vitrina.core.catalogue import Cap, Eligibility, Offer, Schedule
from vitrina.core.clock import Micros, from_datetime, iso
from vitrina.core.consent import Purpose
from vitrina.core.errors import UserError
from vitrina.core.predicate import Predicate
from vitrina.decide.wire.fields import AmountBody, WireBody, amount_body, check_id, money_of
from vitrina.understand.audiences import parse, to_wire

__all__ = ["CapBody", "EligibilityBody", "OfferBody", "ScheduleBody", "offer_body", "offer_of"]

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class ScheduleBody(WireBody, frozen=True, kw_only=True):
    """When an offer may be shown.

    ISO 8601 times, days 1 (Monday) – 7 or their English names, hours 0–23, all in UTC.
    """

    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    days: list[int | str] = []
    hours: list[Annotated[int, Meta(ge=0, le=23)]] = []


class CapBody(WireBody, frozen=True, kw_only=True):
    """At most `count` times a person in a rolling day, week (7 days) or month (30 days), or ever."""

    count: Annotated[int, Meta(ge=1)]
    per: Literal["day", "week", "month", "ever"]


class EligibilityBody(WireBody, frozen=True, kw_only=True):
    """Who may be shown an offer. `audience` and `exclude` are rules."""

    minimum_age: Annotated[int, Meta(ge=0, le=130)] | None = None
    maximum_age: Annotated[int, Meta(ge=0, le=130)] | None = None
    requires_consent: list[Purpose] = []
    audience: dict[str, Any] | None = None
    exclude: dict[str, Any] | None = None
    exclude_bought_days: Annotated[int, Meta(ge=1, le=365)] | None = None
    cap: CapBody | None = None


class OfferBody(WireBody, frozen=True, kw_only=True):
    """What is proposed. `margin` is what one sale earns after the discount, `cost` what showing it once costs."""

    id: str | None = None
    name: str
    category: str = ""
    attributes: dict[str, str | int | float | bool] = {}
    price: AmountBody | None = None
    margin: AmountBody | None = None
    discount: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    cost: AmountBody | None = None
    placements: list[str] = []
    schedule: ScheduleBody | None = None
    stock: Annotated[int, Meta(ge=0)] | None = None
    tags: list[str] = []
    advertising: bool = False
    eligibility: EligibilityBody = msgspec.field(default_factory=EligibilityBody)
    enabled: bool = True
    revision: int | None = None


def offer_of(offer_id: str, body: OfferBody, fields: Collection[str] | None = None) -> Offer:
    """The offer that a body describes.

    Args:
        offer_id: its id.
        body: the rest.
        fields: names of features that rules may look at; None lets every name pass.

    Raises:
        UserError: a field can't be: an id with spaces, money of two currencies, a negative price, a rule that can't
        be read.
    """
    check_id(offer_id, body.id)
    price, margin = money_of(body.price, "price"), money_of(body.margin, "margin", negative=True)
    cost = money_of(body.cost, "cost")
    currencies = {money.currency for money in (price, margin, cost) if money is not None}
    if len(currencies) > 1:
        raise UserError(
            f"price, margin and cost are in {' and '.join(sorted(currencies))}.",
            code="catalogue.currency",
            where="margin.currency" if margin else "cost.currency",
            cure="Use one currency for an offer.",
        )
    return Offer(
        id=offer_id,
        name=body.name,
        category=body.category,
        attributes=body.attributes,
        price=price,
        margin=margin,
        discount=body.discount,
        cost=cost,
        placements=tuple(body.placements),
        schedule=None if body.schedule is None else _schedule(body.schedule),
        stock=body.stock,
        tags=tuple(body.tags),
        advertising=body.advertising,
        eligibility=_eligibility(body.eligibility, fields),
        enabled=body.enabled,
    )


def offer_body(offer: Offer) -> OfferBody:
    """The wire form of an offer."""
    rules = offer.eligibility
    return OfferBody(
        id=offer.id,
        name=offer.name,
        category=offer.category,
        attributes=offer.attributes,
        price=amount_body(offer.price),
        margin=amount_body(offer.margin),
        discount=offer.discount,
        cost=amount_body(offer.cost),
        placements=list(offer.placements),
        schedule=None if offer.schedule is None else _schedule_body(offer.schedule),
        stock=offer.stock,
        tags=list(offer.tags),
        advertising=offer.advertising,
        eligibility=EligibilityBody(
            minimum_age=rules.minimum_age,
            maximum_age=rules.maximum_age,
            requires_consent=list(rules.requires_consent),
            audience=_rule_body(rules.audience),
            exclude=_rule_body(rules.exclude),
            exclude_bought_days=rules.exclude_bought_days,
            cap=None if rules.cap is None else CapBody(count=rules.cap.count, per=rules.cap.per),  # pyright: ignore[reportArgumentType]
        ),
        enabled=offer.enabled,
        revision=offer.revision,
    )


def _schedule(body: ScheduleBody) -> Schedule:
    start, end = _time(body.from_, "schedule.from"), _time(body.to, "schedule.to")
    if start is not None and end is not None and end <= start:
        raise UserError(
            "the schedule ends before it begins.",
            code="catalogue.schedule",
            where="schedule.to",
            cure="Use a later time.",
        )
    days = tuple(sorted({_day(day) for day in body.days}))
    return Schedule(start=start, end=end, days=days, hours=tuple(sorted(set(body.hours))))


def _schedule_body(schedule: Schedule) -> ScheduleBody:
    return ScheduleBody(
        from_=None if schedule.start is None else iso(schedule.start),
        to=None if schedule.end is None else iso(schedule.end),
        days=list(schedule.days),
        hours=list(schedule.hours),
    )


def _time(given: str | None, where: str) -> Micros | None:
    if given is None:
        return None
    try:
        return from_datetime(datetime.fromisoformat(given))
    except ValueError as error:
        raise UserError(
            f"{given!r} is no time: {error}.",
            code="catalogue.time",
            where=where,
            cure='Write it like "2026-12-24T18:00:00Z".',
        ) from None


def _day(given: int | str) -> int:
    day = (
        given
        if isinstance(given, int)
        else next((n for n, name in enumerate(_DAYS, 1) if given[:3].lower() == name), 0)
    )
    if not 1 <= day <= 7:
        raise UserError(
            f"{given!r} is no day of the week.",
            code="catalogue.day",
            where="schedule.days",
            cure="Use 1 (Monday) to 7 (Sunday).",
        )
    return day


def _eligibility(body: EligibilityBody, fields: Collection[str] | None) -> Eligibility:
    low, high = body.minimum_age, body.maximum_age
    if low is not None and high is not None and low > high:
        raise UserError(
            f"nobody is at least {low} and at most {high}.",
            code="catalogue.age",
            where="eligibility.maximumAge",
            cure="Make it the larger one.",
        )
    return Eligibility(
        minimum_age=low,
        maximum_age=high,
        requires_consent=tuple(body.requires_consent),
        audience=_rule(body.audience, "eligibility.audience", fields),
        exclude=_rule(body.exclude, "eligibility.exclude", fields),
        exclude_bought_days=body.exclude_bought_days,
        cap=None if body.cap is None else Cap(body.cap.count, body.cap.per),
    )


def _rule(rule: dict[str, Any] | None, where: str, fields: Collection[str] | None) -> Predicate | None:
    return None if rule is None else parse(rule, where, fields)


def _rule_body(rule: Predicate | None) -> dict[str, Any] | None:
    return None if rule is None else to_wire(rule)
