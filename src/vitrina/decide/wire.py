"""Offers, creatives and placements as JSON on the wire (camelCase), and back.

Every refusal names the field at fault.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from vitrina.core.catalogue import (
    Cap,
    Creative,
    CreativeStatus,
    Eligibility,
    Offer,
    OutcomeRule,
    Placement,
    PolicySettings,
    Schedule,
)
from vitrina.core.clock import DAY, HOUR, MINUTE, SECOND, Micros, from_datetime, iso
from vitrina.core.consent import Purpose
from vitrina.core.errors import UserError
from vitrina.core.money import Money, to_minor
from vitrina.core.predicate import Predicate
from vitrina.understand.audiences import parse, to_wire

__all__ = [
    "AmountBody",
    "CreativeBody",
    "OfferBody",
    "PlacementBody",
    "creative_body",
    "creative_of",
    "decode_body",
    "invalid",
    "offer_body",
    "offer_of",
    "placement_body",
    "placement_of",
]

B = TypeVar("B")
_ID = re.compile(r"[^\s/?#]{1,200}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_SPAN = re.compile(r"(\d+) ?(s|m|h|d)")
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class _Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    pass


class AmountBody(_Body, frozen=True, kw_only=True):
    """An amount of money: a decimal string or a number, answered as a string; `currency` is an ISO 4217 code."""

    amount: str | int | float
    currency: str


class ScheduleBody(_Body, frozen=True, kw_only=True):
    """When an offer may be shown.

    ISO 8601 times, days 1 (Monday) – 7 or their English names, hours 0–23, all in UTC.
    """

    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    days: list[int | str] = []
    hours: list[Annotated[int, Meta(ge=0, le=23)]] = []


class CapBody(_Body, frozen=True, kw_only=True):
    """At most `count` times a person in a rolling day, week (7 days) or month (30 days), or ever."""

    count: Annotated[int, Meta(ge=1)]
    per: Literal["day", "week", "month", "ever"]


class EligibilityBody(_Body, frozen=True, kw_only=True):
    """Who may be shown an offer. `audience` and `exclude` are rules."""

    minimum_age: Annotated[int, Meta(ge=0, le=130)] | None = None
    maximum_age: Annotated[int, Meta(ge=0, le=130)] | None = None
    requires_consent: list[Purpose] = []
    audience: dict[str, Any] | None = None
    exclude: dict[str, Any] | None = None
    exclude_bought_days: Annotated[int, Meta(ge=1, le=365)] | None = None
    cap: CapBody | None = None


class OfferBody(_Body, frozen=True, kw_only=True):
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


class CreativeBody(_Body, frozen=True, kw_only=True):
    """How an offer is shown, in one language and size. Only an approved one is."""

    id: str | None = None
    offer_id: str
    channel: str = "web"
    locale: str = ""
    size: str = ""
    content: dict[str, Any] = {}
    generated: bool = False
    status: CreativeStatus = CreativeStatus.DRAFT
    revision: int | None = None


class PolicyBody(_Body, frozen=True, kw_only=True):
    """The rule that chooses, and the share ε of uniform exploration."""

    kind: Literal["bank", "uniform", "ranking"] = "bank"
    floor: Annotated[float, Meta(ge=0, lt=1)] = 0.02


class OutcomeBody(_Body, frozen=True, kw_only=True):
    """An event that a decision is credited with. `value` is an amount, or "property" for the event's own value.

    `sign` −1 takes back, `weak` marks an early signal. `window` is a time such as 7d, 12h or 30m.
    """

    event: str
    value: AmountBody | Literal["property"] = "property"
    window: str = "7d"
    sign: Literal[1, -1] = 1
    weak: bool = False


class PlacementBody(_Body, frozen=True, kw_only=True):
    """Where a decision is shown. `channel` "" means that the page renders offers itself and needs no creative."""

    id: str | None = None
    name: str = ""
    public: bool = False
    slots: Annotated[int, Meta(ge=1, le=20)] = 1
    channel: str = "web"
    currency: str | None = None
    holdout: Annotated[float, Meta(ge=0, le=1)] = 0.05
    holdout_serves: Literal["uniform", "fallback"] | list[str] = "uniform"
    policy: PolicyBody = msgspec.field(default_factory=PolicyBody)
    outcomes: list[OutcomeBody] = []
    fallback: dict[str, Any] = {}
    durability: Literal["process", "power"] = "power"
    purpose: Purpose = Purpose.PERSONALISATION
    enabled: bool = True
    revision: int | None = None


def decode_body(body: bytes, kind: type[B]) -> B:
    """A body of `kind` (one of the `…Body` types) from JSON.

    Raises:
        UserError: unreadable JSON, an unknown, missing or wrong field; `where` is its path.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"this is not JSON: {error}.", code="catalogue.unreadable", cure="Send one JSON object."
        ) from None


def invalid(error: msgspec.ValidationError) -> UserError:
    """The error of msgspec as one that names the field."""
    said = str(error)
    what, _, path = said.partition(" - at `$")
    where = path.rstrip("`").lstrip(".")
    unknown = re.search(r"unknown field `(.+?)`", what) or re.search(r"missing required field `(.+?)`", what)
    if unknown:
        where = f"{where}.{unknown[1]}".lstrip(".")
    return UserError(f"{what}.", code="catalogue.invalid", where=where, cure="Correct this field.")


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
    _check_id(offer_id, body.id)
    price, margin = _money(body.price, "price"), _money(body.margin, "margin", negative=True)
    cost = _money(body.cost, "cost")
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
        price=_amount(offer.price),
        margin=_amount(offer.margin),
        discount=offer.discount,
        cost=_amount(offer.cost),
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


def creative_of(creative_id: str, body: CreativeBody) -> Creative:
    """The creative that a body describes; a `UserError` when its id can't be one."""
    _check_id(creative_id, body.id)
    return Creative(
        id=creative_id,
        offer_id=body.offer_id,
        channel=body.channel,
        locale=body.locale,
        size=body.size,
        content=body.content,
        generated=body.generated,
        status=body.status,
    )


def creative_body(creative: Creative) -> CreativeBody:
    """The wire form of a creative."""
    return CreativeBody(**{name: getattr(creative, name) for name in CreativeBody.__struct_fields__})


def placement_of(placement_id: str, body: PlacementBody, currency: str) -> Placement:
    """The placement that a body describes; `currency` is taken where the body names none.

    Raises:
        UserError: an id, a currency or a window that can't be.
    """
    _check_id(placement_id, body.id)
    own = _check_currency(body.currency or currency, "currency")
    serves = body.holdout_serves
    return Placement(
        id=placement_id,
        name=body.name,
        public=body.public,
        slots=body.slots,
        channel=body.channel,
        currency=own,
        holdout=body.holdout,
        holdout_serves=serves if isinstance(serves, str) else tuple(serves),
        policy=PolicySettings(kind=body.policy.kind, floor=body.policy.floor),
        outcomes=tuple(_outcome(outcome, own, f"outcomes[{i}]") for i, outcome in enumerate(body.outcomes)),
        fallback=body.fallback,
        durability=body.durability,
        purpose=body.purpose,
        enabled=body.enabled,
    )


def placement_body(placement: Placement) -> PlacementBody:
    """The wire form of a placement."""
    serves: Any = (
        placement.holdout_serves if isinstance(placement.holdout_serves, str) else list(placement.holdout_serves)
    )
    policy: Any = placement.policy
    return PlacementBody(
        id=placement.id,
        name=placement.name,
        public=placement.public,
        slots=placement.slots,
        channel=placement.channel,
        currency=placement.currency,
        holdout=placement.holdout,
        holdout_serves=serves,
        policy=PolicyBody(kind=policy.kind, floor=policy.floor),
        outcomes=[_outcome_body(rule, placement.currency) for rule in placement.outcomes],
        fallback=placement.fallback,
        durability=placement.durability,  # pyright: ignore[reportArgumentType]
        purpose=placement.purpose,
        enabled=placement.enabled,
        revision=placement.revision,
    )


def _check_id(given: str, inside: str | None) -> None:
    if not _ID.fullmatch(given):
        raise UserError(
            f"{given!r} can't be an id.",
            code="catalogue.id",
            where="id",
            cure="Use 1 to 200 characters without spaces, /, ? or #.",
        )
    if inside is not None and inside != given:
        raise UserError(
            f"the body names {inside}, the address {given}.", code="catalogue.id", where="id", cure="Use one id."
        )


def _check_currency(currency: str, where: str) -> str:
    if not _CURRENCY.fullmatch(currency):
        raise UserError(
            f"{currency!r} is no currency.",
            code="catalogue.currency",
            where=where,
            cure="Use three capital letters, such as EUR.",
        )
    return currency


def _money(body: AmountBody | None, where: str, *, negative: bool = False) -> Money | None:
    if body is None:
        return None
    currency = _check_currency(body.currency, f"{where}.currency")
    minor = to_minor(body.amount, currency, f"{where}.amount")
    if minor < 0 and not negative:
        raise UserError(
            f"a {where} can't be negative.",
            code="catalogue.negative",
            where=f"{where}.amount",
            cure="Write an amount of 0 or more.",
        )
    return Money(minor, currency)


def _amount(money: Money | None) -> AmountBody | None:
    return None if money is None else AmountBody(amount=str(money.amount), currency=money.currency)


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


def _outcome(body: OutcomeBody, currency: str, where: str) -> OutcomeRule:
    value = None if isinstance(body.value, str) else _money(body.value, f"{where}.value")
    if value is not None and value.currency != currency:
        raise UserError(
            f"the value is in {value.currency}, the placement in {currency}.",
            code="catalogue.currency",
            where=f"{where}.value.currency",
            cure="Use the placement's currency.",
        )
    return OutcomeRule(
        event=body.event,
        value=None if value is None else value.minor,
        sign=body.sign,
        weak=body.weak,
        window=_span(body.window, f"{where}.window"),
    )


def _outcome_body(rule: OutcomeRule, currency: str) -> OutcomeBody:
    value: Any = "property" if rule.value is None else _amount(Money(rule.value, currency))
    return OutcomeBody(
        event=rule.event, value=value, window=_span_text(rule.window), sign=1 if rule.sign > 0 else -1, weak=rule.weak
    )


def _span(given: str, where: str) -> int:
    found = _SPAN.fullmatch(given.strip())
    if found is None or not 0 < int(found[1]) * _UNITS[found[2]] <= 400 * DAY:
        raise UserError(
            f"{given!r} is no window.",
            code="catalogue.window",
            where=where,
            cure="Write a time of up to 400 days, like 7d, 12h or 30m.",
        )
    return int(found[1]) * _UNITS[found[2]]


def _span_text(window: int) -> str:
    unit = next(unit for unit in ("d", "h", "m", "s") if window % _UNITS[unit] == 0)
    return f"{window // _UNITS[unit]}{unit}"
