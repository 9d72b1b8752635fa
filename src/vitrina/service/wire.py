"""The answer of `/v1/decide` on the wire: camelCase, money as decimal text, no more than the caller may see."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from vitrina.core.clock import iso
from vitrina.core.decision import Answer, AnswerItem
from vitrina.core.money import Money
from vitrina.core.reasons import Reason

__all__ = [
    "Amount",
    "DecideAnswer",
    "DecideItem",
    "Policy",
    "WireReason",
    "answer_wire",
    "encode_answer",
    "wire_reason",
]


class Amount(msgspec.Struct, frozen=True):
    """An amount of money: a decimal string and an ISO 4217 currency."""

    amount: str
    currency: str


class WireReason(msgspec.Struct, frozen=True, rename="camel"):
    """Why: a stable code, its parameters, and words when the request said `explain`."""

    code: str
    params: dict[str, str | int | float] | UnsetType = UNSET
    words: str | UnsetType = UNSET


class Policy(msgspec.Struct, frozen=True):
    """The rule that chose; the version changes whenever probabilities can have changed."""

    id: str
    version: str


class DecideItem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One item of the slate. `probability` is given the items above it; absent for a write key."""

    position: int
    offer_id: str
    creative_id: str | None
    content: dict[str, Any]
    price: Amount | None
    probability: float | UnsetType = UNSET
    reasons: list[WireReason]


class DecideAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer: what to show, how it was chosen, and until when a page may keep it."""

    decision_id: str
    items: list[DecideItem]
    policy: Policy
    holdout: bool
    experiments: dict[str, str]
    personalised: bool
    basis: dict[str, str | None] | UnsetType = UNSET
    labels: dict[str, Any]
    expires_at: str
    fallback: bool | UnsetType = UNSET
    content: dict[str, Any] | UnsetType = UNSET


_encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=4096)
def amount_of(money: Money) -> Amount:
    """An amount in decimal text.

    >>> amount_of(Money(1250, "EUR"))
    Amount(amount='12.50', currency='EUR')
    """
    return Amount(str(money.amount), money.currency)


@lru_cache(maxsize=256)
def _bare(code: str) -> WireReason:
    return WireReason(code)


def wire_reason(reason: Reason, language: str | None, *, to_public: bool = False) -> WireReason:
    """A reason on the wire, with words in `language` if that is given; without parameters for a write key."""
    if language is None:
        return _bare(reason.code) if to_public or not reason.params else WireReason(reason.code, reason.params)
    from vitrina.console.words import words_for

    if to_public:
        return WireReason(reason.code, words=words_for(language).reason(Reason(reason.code)))
    return WireReason(reason.code, reason.params or UNSET, words_for(language).reason(reason))


def _item(item: AnswerItem, language: str | None, to_public: bool) -> DecideItem:
    hidden = to_public or item.probability is None
    return DecideItem(
        position=item.position,
        offer_id=item.offer_id,
        creative_id=item.creative_id,
        content=item.content,
        price=None if item.price is None else amount_of(item.price),
        probability=UNSET if hidden else item.probability,  # pyright: ignore[reportArgumentType]
        reasons=[wire_reason(reason, language, to_public=to_public) for reason in item.reasons],
    )


def answer_wire(answer: Answer, *, to_public: bool = False, language: str | None = None) -> DecideAnswer:
    """The wire form of an answer.

    Args:
        answer: what `decide` returned.
        to_public: the caller holds a write key: no probability, no basis, no parameters of reasons.
        language: an `Accept-Language` value; None leaves the words out.
    """
    return DecideAnswer(
        decision_id=answer.decision_id,
        items=[_item(item, language, to_public) for item in answer.items],
        policy=Policy(answer.policy_id, answer.policy_version),
        holdout=answer.holdout,
        experiments=answer.experiments,
        personalised=answer.personalised,
        basis=UNSET if to_public else answer.basis,
        labels=answer.labels,
        expires_at=iso(answer.expires_at),
        fallback=True if answer.fallback else UNSET,
        content=answer.content if answer.fallback else UNSET,
    )


def encode_answer(answer: Answer, *, to_public: bool, language: str | None) -> bytes:
    """The wire form as JSON bytes."""
    return _encode(answer_wire(answer, to_public=to_public, language=language))
