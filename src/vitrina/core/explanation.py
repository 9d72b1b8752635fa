"""A decision as it is explained to people: what was possible, what was refused and why, what came of it."""

from __future__ import annotations

import msgspec

from vitrina.core.catalogue import Placement
from vitrina.core.clock import Micros
from vitrina.core.consent import ConsentRecord
from vitrina.core.decision import DecisionRow
from vitrina.core.outcome import Outcome
from vitrina.core.reasons import Reason

__all__ = ["Candidate", "DecisionFilter", "DecisionPage", "DecisionSummary", "Explanation", "RefusedCandidate"]


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An eligible candidate, as it stood when position 1 was drawn.

    Attributes:
        chance: exact chance of position 1, recomputed from the versions that the row names.
        margin, low, high: expected margin in minor units: mean, 5 % and 95 % quantile of the draws; None without draws.
        best_in: number of draws in which it was the best; None for policies without draws.
        position: its place in the slate that was shown, from 1; None if not shown.
        ghost: its place in the slate that the policy would have shown to a holdout person, from 1.
        reasons: why it was shown (empty unless `position`).
    """

    offer_id: str
    name: str
    chance: float
    margin: float | None = None
    low: float | None = None
    high: float | None = None
    best_in: int | None = None
    position: int | None = None
    ghost: int | None = None
    reasons: tuple[Reason, ...] = ()


class RefusedCandidate(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate that was not eligible, with the reason."""

    offer_id: str
    name: str
    reason: Reason


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one decision.

    Attributes:
        candidates: eligible ones, best chance first.
        refused: the others, in the order of the catalogue.
        outcomes: credited events, oldest first, trusted or not.
        consent: the record that permitted (or refused) it, if there is one.
        draws: how many draws the bank held; 0 for policies without.
        difference: largest difference between a logged and a recomputed probability; None when not recomputable.
        window_end: until when outcomes and refunds are credited.
    """

    row: DecisionRow
    placement: Placement | None
    candidates: tuple[Candidate, ...]
    refused: tuple[RefusedCandidate, ...]
    outcomes: tuple[Outcome, ...]
    consent: ConsentRecord | None
    draws: int = 0
    floor: float = 0.0
    difference: float | None = None
    window_end: Micros | None = None


class DecisionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A decision as one line of a list.

    Attributes:
        names: names of the offers shown, in order of position; empty means the fallback was served.
        outcome: none | click | conversion | reversal, the strongest and latest of its outcomes.
        value: minor units of the credited conversions, reversals taken off.
    """

    id: str
    at: Micros
    subject: str
    placement: str
    placement_name: str
    names: tuple[str, ...]
    probability: float | None
    holdout: bool = False
    personalised: bool = False
    preview: bool = False
    outcome: str = "none"
    value: int | None = None
    currency: str | None = None
    trusted: bool = True


class DecisionFilter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which decisions a list holds; an empty field filters nothing.

    Attributes:
        placement: placement id.
        outcome: conversion | click | reversal | none.
        refused: reason code or its first part (`cap` means every cap) that refused at least one candidate.
        served: policy | holdout.
        since, until: [since, until) in microseconds UTC.
        subject: leaf identifier, `u:…` or `a:…`.
        offer: offer id among those shown.
        before, after: decision id: strictly older, strictly newer than it.
    """

    placement: str = ""
    outcome: str = ""
    refused: str = ""
    served: str = ""
    since: Micros | None = None
    until: Micros | None = None
    subject: str = ""
    offer: str = ""
    before: str = ""
    after: str = ""


class DecisionPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list of decisions, newest first.

    Attributes:
        total: decisions that match the filter without its cursor; None when counting was cut short.
        newer, older: whether there are matching decisions on either side of this page.
    """

    rows: tuple[DecisionSummary, ...]
    total: int | None
    newer: bool = False
    older: bool = False
