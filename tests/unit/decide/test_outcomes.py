"""Outcomes: credited once, within the window, reversed, trusted or not; and the stock that orders take."""

from __future__ import annotations

import pytest

from tests.unit.decide.shop import NOON, SECRET, Shop, creative, offer
from vitrina.core.catalogue import OutcomeRule, Placement
from vitrina.core.clock import DAY, HOUR, MINUTE
from vitrina.core.decision import DecideRequest
from vitrina.core.event import CLICK, ORDER, REFUND, Event, Product
from vitrina.core.explanation import DecisionFilter


def event(name, message_id="m1", *, at=NOON + HOUR, trusted=True, **fields):
    return Event(
        message_id=message_id,
        type="track",
        name=name,
        user_id="1",
        occurred_at=at,
        received_at=at,
        available_at=at,
        trusted=trusted,
        **fields,
    )


@pytest.fixture
def sold(shop):
    """A decision that showed o00 alone."""
    shop.stock_up(1)
    shop.row = shop.engine.decide(DecideRequest(placement="home", user_id="1"), SECRET).row
    return shop


def join(shop, *events):
    return [shop.outcomes.join(each) for each in events]


def test_order_earns_its_value_else_the_margin(sold):
    one, two = join(
        sold,
        event(ORDER, "m1", decision_id=sold.row.id, order_id="A", value=250, currency="EUR"),
        event(ORDER, "m2", decision_id=sold.row.id, offer_id="o00", order_id="B"),
    )
    assert (one.kind, one.value, one.currency, one.trusted, one.position) == ("conversion", 250, "EUR", True, 0)
    assert (two.value, two.offer_id, two.placement, two.subject) == (300, "o00", "home", "u:1")
    assert set(sold.outcomes.of_decision(sold.row.id)) == {one, two}


def test_repeats_count_once(sold):
    order = event(ORDER, "m1", decision_id=sold.row.id, order_id="A", value=250)
    again = event(ORDER, "m2", decision_id=sold.row.id, order_id="A", value=250)
    clicks = [event(CLICK, f"c{i}", decision_id=sold.row.id, trusted=False) for i in range(3)]
    join(sold, order, order, again, *clicks, *clicks)
    assert {each.kind for each in sold.outcomes.of_decision(sold.row.id)} == {"click", "conversion"}
    assert len(sold.outcomes.of_decision(sold.row.id)) == 2
    assert sold.outcomes_journal.count() == 2


def test_forged_order_neither_counts_nor_takes_the_place_of_the_real_one(sold):
    forged, real = join(
        sold,
        event(ORDER, "m1", decision_id=sold.row.id, order_id="A", value=10**6, trusted=False),
        event(ORDER, "m2", decision_id=sold.row.id, order_id="A", value=250),
    )
    assert (forged.trusted, real.trusted) == (False, True)
    assert len(sold.outcomes.of_decision(sold.row.id)) == 2
    [refund] = join(sold, event(REFUND, "m3", order_id="A", trusted=False))
    assert not refund.trusted
    line = sold.listing.recent(DecisionFilter()).rows[0]
    assert (line.outcome, line.value, line.trusted) == ("conversion", 250, True)


def test_clicks_teach_unless_a_robot_made_them(sold):
    good, bad = join(
        sold,
        event(CLICK, "c1", decision_id=sold.row.id, trusted=False),
        event(CLICK, "c2", decision_id=sold.row.id, trusted=True, quarantined=True),
    )
    assert (good.trusted, bad.trusted, good.value) == (True, False, None)


def test_refund_takes_back_at_most_what_was_earned_however_late(sold):
    later = NOON + 60 * DAY
    order, part, rest, nothing = join(
        sold,
        event(ORDER, "m1", decision_id=sold.row.id, order_id="A", value=250),
        event(REFUND, "m2", at=later, order_id="A", value=100),
        event(REFUND, "m3", at=later + 1, order_id="A", value=900),
        event(REFUND, "m4", at=later + 2, order_id="A"),
    )
    assert [each.value for each in (order, part, rest, nothing)] == [250, -100, -150, 0]
    assert part.decision_id == sold.row.id
    join(sold, event(REFUND, "m2", at=later, order_id="A", value=100))
    assert sum(each.value for each in sold.outcomes.of_decision(sold.row.id)) == 0


def test_refund_is_known_after_a_restart(sold, tmp_path):
    join(sold, event(ORDER, "m1", decision_id=sold.row.id, order_id="A", value=250))
    sold.store.close()
    later = Shop(tmp_path)
    [refund] = join(later, event(REFUND, "m2", order_id="A"))
    assert refund.value == -250
    later.store.close()


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        ("decision.unknown", {"decision_id": "d_00000000000000000000"}),
        ("window", {"at": NOON + 7 * DAY}),
        ("window", {"at": NOON - 2 * MINUTE}),
        ("offer.other", {"offer_id": "o77"}),
        ("event.other", {"name": "Wishlist"}),
        ("currency.other", {"currency": "USD"}),
        ("order.unknown", {"name": REFUND, "order_id": "never"}),
    ],
)
def test_what_is_not_credited_is_counted(sold, reason, fields):
    fields = {"decision_id": sold.row.id, "name": ORDER, **fields}
    assert join(sold, event(fields.pop("name"), **fields)) == [None]
    assert dict(sold.outcomes.refused) == {reason: 1}


def test_events_without_a_decision_cost_nothing(sold):
    assert (
        join(sold, event(ORDER, order_id="A"), event(CLICK), event(REFUND, order_id="zz"), event(REFUND)) == [None] * 4
    )
    assert not sold.outcomes.refused


def test_slate_needs_to_know_which_offer(shop):
    shop.stock_up(3, slots=2)
    row = shop.engine.decide(DecideRequest(placement="home", user_id="1"), SECRET).row
    shown = [shop.catalogue.candidates("home").offer_ids[k] for k in row.items]
    missing, by_offer, by_product = join(
        shop,
        event(ORDER, "m1", decision_id=row.id),
        event(ORDER, "m2", decision_id=row.id, offer_id=shown[1]),
        event(CLICK, "m3", decision_id=row.id, product_id=shown[0]),
    )
    assert missing is None
    assert (by_offer.position, by_product.position) == (1, 0)


def test_placement_names_its_own_outcomes(shop):
    rules = (
        OutcomeRule(event="Signed Up", value=500, window=DAY),
        OutcomeRule(event="Cancelled", value=200, sign=-1, window=DAY),
        OutcomeRule(event="Opened", weak=True, window=HOUR),
    )
    shop.stock_up(1, outcomes=rules)
    row = shop.engine.decide(DecideRequest(placement="home", user_id="1"), SECRET).row
    found = join(
        shop,
        event("Signed Up", "m1", decision_id=row.id, value=7),
        event("Cancelled", "m2", decision_id=row.id),
        event("Opened", "m3", at=NOON + 1, decision_id=row.id),
        event("Opened", "m4", at=NOON + HOUR, decision_id=row.id),
        event(ORDER, "m5", decision_id=row.id),
    )
    assert [each and (each.kind, each.value) for each in found] == [
        ("conversion", 500),
        ("reversal", -200),
        ("click", None),
        None,
        None,
    ]


def test_orders_take_stock_once_and_a_restart_remembers(shop, tmp_path):
    shop.catalogue.put_all([offer("a", stock=3), offer("b", stock=1), offer("c")])
    shop.catalogue.put_all([creative(name) for name in "abc"])
    shop.catalogue.put(Placement(id="home", holdout=0.0, slots=3))
    lines = (Product("a", 2, 0, 0), Product("a", 1, 0, 0, kind="stock_move"), Product("zz", 1, 0, 0))
    order = event(ORDER, "m1", order_id="A", products=lines)
    for each in (
        order,
        order,
        event(ORDER, "m2", order_id="B", offer_id="b"),
        event(ORDER, "m3", order_id="C", offer_id="c"),
    ):
        shop.stock.fold(each)
    for each in (
        event(ORDER, "f", order_id="F", offer_id="a", trusted=False),
        event(ORDER, "h", order_id="H", offer_id="a", backfilled=True),
    ):
        shop.stock.fold(each)
    assert (shop.stock.left("a"), shop.stock.left("b"), shop.stock.left("c")) == (1, 0, None)
    assert shop.catalogue.offer("a").stock == 1
    shop.store.close()
    later = Shop(tmp_path)
    assert later.stock.left("a") == 1
    shown = later.engine.decide(DecideRequest(placement="home", user_id="1"), SECRET).answer.items
    assert {item.offer_id for item in shown} == {"a", "c"}
    later.clock.advance(DAY)
    later.catalogue.put(offer("b", stock=5))
    assert later.stock.left("b") == 5
    assert later.stock.sold_out == frozenset()
    later.store.close()
