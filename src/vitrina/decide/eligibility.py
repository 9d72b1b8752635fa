"""Which candidates may be shown to this person, now, and why the others may not.

Each refusal keeps its first reason.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitrina.core.clock import Micros
from vitrina.core.profile import Subject
from vitrina.core.reasons import code_number
from vitrina.decide.candidates import Candidates
from vitrina.decide.rules import Rules, Values
from vitrina.govern.permission import advertising_refusal, consent_refusal

__all__ = ["Eligible", "Params", "Person", "list_eligible"]

Params = dict[int, dict[str, str | int | float]]
"""Candidate position → parameters of its refusal."""

_NEEDS = {"consent.withdrawn": code_number("consent.withdrawn")}
_REQUIRED = code_number("consent.required")
_UNKNOWN, _YOUNG, _OLD = code_number("age.unknown"), code_number("age.minimum"), code_number("age.maximum")
_SOLD_OUT = code_number("stock.out")
_BOUGHT = code_number("exclude.bought")
_UNWANTED = code_number("exclude.request")
_UNLISTED = code_number("candidates.outside")


class Person(Subject, Protocol):
    """What eligibility reads of a profile; none of it needs a grant."""

    @property
    def shown(self) -> Mapping[str, Sequence[Micros]]:
        """Offer id → the times it was shown to this person, oldest first."""
        ...


class Eligible(msgspec.Struct, frozen=True, gc=False):
    """The answer for K candidates.

    Attributes:
        mask: bool[K].
        codes: one byte a candidate, 0 for eligible, else the refusal (`vitrina.core.reasons.number_code`).
        params: parameters of refusals that depend on the person.
        count: how many are eligible.
    """

    mask: NDArray[np.bool_]
    codes: bytes
    params: Params
    count: int


def list_eligible(
    candidates: Candidates,
    person: Person | None,
    values: Values,
    now: Micros,
    *,
    exclude: Sequence[str] = (),
    sold_out: Collection[str] = (),
    bought: Mapping[str, Micros] | None = None,
    shortlist: Sequence[int] | None = None,
    gpc: bool = False,
    adult_age: int = 18,
) -> Eligible:
    """Check every rule, cheapest first; the first refusal of a candidate is the one that is kept.

    Without a grant the caller passes no personal values: a rule on them finds them missing, which makes an audience's
    comparison false (the offer is refused) and an exclusion's comparison false too (it excludes nobody it can't know).

    Args:
        person: the profile, or None when nothing is known.
        values: what rules read: features, `trait.NAME`, `context.NAME`; personal ones only under a grant.
        exclude: offer ids that the page doesn't want.
        sold_out: offer ids with no stock left.
        bought: offer id → last purchase; None when it may not be read.
        shortlist: positions that a recommender proposes; None means every candidate.
        gpc: the request carries Global Privacy Control.
        adult_age: years from which advertising may profile a person.
    """
    rules = candidates.rules
    codes = bytearray(rules.standing(now))
    params: Params = {}
    if shortlist is not None:
        _outside(codes, shortlist)
    for offer in sold_out:
        _refuse(codes, rules.stocked.get(offer), _SOLD_OUT)
    _permissions(codes, rules, person, now, gpc=gpc, adult_age=adult_age)
    for rule in rules.audiences:
        if rule.test(values) is rule.refused_when:
            _refuse_all(codes, rule.positions, rule.code)
    if rules.bought and bought:
        _bought(codes, rules, bought, now)
    if rules.caps and person is not None:
        _caps(codes, params, rules, person.shown, now)
    for offer in exclude:
        _refuse(codes, candidates.position.get(offer), _UNWANTED)
    return Eligible(np.frombuffer(codes, dtype=np.uint8) == 0, bytes(codes), params, codes.count(0))


def _permissions(
    codes: bytearray, rules: Rules, person: Person | None, now: Micros, *, gpc: bool, adult_age: int
) -> None:
    """Consents that offers need, advertising, age limits."""
    if rules.consents:
        _consents(codes, rules, person, now)
    if rules.advertising:
        refusal = advertising_refusal(person, now, gpc=gpc, adult_age=adult_age)
        if refusal is not None:
            _refuse_all(codes, rules.advertising, code_number(refusal))
    if rules.ages:
        _ages(codes, rules, None if person is None else person.age(now))


def _refuse(codes: bytearray, position: int | None, code: int) -> None:
    if position is not None and not codes[position]:
        codes[position] = code


def _refuse_all(codes: bytearray, positions: Sequence[int], code: int) -> None:
    for position in positions:
        if not codes[position]:
            codes[position] = code


def _outside(codes: bytearray, shortlist: Sequence[int]) -> None:
    allowed = set(shortlist)
    _refuse_all(codes, [k for k in range(len(codes)) if k not in allowed], _UNLISTED)


def _consents(codes: bytearray, rules: Rules, person: Person | None, now: Micros) -> None:
    for rule in rules.consents:
        refusal = consent_refusal(None if person is None else person.consents.get(rule.purpose), now)
        if refusal is not None:
            _refuse_all(codes, rule.positions, _NEEDS.get(refusal, _REQUIRED))


def _ages(codes: bytearray, rules: Rules, age: int | None) -> None:
    for rule in rules.ages:
        if age is None:
            _refuse_all(codes, rule.positions, _UNKNOWN)
        elif rule.minimum is not None and age < rule.minimum:
            _refuse_all(codes, rule.positions, _YOUNG)
        elif rule.maximum is not None and age > rule.maximum:
            _refuse_all(codes, rule.positions, _OLD)


def _bought(codes: bytearray, rules: Rules, bought: Mapping[str, Micros], now: Micros) -> None:
    for offer, at in bought.items():
        rule = rules.bought.get(offer)
        if rule is not None and at > now - rule.period:
            _refuse(codes, rule.position, _BOUGHT)


def _caps(codes: bytearray, params: Params, rules: Rules, shown: Mapping[str, Sequence[Micros]], now: Micros) -> None:
    for offer, times in shown.items():
        rule = rules.caps.get(offer)
        if rule is None or codes[rule.position]:
            continue
        count = sum(1 for at in times if at > now - rule.period)
        if count >= rule.count:
            codes[rule.position] = rule.code
            params[rule.position] = {"shown": count, "limit": rule.count}
