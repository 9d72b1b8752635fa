"""A placement on the wire: its policy, and the outcomes that count."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from vitrina.core.catalogue import OutcomeRule, Placement, PolicySettings
from vitrina.core.clock import DAY, HOUR, MINUTE, SECOND
from vitrina.core.consent import Purpose
from vitrina.core.errors import UserError
from vitrina.core.money import Money
from vitrina.decide.wire.fields import AmountBody, WireBody, amount_body, check_currency, check_id, money_of

__all__ = ["OutcomeBody", "PlacementBody", "PolicyBody", "placement_body", "placement_of"]

_SPAN = re.compile(r"(\d+) ?(s|m|h|d)")
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}


class PolicyBody(WireBody, frozen=True, kw_only=True):
    """The rule that chooses, and the share ε of uniform exploration."""

    kind: Literal["bank", "uniform", "ranking"] = "bank"
    floor: Annotated[float, Meta(ge=0, lt=1)] = 0.02


class OutcomeBody(WireBody, frozen=True, kw_only=True):
    """An event that a decision is credited with. `value` is an amount, or "property" for the event's own value.

    `sign` −1 takes back, `weak` marks an early signal. `window` is a time such as 7d, 12h or 30m.
    """

    event: str
    value: AmountBody | Literal["property"] = "property"
    window: str = "7d"
    sign: Literal[1, -1] = 1
    weak: bool = False


class PlacementBody(WireBody, frozen=True, kw_only=True):
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


def placement_of(placement_id: str, body: PlacementBody, currency: str) -> Placement:
    """The placement that a body describes; `currency` is taken where the body names none.

    Raises:
        UserError: an id, a currency or a window that can't be.
    """
    check_id(placement_id, body.id)
    own = check_currency(body.currency or currency, "currency")
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


def _outcome(body: OutcomeBody, currency: str, where: str) -> OutcomeRule:
    value = None if isinstance(body.value, str) else money_of(body.value, f"{where}.value")
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
    value: Any = "property" if rule.value is None else amount_body(Money(rule.value, currency))
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
