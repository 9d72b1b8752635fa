"""A decision: one answer of the decide stage, with its row in the decision log."""

from __future__ import annotations

from typing import Any

import msgspec

from vitrina.core.clock import Micros
from vitrina.core.money import Money
from vitrina.core.reasons import Reason

__all__ = ["Answer", "AnswerItem", "DecideRequest", "DecisionRow"]


class DecideRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is asked of `engine.decide`: who, where, and in what context (see the HTTP contract)."""

    placement: str
    user_id: str | None = None
    anonymous_id: str | None = None
    user_hash: str | None = None
    slots: int | None = None
    context: dict[str, str | int | float | bool | dict[str, Any] | None] = {}
    exclude: tuple[str, ...] = ()
    explain: bool = False
    preview: bool = False
    at: str | None = None
    request_id: str | None = None
    global_privacy_control: bool = False


class AnswerItem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One item of an answer; `probability` is None when the caller may not see it."""

    position: int
    offer_id: str
    creative_id: str | None
    content: dict[str, Any]
    price: Money | None
    probability: float | None
    reasons: tuple[Reason, ...]


class Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What `engine.decide` returns; the service turns it into the wire form."""

    decision_id: str
    items: tuple[AnswerItem, ...]
    policy_id: str
    policy_version: str
    holdout: bool
    experiments: dict[str, str]
    personalised: bool
    basis: dict[str, str | None]
    labels: dict[str, Any]
    expires_at: Micros
    fallback: bool = False
    content: dict[str, Any] = {}


class DecisionRow(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One row of the decision log (stored as MessagePack, under about 2 KB).

    Attributes:
        id: time-ordered id that outcomes quote.
        at: when it was made, microseconds UTC.
        subject: leaf identifier asked for (`u:…` or `a:…`); `other_subject` the anonymous one beside a userId.
        profile_id: profile at that moment.
        assignment_key: identifier hashed into the holdout (the person's first).
        holdout: the policy did not treat this person; `items` is what they saw, `ghost` what they would have seen.
        placement, placement_revision, catalogue: names and versions of what was chosen from; `catalogue` numbers the
            versioned list of candidates.
        eligible: bitmap over that list, least significant bit first.
        refusals: one byte a candidate (`vitrina.core.reasons.code_number`); empty when every candidate is eligible;
            zlib-packed when there are more than 256 candidates.
        refusal_params: candidate position → parameters, where a code needs any.
        items: candidate positions shown, in order; `creatives` their creative ids.
        probabilities: p_k(a_k | a_1 … a_{k−1}) of what was shown, float64, one a position.
        slate_probability: chance of the whole slate in this order.
        inclusion: chance that each shown item is in the slate at all (None when not computed).
        policy, policy_version, bank: which rule, and which numbered bank of draws.
        draw: index of the draw that decided (−1 for policies without draws); `coins` the explored positions, a bitmap.
        greedy: uint16 little-endian, one a draw: the candidate that it liked best for the first position.
        features: float32 bytes of the vector the score used, in the order of feature set `feature_set`.
        context: what the page said (scalars).
        purpose: what the person's data would be used for; `basis` the lawful basis that permitted it (personalised), or
            the refusal's code; `basis_record` the consent record behind either.
        personalised: features of the person were read.
        prices, costs: minor units for each shown item.
        experiments: cells.
        request_id: the caller's, for the same answer again.
        expires_at: until when a page may keep the answer.
        preview, replayed: never learned from, never counted.
    """

    id: str
    at: Micros
    subject: str
    other_subject: str | None = None
    profile_id: str
    assignment_key: str
    holdout: bool = False
    placement: str
    placement_revision: int = 0
    catalogue: int = 0
    eligible: bytes = b""
    refusals: bytes = b""
    refusal_params: dict[int, dict[str, str | int | float]] = {}
    items: tuple[int, ...] = ()
    creatives: tuple[str | None, ...] = ()
    ghost: tuple[int, ...] = ()
    ghost_probabilities: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()
    slate_probability: float = 1.0
    inclusion: tuple[float, ...] | None = None
    policy: str = "bank"
    policy_version: str = ""
    bank: int = 0
    draw: int = -1
    coins: int = 0
    greedy: bytes = b""
    features: bytes = b""
    feature_set: int = 0
    context: dict[str, Any] = {}
    purpose: str = ""
    basis: str = ""
    basis_record: str | None = None
    personalised: bool = False
    prices: tuple[int | None, ...] = ()
    costs: tuple[int | None, ...] = ()
    currency: str = ""
    experiments: dict[str, str] = {}
    request_id: str | None = None
    request_hash: bytes = b""
    expires_at: Micros = 0
    preview: bool = False
    replayed: bool = False
