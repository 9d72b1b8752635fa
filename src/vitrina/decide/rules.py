"""The eligibility rules of a list of candidates, grouped so that a decision need not look at every offer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import msgspec

from vitrina.core.catalogue import Offer, Schedule
from vitrina.core.clock import DAY, HOUR, Micros
from vitrina.core.predicate import Predicate
from vitrina.core.reasons import code_number

__all__ = [
    "PERIODS",
    "AgeRule",
    "AudienceRule",
    "BoughtRule",
    "CapRule",
    "CompileRule",
    "ConsentRule",
    "Rules",
    "Values",
]

Values = Mapping[str, object]
"""What a rule reads: features by name, `trait.NAME`, `context.NAME`."""

CompileRule = Callable[[Predicate], Callable[[Values], bool]]
"""Turns a predicate into a function of values (`vitrina.understand.audiences`)."""

PERIODS: dict[str, int] = {"day": DAY, "week": 7 * DAY, "month": 30 * DAY, "ever": 10**18}
"""Length of the rolling window of a cap, microseconds."""


class ConsentRule(msgspec.Struct, frozen=True):
    """Offers that need a purpose to be allowed."""

    purpose: str
    positions: tuple[int, ...]


class AgeRule(msgspec.Struct, frozen=True):
    """Offers with the same age limits, full years, both inclusive."""

    minimum: int | None
    maximum: int | None
    positions: tuple[int, ...]


class AudienceRule(msgspec.Struct, frozen=True):
    """Offers with the same rule; `code` is the refusal when the rule's value is `refused_when`."""

    test: Callable[[Values], bool]
    refused_when: bool
    code: int
    positions: tuple[int, ...]


class CapRule(msgspec.Struct, frozen=True):
    """A cap of one offer: at most `count` in the `period` (microseconds) before now."""

    position: int
    count: int
    period: int
    code: int


class BoughtRule(msgspec.Struct, frozen=True):
    """An offer not shown to who bought it in the `period` (microseconds) before now."""

    position: int
    period: int


class Rules:
    """What `list_eligible` reads. Grouped by rule, so that a rule shared by a hundred offers is evaluated once.

    Attributes:
        consents, ages, audiences: rules with the positions they concern; audiences before exclusions.
        advertising: positions of advertising offers.
        stocked: offer id → position, for offers with counted stock.
        caps, bought: by offer id.
        personal: some rule reads values (so the caller need gather them only then).
    """

    def __init__(self, offers: Sequence[Offer], standing: Sequence[int], compile_rule: CompileRule) -> None:
        self._standing = bytes(standing)
        self._scheduled = [(k, offer.schedule) for k, offer in enumerate(offers) if offer.schedule is not None]
        self._at: tuple[Micros, Micros, bytes] = (1, 0, b"")
        consents: defaultdict[str, list[int]] = defaultdict(list)
        ages: defaultdict[tuple[int | None, int | None], list[int]] = defaultdict(list)
        for k, offer in enumerate(offers):
            for purpose in offer.eligibility.requires_consent:
                consents[purpose].append(k)
            limits = (offer.eligibility.minimum_age, offer.eligibility.maximum_age)
            if limits != (None, None):
                ages[limits].append(k)
        self.consents = tuple(ConsentRule(purpose, tuple(ks)) for purpose, ks in consents.items())
        self.ages = tuple(AgeRule(low, high, tuple(ks)) for (low, high), ks in ages.items())
        self.advertising = tuple(k for k, offer in enumerate(offers) if offer.advertising)
        self.stocked = {offer.id: k for k, offer in enumerate(offers) if offer.stock is not None}
        self.audiences = _audiences(offers, compile_rule)
        self.personal = bool(self.audiences)
        self.caps = {
            offer.id: CapRule(
                k,
                offer.eligibility.cap.count,
                PERIODS[offer.eligibility.cap.per],
                code_number(f"cap.{offer.eligibility.cap.per}"),
            )
            for k, offer in enumerate(offers)
            if offer.eligibility.cap is not None
        }
        self.bought = {
            offer.id: BoughtRule(k, offer.eligibility.exclude_bought_days * DAY)
            for k, offer in enumerate(offers)
            if offer.eligibility.exclude_bought_days is not None
        }

    def standing(self, now: Micros) -> bytes:
        """One byte a candidate: the refusal that holds at `now` whoever asks, 0 for none."""
        since, until, codes = self._at
        if since <= now < until:
            return codes
        merged = bytearray(self._standing)
        since, until = 0, 10**18
        for k, schedule in self._scheduled:
            code, begins, ends = _scheduled(schedule, now)
            since, until = max(since, begins), min(until, ends)
            if code and not merged[k]:
                merged[k] = code
        codes = bytes(merged)
        self._at = (since, until, codes)
        return codes


def _scheduled(schedule: Schedule, now: Micros) -> tuple[int, Micros, Micros]:
    """The refusal of a schedule at `now`, and the span [begins, ends) in which that answer holds."""
    begins, ends = 0, 10**18
    if schedule.days or schedule.hours:
        begins = now - now % HOUR
        ends = begins + HOUR
    if schedule.start is not None:
        if now < schedule.start:
            return code_number("schedule.before"), 0, schedule.start
        begins = max(begins, schedule.start)
    if schedule.end is not None:
        if now >= schedule.end:
            return code_number("schedule.after"), schedule.end, 10**18
        ends = min(ends, schedule.end)
    weekday = (now // DAY + 3) % 7 + 1  # 1 January 1970 was a Thursday
    if schedule.days and weekday not in schedule.days:
        return code_number("schedule.day"), begins, ends
    if schedule.hours and now % DAY // HOUR not in schedule.hours:
        return code_number("schedule.hour"), begins, ends
    return 0, begins, ends


def _audiences(offers: Sequence[Offer], compile_rule: CompileRule) -> tuple[AudienceRule, ...]:
    grouped: dict[tuple[bytes, bool], tuple[Predicate, list[int]]] = {}
    for refused_when in (False, True):
        for k, offer in enumerate(offers):
            rule = offer.eligibility.exclude if refused_when else offer.eligibility.audience
            if rule is not None:
                key = (msgspec.json.encode(rule), refused_when)
                grouped.setdefault(key, (rule, []))[1].append(k)
    codes = {False: code_number("audience.outside"), True: code_number("exclude.audience")}
    return tuple(
        AudienceRule(compile_rule(rule), refused_when, codes[refused_when], tuple(positions))
        for (_, refused_when), (rule, positions) in grouped.items()
    )
