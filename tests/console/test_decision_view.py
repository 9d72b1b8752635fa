"""What the page and the person are told about a decision."""

from __future__ import annotations

import struct

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from vitrina.console.decision_view import detail_of, line_of
from vitrina.console.draw_strip import draw_strip
from vitrina.console.why import why_sentences
from vitrina.console.words import words_for
from vitrina.core.catalogue import Placement
from vitrina.core.consent import ConsentRecord, LawfulBasis, Purpose
from vitrina.core.decision import DecisionRow
from vitrina.core.explanation import Candidate, DecisionSummary, Explanation, RefusedCandidate
from vitrina.core.reasons import Reason

EN, RU = words_for("en"), words_for("ru")
NOW = 1_764_000_000_000_000
FLOOR = 0.05


def explanation(
    votes: list[int], draw: int = 0, *, coins: int = 0, holdout: bool = False, personalised: bool = True
) -> Explanation:
    """A bank's decision: `votes[k]` draws liked candidate k best; the one that draw number `draw` liked was shown."""
    greedy = [k for k, count in enumerate(votes) for _ in range(count)]
    shown = greedy[draw]
    chances = [(1 - FLOOR) * count / len(greedy) + FLOOR / len(votes) for count in votes]
    row = DecisionRow(
        id="d_1",
        at=NOW,
        subject="u:ann",
        profile_id="p",
        assignment_key="ann",
        placement="home",
        items=(shown,),
        probabilities=(chances[shown],),
        draw=draw,
        coins=coins,
        greedy=struct.pack(f"<{len(greedy)}H", *greedy),
        holdout=holdout,
        personalised=personalised,
        basis="consent" if personalised else "consent.none",
        currency="EUR",
    )
    candidates = tuple(
        Candidate(
            offer_id=f"o{k}",
            name=f"Offer {k}",
            chance=chances[k],
            margin=100.0,
            low=50.0,
            high=150.0,
            best_in=votes[k],
            position=1 if k == shown else None,
            reasons=(Reason("shown.recent"),) if k == shown else (),
        )
        for k in range(len(votes))
    )
    return Explanation(
        row=row,
        placement=Placement(id="home", name="Home"),
        candidates=candidates,
        refused=(RefusedCandidate(offer_id="x", name="X", reason=Reason("stock.out")),),
        outcomes=(),
        consent=None,
        draws=len(greedy),
        floor=FLOOR,
        difference=0.0,
    )


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any), st.data(), st.booleans())
def test_the_draw_points_into_the_segment_that_was_shown(votes: list[int], data: st.DataObject, explored: bool) -> None:
    draw = data.draw(st.integers(0, sum(votes) - 1))
    strip = draw_strip(explanation(votes, draw, coins=int(explored)))
    edges = [(float(s.x[:-1]), float(s.x[:-1]) + float(s.width[:-1])) for s in strip.segments]
    assert abs(edges[-1][1] - 100) < 0.1
    (on,) = [n for n, segment in enumerate(strip.segments) if segment.on]
    assert edges[on][0] - 0.011 <= float(strip.pointer[:-1]) <= edges[on][1] + 0.011


def test_the_page_says_what_was_drawn() -> None:
    best = detail_of(explanation([40, 24], 0), EN, EN)
    assert best.draw == "draw 1 of 64" and best.remark.startswith("The draw fell on the best")
    second = detail_of(explanation([40, 24], 50), EN, EN)
    assert "number 2" in second.remark
    assert detail_of(explanation([40, 24], 50, coins=1), EN, EN).draw == "kept chance"
    assert detail_of(explanation([40, 24], 0, holdout=True), RU, RU).draw == "случайно"
    assert best.refused[0].words == "Out of stock" and best.refused[0].code == "stock.out"
    assert best.candidates_title == "Candidates: 2 of 3 eligible"
    assert best.note.startswith("Chance = share of draws × 0.95 + 0.05 ÷ 2.")
    assert best.versions[-1].badge is not None and best.versions[-1].badge.words == "verified"
    other = msgspec.structs.replace(explanation([40, 24]), difference=0.01)
    assert detail_of(other, EN, EN).versions[-1].badge.kind == "bad"


def test_long_lists_are_folded_but_what_was_shown_stays() -> None:
    detail = detail_of(explanation([5] * 30, 149), EN, EN)
    assert len(detail.candidates) == 11 and len(detail.more_candidates) == 19
    assert detail.candidates[-1].on and detail.candidates[-1].number == "30"


def test_a_person_is_told_without_our_terms() -> None:
    said = why_sentences(explanation([48, 16]), EN)
    assert said[0] == "This offer suits what you looked at or bought lately."
    assert "Of 2 suitable offers this one had a 74% chance." in said
    assert not {"holdout", "posterior", "margin", "policy"} & set(" ".join(said).lower().split())
    contextual = why_sentences(explanation([48, 16], personalised=False), RU)
    assert any("только страницу" in sentence for sentence in contextual)
    assert why_sentences(explanation([48, 16], holdout=True), EN)[0].startswith("You belong to a small group")
    alone = why_sentences(explanation([48]), EN)
    assert "It was the only suitable offer." in alone


def test_a_legitimate_interest_is_not_called_a_consent() -> None:
    record = ConsentRecord(
        id="c_1", subject="u:ann", purpose=Purpose.PERSONALISATION, granted=True, basis=LawfulBasis.LEGITIMATE_INTEREST
    )
    said = " ".join(why_sentences(msgspec.structs.replace(explanation([48, 16]), consent=record), EN))
    assert "you may object" in said and "You allowed" not in said


def test_nothing_eligible_is_said_and_not_drawn() -> None:
    empty = msgspec.structs.replace(
        explanation([48, 16]),
        candidates=(),
        row=msgspec.structs.replace(explanation([48]).row, items=(), probabilities=()),
    )
    detail = detail_of(empty, EN, EN)
    assert detail.strip is None and detail.title == "Nothing eligible, fallback"
    assert why_sentences(empty, EN)[0].startswith("No offer was suitable")


def test_a_line_says_outcome_day_and_flags() -> None:
    summary = DecisionSummary(
        id="d_1",
        at=NOW - 86_400_000_000,
        subject="a:b-1",
        placement="home",
        placement_name="Home",
        names=("Tea", "Cup", "Pot"),
        probability=0.261,
        holdout=True,
        outcome="conversion",
        value=3420,
        currency="EUR",
        trusted=False,
    )
    line = line_of(summary, EN, NOW, "d_1", {"served": "holdout"})
    assert line.title == "Uniform: Tea and 2 more"
    assert line.outcome.words == "order €34.20" and line.outcome.kind == ""
    assert line.flags == ("holdout", "context only", "order not trusted")
    assert line.href == "/decisions/d_1?served=holdout#detail"
    assert line.date and line.here and line.person == "b-1"
    assert line_of(summary, RU, NOW, "", {}).title == "Случайно: Tea и ещё 2"
