"""`GET /v1/decisions/{id}/why`: the answer to a person who asks why they saw this."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from vitrina.console.threads import in_thread
from vitrina.console.why import why_sentences
from vitrina.console.words import LANGUAGES, words_for
from vitrina.service.wire import WireReason, wire_reason
from vitrina.workspace import Workspace

__all__ = ["HANDLERS", "Why", "WhyItem"]


class WhyItem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One item that was shown: its exact chance and the reasons for it."""

    position: int
    offer_id: str
    name: str
    probability: float
    reasons: list[WireReason]


class Why(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Why this was shown, in words for the person and in codes for programs."""

    decision_id: str
    language: str
    text: str
    sentences: list[str]
    items: list[WhyItem]
    eligible: int
    refused: int
    holdout: bool
    personalised: bool
    basis: str
    record: str | None


@get("/v1/decisions/{decision_id:str}/why", tags=["people"], summary="Why did I see this?")
@in_thread
def get_why(
    request: Request[Any, Any, Any],
    workspace: NamedDependency[Workspace],
    decision_id: FromPath[str],
    locale: FromQuery[str | None] = None,
) -> Why:
    """The answer in the language of `locale`, else of `Accept-Language`: English or Russian.

    Raises:
        NotFoundError: there is no such decision.
    """
    language = locale if locale in LANGUAGES else request.headers.get("accept-language", "")
    words = words_for(language, workspace.settings.workspace.timezone)
    explanation = workspace.explain(decision_id)
    sentences = why_sentences(explanation, words)
    row = explanation.row
    shown = sorted((c for c in explanation.candidates if c.position), key=lambda c: c.position or 0)
    return Why(
        decision_id=row.id,
        language=words.language,
        text=" ".join(sentences),
        sentences=sentences,
        items=[
            WhyItem(
                position=candidate.position or 0,
                offer_id=candidate.offer_id,
                name=candidate.name,
                probability=row.probabilities[(candidate.position or 1) - 1],
                reasons=[wire_reason(reason, words.language) for reason in candidate.reasons],
            )
            for candidate in shown
        ],
        eligible=len(explanation.candidates),
        refused=len(explanation.refused),
        holdout=row.holdout,
        personalised=row.personalised,
        basis=row.basis,
        record=row.basis_record,
    )


HANDLERS = [get_why]
