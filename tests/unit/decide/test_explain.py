"""Explanations and the list of decisions."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from tests.unit.decide.shop import NOON, SECRET, Person, creative, offer
from tests.unit.decide.test_engine import ask, explainer, held_user, viewer
from tests.unit.decide.test_outcomes import event
from vitrina.core.catalogue import Cap, Placement, Schedule
from vitrina.core.clock import DAY
from vitrina.core.consent import ConsentRecord, Purpose
from vitrina.core.decision import DecideRequest
from vitrina.core.errors import NotFoundError
from vitrina.core.event import CLICK, ORDER, REFUND
from vitrina.core.explanation import DecisionFilter
from vitrina.decide.tables import decision_schema, decisions_to_arrow, outcome_schema, outcomes_to_arrow


def test_explanation_of_a_slate(shop):
    shop.stock_up(6, slots=2)
    shop.catalogue.put(offer("z", enabled=False))
    shop.people.by_user["1"] = Person("u:1", consents=("personalisation",), state=viewer())
    row = ask(shop).row
    explain = explainer(shop)
    explain._consent_of = lambda record: ConsentRecord(
        id=record, subject="u:1", purpose=Purpose.PERSONALISATION, granted=True
    )
    told = explain.explain(row.id)
    assert told.row == row
    assert sum(each.chance for each in told.candidates) == pytest.approx(1.0, abs=1e-12)
    assert sum(each.best_in for each in told.candidates) == told.draws == 64
    assert {each.position: each.offer_id for each in told.candidates if each.position} == {
        k + 1: f"o{item:02}" for k, item in enumerate(row.items)
    }
    first = next(each for each in told.candidates if each.position == 1)
    assert first.chance == pytest.approx(row.probabilities[0], abs=1e-12)
    assert all(each.low <= each.margin <= each.high for each in told.candidates)
    assert told.difference <= 1e-9
    assert told.floor == 0.02
    assert told.consent.id == row.basis_record
    assert [(each.offer_id, each.reason.code) for each in told.refused] == [("z", "offer.off")]
    assert told.window_end == NOON + 7 * DAY
    assert {reason.code for reason in first.reasons} <= {
        "shown.recent",
        "shown.best",
        "shown.popular",
        "shown.context",
        "shown.explore",
    }


def test_nothing_is_called_popular_before_anybody_chose(shop):
    shop.stock_up(6)
    rows = [ask(shop, user=f"nobody-{number}").row for number in range(30)]
    codes = {explainer(shop).reasons(row, 0)[0].code for row in rows}
    assert "shown.popular" not in codes


def test_votes_are_enough_when_the_bank_is_gone(shop):
    shop.stock_up(6)
    row = ask(shop).row
    before = explainer(shop).explain_row(row)
    shop.banks.banks.clear()
    told = explainer(shop).explain_row(row)
    assert told.difference is None
    assert [each.chance for each in told.candidates] == [each.chance for each in before.candidates]
    assert all(each.margin is None for each in told.candidates)


def test_explanation_of_the_holdout(shop):
    shop.stock_up(5, slots=2, holdout=0.2)
    row = ask(shop, user=held_user(shop, 0.2)).row
    told = explainer(shop).explain_row(row)
    assert {each.chance for each in told.candidates} == {0.2}
    assert sorted(each.ghost for each in told.candidates if each.ghost) == [1, 2]
    assert {r.code for each in told.candidates for r in each.reasons} == {"shown.holdout"}


def test_the_feature_that_spoke_for_it_is_named(shop):
    shop.stock_up(3)
    shop.people.by_user["1"] = Person("u:1", consents=("personalisation",), state=viewer(7))
    names = explainer(shop)._groups

    class Keen:
        """A bank that loves o01 for people who look a lot."""

        number, draws = 1, 4

        def bind(self, candidates):
            return self

        def margins(self, x):
            out = np.full((4, 3), 10, dtype=np.float32)
            out[:, 1] += 100 * x[names["views_7d"][0]]
            return out

    shop.banks.banks[1] = Keen()
    row = next(row for row in (ask(shop).row for _ in range(20)) if not row.coins)
    [reason] = explainer(shop).reasons(row, 0)
    assert (reason.code, reason.params) == ("shown.recent", {"feature": "views_7d"})


def test_refusals_carry_what_their_words_need(shop):
    shop.catalogue.put_all(
        [
            offer("age", minimum_age=18),
            offer("cap", cap=Cap(1, "week")),
            offer("consent", requires_consent=(Purpose.EMAIL,)),
            offer("later", schedule=Schedule(start=NOON + DAY)),
        ]
    )
    shop.catalogue.put_all([creative(name) for name in ("age", "cap", "consent", "later")])
    shop.catalogue.put(Placement(id="home", holdout=0.0))
    shop.people.by_user["1"] = Person("u:1", age=12, shown={"cap": [NOON - 1]})
    told = explainer(shop).explain_row(ask(shop).row)
    assert {each.offer_id: (each.reason.code, each.reason.params) for each in told.refused} == {
        "age": ("age.minimum", {"age": 18}),
        "cap": ("cap.week", {"shown": 1, "limit": 1}),
        "consent": ("consent.required", {"purpose": "email"}),
        "later": ("schedule.before", {"at": NOON + DAY}),
    }
    assert told.candidates == ()
    assert told.difference == 0.0


def test_unknown_decision(shop):
    with pytest.raises(NotFoundError, match="there is no decision"):
        explainer(shop).explain("d_nothing")


@pytest.fixture
def busy(shop):
    """30 decisions a minute apart, for 10 people; some clicked, some bought, one refunded."""
    shop.stock_up(4, name="Home page", holdout=0.3)
    shop.catalogue.put(Placement(id="cart", holdout=0.0))
    shop.rows = []
    for i in range(30):
        shop.clock.advance(60_000_000)
        asked = DecideRequest(
            placement="home" if i % 3 else "cart", user_id=str(i % 10), exclude=("o00",) if i % 2 else ()
        )
        shop.rows.append(shop.engine.decide(asked, SECRET).row)
    for i, name in ((3, CLICK), (4, CLICK), (4, ORDER), (5, ORDER), (5, REFUND)):
        row = shop.rows[i]
        shop.outcomes.join(event(name, f"{i}{name}", at=row.at + 1, decision_id=row.id, order_id=f"A{i}"))
    return shop


@pytest.mark.parametrize(
    ("wanted", "keep"),
    [
        ({}, lambda row: True),
        ({"placement": "cart"}, lambda row: row.placement == "cart"),
        ({"served": "holdout"}, lambda row: row.holdout),
        ({"served": "policy"}, lambda row: not row.holdout),
        ({"subject": "u:7"}, lambda row: row.subject == "u:7"),
        ({"subject": "7"}, lambda row: row.subject == "u:7"),
        ({"offer": "o01"}, lambda row: 1 in row.items),
        ({"refused": "exclude"}, lambda row: row.refusals != b""),
        ({"refused": "exclude.request"}, lambda row: row.refusals != b""),
        ({"refused": "cap"}, lambda row: False),
    ],
)
def test_filters(busy, wanted, keep):
    page = busy.listing.recent(DecisionFilter(**wanted), 100)
    expected = [row.id for row in busy.rows[::-1] if keep(row)]
    assert [line.id for line in page.rows] == expected
    assert page.total == len(expected)


def test_outcomes_in_the_list(busy):
    by_kind = {
        kind: [line.id for line in busy.listing.recent(DecisionFilter(outcome=kind), 100).rows]
        for kind in ("click", "conversion", "reversal", "none")
    }
    assert by_kind["click"] == [busy.rows[3].id]
    assert by_kind["conversion"] == [busy.rows[4].id]
    assert by_kind["reversal"] == [busy.rows[5].id]
    assert len(by_kind["none"]) == 27
    line = busy.listing.recent(DecisionFilter(outcome="reversal"), 1).rows[0]
    assert (line.value, line.currency, line.placement_name) == (0, "EUR", "Home page")


def test_pages_meet(busy):
    pages, cursor = [], ""
    while True:
        page = busy.listing.recent(DecisionFilter(before=cursor), 7)
        pages.append(page)
        if not page.older:
            break
        cursor = page.rows[-1].id
    assert [line.id for page in pages for line in page.rows] == [row.id for row in busy.rows[::-1]]
    assert [page.newer for page in pages] == [False, True, True, True, True]
    back = busy.listing.recent(DecisionFilter(after=pages[2].rows[0].id), 7)
    assert back.rows == pages[1].rows
    assert back.newer
    assert back.older
    assert busy.listing.recent(DecisionFilter(before="d_nothing"), 7).rows == ()


def test_rows_reach_the_lake_whole(busy):
    ask(busy, request_id="r")
    table = decisions_to_arrow(busy.journal.read(), lambda number: busy.catalogue.numbered(number).offer_ids)
    assert table.schema == decision_schema()
    assert table.num_rows == 31
    assert table["id"].to_pylist()[:30] == [row.id for row in busy.rows]
    assert table["offers"].to_pylist()[3] == [f"o{k:02}" for k in busy.rows[3].items]
    assert table["probabilities"].to_pylist()[3] == list(busy.rows[3].probabilities)
    outcomes = outcomes_to_arrow(busy.outcomes_journal.read())
    assert outcomes.schema == outcome_schema()
    assert outcomes["kind"].to_pylist() == ["click", "click", "conversion", "conversion", "reversal"]
    assert outcomes["value"].to_pylist() == [None, None, 300, 300, -300]


def test_latest_rows(busy):
    assert [row.id for row in busy.log.latest(2 * 60_000_000)] == [row.id for row in busy.rows[-3:]]
    assert msgspec.structs.asdict(busy.log.read(28)[0][1]) == msgspec.structs.asdict(busy.rows[28])
