"""Decisions as the page shows them: every figure already written in the reader's language, nothing left to work out."""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec

from vitrina.console.draw_strip import Strip, draw_strip
from vitrina.console.why import why_sentences
from vitrina.console.words import Words
from vitrina.core.clock import Micros
from vitrina.core.explanation import Candidate, DecisionSummary, Explanation
from vitrina.core.outcome import Outcome
from vitrina.core.reasons import Reason

__all__ = ["Badge", "CandidateLine", "Detail", "Line", "Pair", "detail_of", "line_of", "person_of"]

SHORT = 10
"""Candidates and refusals that are shown before the rest is folded away."""


class Badge(msgspec.Struct, frozen=True):
    """A state in a word or two; `kind` is a class of the stylesheet."""

    words: str
    kind: str = ""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the list."""

    id: str
    href: str
    time: str
    date: str
    title: str
    placement: str
    person: str
    flags: tuple[str, ...]
    chance: str
    outcome: Badge
    here: bool


class CandidateLine(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table of candidates. `width` is the bar's length."""

    number: str
    name: str
    shown: str
    margin: str
    interval: str
    best_in: str
    chance: str
    width: str
    on: bool


class Refused(msgspec.Struct, frozen=True):
    """One row of the table of refusals."""

    name: str
    words: str
    code: str


class Pair(msgspec.Struct, frozen=True):
    """A term and what it is; `code` sets it in the code font, a badge may follow."""

    term: str
    words: str
    code: str = ""
    badge: Badge | None = None


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """An opened decision."""

    id: str
    title: str
    moment: str
    placement: str
    person: str
    why: str
    candidates_title: str
    remark: str
    strip: Strip | None
    strip_label: str
    draw: str
    candidates: tuple[CandidateLine, ...]
    more_candidates: tuple[CandidateLine, ...]
    has_margin: bool
    has_draws: bool
    draws: str
    note: str
    refused: tuple[Refused, ...]
    more_refused: tuple[Refused, ...]
    refused_count: int
    outcomes: tuple[str, ...]
    outcome_note: str
    permission: tuple[Pair, ...]
    versions: tuple[Pair, ...]


def person_of(subject: str) -> str:
    """The identifier in a subject key, as people know it.

    >>> person_of("u:42")
    '42'
    """
    return subject[2:] if subject[1:2] == ":" else subject


def line_of(summary: DecisionSummary, words: Words, now: Micros, here: str, query: dict[str, str]) -> Line:
    """A row of the list; `here` is the id of the opened decision, `query` the filters that its address keeps."""
    formats = words.formats
    flags = [words.gettext("flag.holdout")] if summary.holdout else []
    if not summary.personalised:
        flags.append(words.gettext("flag.context"))
    if not summary.trusted:
        flags.append(words.gettext("flag.untrusted"))
    if summary.preview:
        flags.append(words.gettext("flag.preview"))
    address = f"/decisions/{summary.id}{'?' + urlencode(query) if query else ''}#detail"
    return Line(
        id=summary.id,
        href=address,
        time=formats.time(summary.at),
        date="" if formats.date(summary.at) == formats.date(now) else formats.day(summary.at, now),
        title=_title(summary.names, words, holdout=summary.holdout),
        placement=summary.placement_name or summary.placement,
        person=person_of(summary.subject),
        flags=tuple(flags),
        chance="—" if summary.probability is None or not summary.names else formats.chance(summary.probability),
        outcome=_badge(summary, words),
        here=summary.id == here,
    )


def _title(names: tuple[str, ...], words: Words, *, holdout: bool) -> str:
    if not names:
        return words.gettext("decision.fallback")
    title = names[0]
    if len(names) > 1:
        title = words.ngettext("decision.more", "decision.more", len(names) - 1, name=title)
    return words.gettext("decision.uniform", name=title) if holdout else title


def _badge(summary: DecisionSummary, words: Words) -> Badge:
    if summary.outcome == "conversion":
        if summary.value is None or summary.currency is None:
            text = words.gettext("outcome.order")
        else:
            amount = words.formats.money(summary.value, summary.currency)
            text = words.gettext("outcome.order_of", amount=amount)
        return Badge(text, "good" if summary.trusted else "")
    if summary.outcome == "reversal":
        return Badge(words.gettext("outcome.refunded"), "warn")
    return (
        Badge(words.gettext("outcome.click"), "on")
        if summary.outcome == "click"
        else Badge(words.gettext("outcome.none"))
    )


def detail_of(explanation: Explanation, words: Words, said_in: Words) -> Detail:
    """An opened decision; `said_in` are the words in which the person's own answer is shown."""
    row = explanation.row
    eligible = len(explanation.candidates)
    total = eligible + len(explanation.refused)
    lines = [_candidate(number, c, explanation, words) for number, c in enumerate(explanation.candidates, 1)]
    kept = [line for number, line in enumerate(lines) if number < SHORT or line.on]
    refused = [Refused(r.name or r.offer_id, words.reason(r.reason), r.reason.code) for r in explanation.refused]
    shown = sorted((c for c in explanation.candidates if c.position), key=lambda c: c.position or 0)
    placement = explanation.placement
    return Detail(
        id=row.id,
        title=_title(tuple(c.name or c.offer_id for c in shown), words, holdout=row.holdout),
        moment=words.formats.moment(row.at, seconds=True),
        placement=placement.name or placement.id if placement else row.placement,
        person=person_of(row.subject),
        why=" ".join(why_sentences(explanation, said_in)),
        candidates_title=words.ngettext("decision.candidates", "decision.candidates", total, eligible=eligible),
        remark=_remark(explanation, shown, words),
        strip=draw_strip(explanation) if eligible else None,
        strip_label=words.ngettext("decision.strip", "decision.strip", eligible, draw=_draw(explanation, words)),
        draw=_draw(explanation, words),
        candidates=tuple(kept),
        more_candidates=tuple(line for line in lines if line not in kept),
        has_margin=any(c.margin is not None for c in explanation.candidates),
        has_draws=explanation.draws > 0,
        draws=words.formats.number(explanation.draws),
        note=_note(explanation, words),
        refused=tuple(refused[:SHORT]),
        more_refused=tuple(refused[SHORT:]),
        refused_count=len(refused),
        outcomes=tuple(_outcome(outcome, row.at, words) for outcome in explanation.outcomes),
        outcome_note=_outcome_note(explanation, words),
        permission=tuple(_permission(explanation, words)),
        versions=tuple(_versions(explanation, words)),
    )


def _candidate(number: int, candidate: Candidate, explanation: Explanation, words: Words) -> CandidateLine:
    formats, currency = words.formats, explanation.row.currency
    has_money = candidate.margin is not None and bool(currency)
    interval = ""
    if has_money and candidate.low is not None and candidate.high is not None:
        low, high = formats.money(candidate.low, currency), formats.money(candidate.high, currency)
        interval = f"{low} … {high}"
    return CandidateLine(
        number=str(number),
        name=candidate.name or candidate.offer_id,
        shown=_shown(candidate, explanation, words),
        margin=formats.money(candidate.margin or 0.0, currency) if has_money else "—",
        interval=interval,
        best_in="—" if candidate.best_in is None else formats.number(candidate.best_in),
        chance=formats.chance(candidate.chance, 4),
        width=f"{100 * candidate.chance:.2f}%",
        on=candidate.position is not None,
    )


def _shown(candidate: Candidate, explanation: Explanation, words: Words) -> str:
    row = explanation.row
    if candidate.position is None:
        return words.gettext("candidate.ghost", position=candidate.ghost) if candidate.ghost and row.holdout else ""
    if len(row.items) <= 1:
        return words.gettext("candidate.shown")
    probability = row.probabilities[candidate.position - 1]
    chance = words.formats.chance(probability, 4)
    return words.gettext("candidate.shown_at", position=candidate.position, chance=chance)


def _remark(explanation: Explanation, shown: list[Candidate], words: Words) -> str:
    row = explanation.row
    if not shown:
        return words.gettext("remark.fallback")
    if row.holdout:
        return words.gettext("remark.holdout")
    if not explanation.draws:
        return words.gettext("remark.uniform" if row.policy == "uniform" else "remark.ranking")
    if row.coins & 1:
        return words.gettext("remark.explored")
    rank = explanation.candidates.index(shown[0]) + 1
    return words.gettext("remark.best") if rank == 1 else words.gettext("remark.not_best", number=rank)


def _draw(explanation: Explanation, words: Words) -> str:
    row = explanation.row
    if row.holdout or (not explanation.draws and row.policy == "uniform"):
        return words.gettext("draw.random")
    if not explanation.draws or row.draw < 0:
        return words.gettext("draw.none")
    if row.coins & 1:
        return words.gettext("draw.explored")
    return words.gettext("draw.number", number=row.draw + 1, draws=explanation.draws)


def _note(explanation: Explanation, words: Words) -> str:
    count = len(explanation.candidates)
    if not explanation.draws or not count or explanation.row.holdout:
        return ""
    formats, floor = words.formats, explanation.floor
    return words.gettext(
        "decision.formula",
        share=formats.decimal(1 - floor),
        floor=formats.decimal(floor),
        count=count,
        smallest=formats.chance(floor / count, 4),
    )


def _outcome(outcome: Outcome, decided: Micros, words: Words) -> str:
    formats = words.formats
    same_day = formats.date(outcome.at) == formats.date(decided)
    at = formats.time(outcome.at) if same_day else formats.moment(outcome.at, seconds=True)
    if outcome.kind == "click":
        return words.gettext("outcome.line_click", at=at)
    amount = "—"
    if outcome.value is not None and outcome.currency is not None:
        amount = formats.money(outcome.value, outcome.currency)
    trust = words.gettext("outcome.trusted_source" if outcome.trusted else "outcome.untrusted_source")
    order = outcome.order_id or "—"
    if outcome.kind == "reversal":
        return words.gettext("outcome.line_refund", at=at, order=order, amount=amount, trust=trust)
    return words.gettext("outcome.line_order", at=at, order=order, amount=amount, trust=trust)


def _outcome_note(explanation: Explanation, words: Words) -> str:
    if explanation.row.preview:
        return words.gettext("outcome.preview")
    if explanation.window_end is None:
        return words.gettext("outcome.once")
    return words.gettext("outcome.until", until=explanation.window_end)


def _permission(explanation: Explanation, words: Words) -> list[Pair]:
    row, consent = explanation.row, explanation.consent
    purpose = consent.purpose if consent else explanation.placement.purpose if explanation.placement else ""
    granted = Badge(words.gettext("permission.granted"), "good")
    refused = Badge(words.gettext("permission.refused"), "warn")
    named = words.gettext(f"purpose.{purpose}") if words.has(f"purpose.{purpose}") else str(purpose)
    pairs = [Pair(words.gettext("permission.purpose"), named, badge=granted if row.personalised else refused)]
    if not row.personalised and words.has(f"reason.{row.basis}"):
        pairs.append(Pair(words.gettext("permission.because"), words.reason(Reason(row.basis))))
    if consent is None:
        if row.basis_record:
            pairs.append(Pair(words.gettext("permission.record"), "", code=row.basis_record))
        return pairs
    source = f"consent_source.{consent.source}"
    parts = [words.formats.moment(consent.at), words.gettext(source) if words.has(source) else consent.source]
    if consent.text_version:
        parts.append(words.gettext("permission.text", version=consent.text_version))
    pairs.append(Pair(words.gettext("permission.record"), ", ".join(parts), code=consent.id))
    pairs.append(Pair(words.gettext("permission.basis"), words.gettext(f"basis.{consent.basis}")))
    expires = words.formats.date(consent.expires_at) if consent.expires_at else words.gettext("permission.no_end")
    pairs.append(Pair(words.gettext("permission.expires"), expires))
    return pairs


def _versions(explanation: Explanation, words: Words) -> list[Pair]:
    row, formats = explanation.row, words.formats
    assigned = words.gettext("version.holdout" if row.holdout else "version.not_holdout")
    pairs = [
        Pair(words.gettext("version.decision"), "", code=row.id),
        Pair(words.gettext("version.policy"), assigned, code=f"{row.policy} {row.policy_version}".strip()),
    ]
    if explanation.draws:
        text = words.ngettext("version.draws", "version.draws", explanation.draws)
        pairs.append(Pair(words.gettext("version.bank"), text, code=str(row.bank)))
    pairs.append(Pair(words.gettext("version.features"), "", code=str(row.feature_set)))
    pairs.append(Pair(words.gettext("version.catalogue"), "", code=format(row.catalogue, "x")))
    pairs.append(
        Pair(
            words.gettext("version.placement"),
            words.gettext("version.revision", number=formats.number(row.placement_revision)),
        )
    )
    if row.experiments:
        cells = ", ".join(f"{key}: {variant}" for key, variant in sorted(row.experiments.items()))
        pairs.append(Pair(words.gettext("version.experiments"), cells))
    pairs.append(_recomputed(explanation, words))
    return pairs


def _recomputed(explanation: Explanation, words: Words) -> Pair:
    term, difference = words.gettext("version.recomputed"), explanation.difference
    if difference is None:
        return Pair(term, words.gettext("version.not_recomputed"))
    if difference <= 1e-9:
        return Pair(term, words.gettext("version.equal"), badge=Badge(words.gettext("version.verified"), "good"))
    badge = Badge(words.gettext("version.differs"), "bad")
    return Pair(term, words.gettext("version.off", difference=f"{difference:.1e}"), badge=badge)
