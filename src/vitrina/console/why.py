"""The answer to "Why did I see this?" as the person reads it: in "you" and "we", without our terms."""

from __future__ import annotations

from vitrina.console.words import Words
from vitrina.core.explanation import Candidate, Explanation

__all__ = ["why_sentences"]

_HOLDOUT = "shown.holdout"


def why_sentences(explanation: Explanation, words: Words) -> list[str]:
    """Sentences for a person: what spoke for it, what was allowed, how likely it was, why chance is kept."""
    row = explanation.row
    shown = sorted((c for c in explanation.candidates if c.position is not None), key=lambda c: c.position or 0)
    if not shown:
        return [words.gettext("why.fallback"), *_use_of_data(explanation, words)]
    if row.holdout:
        return [words.gettext("why.holdout"), _chance(explanation, shown[0], words)]
    sentences = [_spoke_for_it(shown[0], words), *_use_of_data(explanation, words)]
    sentences.append(_chance(explanation, shown[0], words))
    if explanation.floor > 0:
        sentences.append(words.gettext("why.explore"))
    return [sentence for sentence in sentences if sentence]


def _spoke_for_it(shown: Candidate, words: Words) -> str:
    for reason in shown.reasons:
        message = f"why.{reason.code}"
        if words.has(message):
            return words.gettext(message)
    return ""


def _use_of_data(explanation: Explanation, words: Words) -> list[str]:
    row = explanation.row
    if row.personalised:
        consent = explanation.consent
        by_consent = consent is None or consent.basis == "consent"
        return [words.gettext("why.allowed" if by_consent else "why.used")]
    message = f"why.{row.basis}"
    return [words.gettext(message if words.has(message) else "why.context_only")]


def _chance(explanation: Explanation, shown: Candidate, words: Words) -> str:
    count = len(explanation.candidates)
    if count <= 1:
        return words.gettext("why.only")
    digits = 0 if shown.chance >= 0.01 else 1
    percent = words.formats.percent(shown.chance, digits)
    return words.ngettext("why.chance", "why.chance", count, percent=percent)
