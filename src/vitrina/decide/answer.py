"""The answer of a decision, made from its log row alone: the same row gives the same answer, after a restart too."""

from __future__ import annotations

from typing import Any

from vitrina.core.catalogue import Creative, Offer
from vitrina.core.decision import Answer, AnswerItem, DecisionRow
from vitrina.core.reasons import Reason
from vitrina.decide.candidates import Candidates

__all__ = ["answer", "shown_reason"]

_HOLDOUT = (Reason("shown.holdout"),)
_EXPLORE = (Reason("shown.explore"),)
_CONTEXT = (Reason("shown.context"),)
_BEST = (Reason("shown.best"),)


def shown_reason(row: DecisionRow, position: int) -> tuple[Reason, ...]:
    """Why the item in `position` (from 0) was shown, as far as the row alone tells."""
    if row.holdout:
        return _HOLDOUT
    if row.coins >> position & 1 or row.policy == "uniform":
        return _EXPLORE
    return _BEST if row.personalised else _CONTEXT


def answer(row: DecisionRow, candidates: Candidates) -> Answer:
    """The answer that `row` stands for; `candidates` is the list that it names.

    An offer whose placement needs no creative has its attributes as content.
    """
    creatives = [candidates.creative(creative_id) for creative_id in row.creatives]
    offers = [candidates.offers[k] for k in row.items]
    return Answer(
        decision_id=row.id,
        items=tuple(_item(row, position, offer, creatives[position]) for position, offer in enumerate(offers)),
        policy_id=row.policy,
        policy_version=row.policy_version,
        holdout=row.holdout,
        experiments=row.experiments,
        personalised=row.personalised,
        basis=_basis(row),
        labels=_labels(offers, creatives),
        expires_at=row.expires_at,
        fallback=not row.items,
        content={} if row.items else candidates.placement.fallback,
    )


def _item(row: DecisionRow, position: int, offer: Offer, creative: Creative | None) -> AnswerItem:
    return AnswerItem(
        position=position + 1,
        offer_id=offer.id,
        creative_id=creative.id if creative is not None else None,
        content=creative.content if creative is not None else offer.attributes,
        price=offer.price,
        probability=row.probabilities[position],
        reasons=shown_reason(row, position),
    )


def _basis(row: DecisionRow) -> dict[str, str | None]:
    if row.personalised:
        return {"purpose": row.purpose, "lawfulBasis": row.basis, "record": row.basis_record}
    return {"purpose": row.purpose, "refused": row.basis, "record": row.basis_record}


def _labels(offers: list[Offer], creatives: list[Creative | None]) -> dict[str, Any]:
    labels: dict[str, Any] = {}
    for offer in offers:
        if offer.advertising:
            labels["advertising"] = True
            labels |= {name: offer.attributes[name] for name in ("advertiser", "erid") if name in offer.attributes}
    if any(creative is not None and creative.generated for creative in creatives):
        labels["synthetic"] = True
    return labels
