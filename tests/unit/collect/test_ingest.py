"""Accepting calls: identity, clocks, plan, money, trust."""

from __future__ import annotations

import hmac
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrina.collect.bots import BotCheck
from vitrina.collect.identifiers import erasure_key
from vitrina.collect.ingest import Accepted, Terms, accept, decode_event
from vitrina.collect.segment_api import read
from vitrina.collect.tracking_plan import Plan
from vitrina.core.access import Source
from vitrina.core.clock import SECOND, from_datetime
from vitrina.core.errors import UserError
from vitrina.core.event import Event

NOW = from_datetime(datetime(2026, 5, 1, 12, tzinfo=UTC))
WEB = Source("web", "write", False)
SERVER = Source("shop", "secret", True)
TERMS = Terms(plan=Plan())


def take(*events: dict[str, Any], source: Source = SERVER, terms: Terms = TERMS, **batch: Any) -> Accepted:
    body = json.dumps({"batch": list(events), **batch}).encode()
    return accept(read(body, "batch"), source, NOW, terms)


def track(name: str = "Thing Done", properties: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"type": "track", "event": name, "userId": "1", "messageId": "m", "properties": properties, **fields}


def one(*args: Any, **fields: Any) -> Event:
    accepted = take(track(*args, **fields))
    assert accepted.dead == []
    return accepted.rows[0].item


def refusal(*args: Any, **fields: Any) -> tuple[str, str]:
    accepted = take(track("Good One"), track(*args, **fields), track("Good Too"))
    assert [row.item.name for row in accepted.rows] == ["Good One", "Good Too"]
    (letter,) = accepted.dead
    assert letter.cause
    assert letter.cure
    assert letter.body
    return letter.code, letter.where


# identity


def test_numbers_and_blanks_in_ids() -> None:
    event = one(userId=12346, anonymousId=" a ")
    assert (event.user_id, event.anonymous_id, event.subject) == ("12346", "a", "u:12346")


@pytest.mark.parametrize("junk", ["null", "Undefined", "00000000-0000-0000-0000-000000000000", "[object Object]", "0"])
def test_a_placeholder_is_no_identity(junk: str) -> None:
    assert one(userId=junk, anonymousId="real").subject == "a:real"
    assert refusal(userId=junk) == ("identity.junk", "batch[1].userId")


def test_missing_identity_is_a_dead_letter_beside_good_events() -> None:
    assert refusal(userId=None) == ("identity.missing", "batch[1].userId")
    assert refusal(userId="", anonymousId="") == ("identity.missing", "batch[1].userId")
    assert refusal(userId=" ")[0] in ("identity.missing", "identity.junk")


def test_no_identity_at_all_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        take(track(userId=None), track(userId=None))
    assert (caught.value.code, caught.value.status) == ("identity.missing", 400)
    with pytest.raises(UserError):
        accept(read(b'{"event":"E"}', "track"), WEB, NOW, TERMS)


@pytest.mark.parametrize("bad", ["x" * 256, "a\x00b", "a\nb"])
def test_unusable_identifiers(bad: str) -> None:
    assert refusal(userId=bad) == ("identity.unusable", "batch[1].userId")


def test_events_of_erased_people_are_dropped_by_any_of_their_identifiers() -> None:
    erased = frozenset({erasure_key("u:1"), erasure_key("a:x"), erasure_key("e:anna@shop.example")})
    terms = Terms(plan=Plan(), erased=erased)
    accepted = take(
        track(userId="1"),
        track(userId="2", anonymousId="x"),
        {"type": "identify", "userId": "3", "traits": {"email": " Anna@Shop.example"}},
        {"type": "alias", "userId": "5", "previousId": "x"},
        track(userId="1", event=None),
        track(userId="1", event=7),
        track(userId="4"),
        terms=terms,
    )
    assert accepted.erased == 6
    assert accepted.dead == []
    assert [row.subject for row in accepted.rows] == ["u:4"]


def proof(user_id: str) -> str:
    return hmac.new(b"secret", user_id.encode(), "sha256").hexdigest()


PROVING = Terms(plan=Plan(), proves=lambda user, given: (given or "").lower() == proof(user))


@pytest.mark.parametrize(
    "place", [{"userHash": proof("1")}, {"context": {"ip": "::1", "userHash": proof("1").upper()}}]
)
def test_a_valid_user_hash_proves_whose_call_it_is_and_is_not_kept(place: dict[str, Any]) -> None:
    (row,) = take(track(**place), source=WEB, terms=PROVING).rows
    assert row.item.proven
    assert decode_event(row.body) == row.item
    assert b"ash" not in row.body
    assert take(track(), source=WEB, terms=PROVING).rows[0].item.proven is False
    assert take(track(**place), source=SERVER, terms=PROVING).rows[0].item.proven is False, "a server needs no proof"


@pytest.mark.parametrize("wrong", [proof("2"), "", "é", 7, [proof("1")]])
def test_a_wrong_user_hash_is_a_dead_letter(wrong: object) -> None:
    accepted = take(track("Good One"), track(context={"userHash": wrong}), source=WEB, terms=PROVING)
    assert [row.item.name for row in accepted.rows] == ["Good One"]
    (letter,) = accepted.dead
    assert (letter.code, letter.where, letter.subject) == ("identity.hash", "batch[1].userHash", "u:1")
    assert take(track(context={"userHash": wrong}), source=SERVER, terms=PROVING).dead == []


def test_before_signing_in_there_is_nothing_to_prove() -> None:
    context = {"userHash": ""}
    (row,) = take(track(userId=None, anonymousId="x"), source=WEB, terms=PROVING, context=context).rows
    assert (row.item.proven, row.item.context) == (False, {})


# time


def test_skew_is_corrected_by_the_clock_of_the_sender() -> None:
    event = take(track(timestamp="2026-05-01T10:00:00Z"), sentAt="2026-05-01T10:00:30Z").rows[0].item
    assert event.occurred_at == NOW - 30 * SECOND
    assert event.received_at == event.available_at == NOW
    single = take(track(timestamp="2026-05-01T15:00:00", sentAt="2026-05-01T15:00:01+00:00")).rows[0].item
    assert single.occurred_at == NOW - SECOND


def test_future_times_are_held_at_the_time_of_receipt() -> None:
    assert one(timestamp="2031-01-01T00:00:00Z").occurred_at == NOW
    assert one(timestamp="2026-05-01T12:00:09Z", sentAt="2026-05-01T12:00:01Z").occurred_at == NOW
    assert one().occurred_at == NOW


def test_history_without_sent_at_stays_where_it_was() -> None:
    assert one(timestamp="2011-09-09T08:26:00+01:00").occurred_at == from_datetime(
        datetime(2011, 9, 9, 7, 26, tzinfo=UTC)
    )


def test_times_before_1970_are_refused() -> None:
    assert refusal(timestamp="0001-01-01T00:00:00Z") == ("time.range", "batch[1].timestamp")
    assert refusal(timestamp="1980-01-01T00:00:00Z", sentAt="9999-12-31T23:59:59Z")[0] == "time.range"


@given(st.integers(0, 10**9), st.integers(-(10**9), 10**9))
def test_any_constant_skew_cancels(age: int, skew: int) -> None:
    happened = datetime.fromtimestamp((NOW // SECOND) - age + skew, UTC)
    sent = datetime.fromtimestamp((NOW // SECOND) + skew, UTC)
    event = one(timestamp=happened.isoformat(), sentAt=sent.isoformat())
    assert event.occurred_at == NOW - age * SECOND


# ids


def test_a_write_key_cannot_take_a_trusted_message_id() -> None:
    ids = {take(track(), source=source).rows[0].id16 for source in (WEB, SERVER)}
    assert len(ids) == 2
    assert len({take(track(), source=WEB).rows[0].id16 for _ in range(2)}) == 1


def test_a_call_without_a_message_id_is_repeatable_when_it_has_a_time() -> None:
    timed = [take(track(messageId=None, timestamp="2026-05-01T10:00:00Z")).rows[0].id16 for _ in range(2)]
    assert timed[0] == timed[1]
    rows = take(track(messageId=None), track(messageId=None)).rows
    assert rows[0].id16 != rows[1].id16


# shape


def test_the_stored_form_reads_back_as_the_event() -> None:
    event = one("Order Completed", {"order_id": 7, "total": "12.50", "decisionId": "d", "products": [{"sku": "a"}]})
    assert decode_event(take(track("E", {"a": [1, {"b": None}]})).rows[0].body).properties == {"a": [1, {"b": None}]}
    assert decode_event(msgspec.json.encode(event)) == event


def test_an_event_of_more_than_32_kb_is_a_dead_letter() -> None:
    assert refusal("E", {"a": "x" * 33_000}) == ("event.too_large", "batch[1]")
    large = take(track("E", {"a": "x" * 33_000}), terms=Terms(plan=Plan(), largest=0))
    assert len(large.rows) == 1


def test_nesting_is_bounded_however_the_batch_was_read() -> None:
    deep: Any = 1
    for _ in range(70):
        deep = {"a": deep}
    assert refusal("E", {"a": deep})[0] == "event.too_deep"
    assert one("E", {"a": [{"b": i} for i in range(90)]})


def test_a_track_call_needs_a_name_and_a_call_a_type() -> None:
    assert refusal(None) == ("event.name_missing", "batch[1].event")
    assert refusal("x" * 256) == ("event.name_long", "batch[1].event")
    assert refusal(type=None) == ("event.unknown_type", "batch[1].type")


def test_other_calls() -> None:
    accepted = take(
        {"type": "page", "anonymousId": "a", "name": "Home"},
        {"type": "group", "userId": "1", "groupId": 5, "traits": {"name": "ACME"}},
        {"type": "alias", "userId": "1", "previousId": "old"},
        {"type": "identify", "userId": "1", "traits": {"city": "Киров"}},
        context={"ip": "::1", "app": "x"},
    )
    page, group, alias, identify = [row.item for row in accepted.rows]
    assert (page.name, page.context) == ("Home", {"ip": "::1", "app": "x"})
    assert group.properties == {"groupId": "5"}
    assert alias.properties == {"previousId": "old"}
    assert identify.traits == {"city": "Киров"}


def test_global_privacy_control_is_kept_with_the_event() -> None:
    delivery = read(json.dumps({"batch": [track()]}).encode(), "batch")
    event = accept(delivery, WEB, NOW, TERMS, gpc=True).rows[0].item
    assert event.context["globalPrivacyControl"] is True


# plan


@pytest.mark.parametrize(
    ("name", "properties", "where"),
    [
        ("Product Viewed", {"price": "dear"}, "properties.price"),
        ("Product Viewed", {"price": True}, "properties.price"),
        ("Product Viewed", {"name": 5}, "properties.name"),
        ("Order Completed", {"total": []}, "properties.total"),
        ("Order Completed", {"products": {}}, "properties.products"),
        ("Order Completed", {"products": [{"product_id": "a"}, 7]}, "properties.products[1]"),
        ("Order Completed", {"products": [{"quantity": 1.5}]}, "properties.products[0].quantity"),
        ("Email Opened", {"email_id": {}}, "properties.email_id"),
        ("Email Opened", {"decisionId": 5}, "properties.decisionId"),
    ],
)
def test_a_known_property_of_another_type(name: str, properties: dict[str, Any], where: str) -> None:
    assert refusal(name, properties) == ("plan.type", f"batch[1].{where}")


def test_unknown_events_and_properties_pass() -> None:
    assert one("Horse Ridden", {"price": "dear", "total": [], "value": "much", "products": "x"}).value is None
    assert one("Product Viewed", {"whatever": object.__name__, "price": None}).name == "Product Viewed"


def test_an_unknown_version_is_a_dead_letter() -> None:
    assert one("Product Viewed", {"price": 1}, context={"protocols": {"event_version": 1}})
    code, where = refusal("Product Viewed", {"price": 1}, context={"protocols": {"event_version": 3}})
    assert (code, where) == ("plan.version", "batch[1].context.protocols.event_version")


# money


def test_an_order_is_lifted() -> None:
    event = one(
        "Order Completed",
        {
            "order_id": 5001,
            "total": 27.5,
            "revenue": 25,
            "value": "10.005",
            "currency": "usd",
            "products": [
                {"product_id": "p1", "price": 10.55, "quantity": 2},
                {"sku": 7, "price": "6.40"},
            ],
            "decisionId": "d_1",
            "offerId": "o_1",
        },
    )
    assert (event.order_id, event.decision_id, event.offer_id) == ("5001", "d_1", "o_1")
    assert (event.revenue, event.value, event.currency) == (2750, 1000, "USD")
    assert [(p.product_id, p.quantity, p.unit_price, p.revenue) for p in event.products] == [
        ("p1", 2, 105_500, 2110),
        ("7", 1, 64_000, 640),
    ]


def test_revenue_falls_back_from_total_to_revenue_to_lines() -> None:
    line = {"product_id": "a", "price": 3, "quantity": 2}
    assert one("Order Completed", {"revenue": 5, "products": [line]}).revenue == 500
    assert one("Order Completed", {"products": [line]}).revenue == 600
    assert one("Order Completed", {"order_id": "x"}).revenue is None


def test_minor_units_follow_the_currency_and_round_half_even() -> None:
    assert one("Order Completed", {"total": 100, "currency": "JPY"}).revenue == 100
    assert one("Order Completed", {"total": 1.005, "currency": "EUR"}).revenue == 100
    assert one("Order Completed", {"total": 1.015, "currency": "EUR"}).revenue == 102
    assert one("Order Completed", {"total": "0.0005", "currency": "KWD"}).revenue == 0


@given(st.decimals(min_value=0, max_value=10**9, places=4))
def test_numbers_and_texts_are_the_same_money(amount: Any) -> None:
    texts = one("Order Completed", {"total": str(amount)}).revenue
    assert one("Order Completed", {"total": float(amount)}).revenue == texts


@pytest.mark.parametrize(
    ("name", "properties", "code", "where"),
    [
        ("Order Completed", {"total": -1}, "money.negative", "total"),
        ("Order Completed", {"products": [{"product_id": "a", "price": -1}]}, "money.negative", "products[0].price"),
        (
            "Order Completed",
            {"products": [{"product_id": "a", "quantity": -1}]},
            "money.negative",
            "products[0].quantity",
        ),
        ("Order Completed", {"products": [{"price": 1}]}, "money.amount", "products[0].product_id"),
        ("Order Refunded", {"value": -5}, "money.negative", "value"),
        ("Order Completed", {"total": 5, "currency": "euro"}, "money.currency", "currency"),
        ("Order Completed", {"total": 5, "currency": "€"}, "money.currency", "currency"),
        ("Order Completed", {"total": 1e16}, "money.amount", "total"),
    ],
)
def test_money_that_cannot_be_taken(name: str, properties: dict[str, Any], code: str, where: str) -> None:
    assert refusal(name, properties) == (code, f"batch[1].properties.{where}")


def test_a_loss_leader_may_have_a_negative_margin() -> None:
    assert one("Order Completed", {"total": 5, "value": -2}).value == -200


# bots


def test_crawlers_and_too_many_clicks_are_quarantined_unless_trusted() -> None:
    crawler = {"userAgent": "Mozilla/5.0 (compatible; Googlebot/2.1)"}
    terms = Terms(plan=Plan(), bots=BotCheck(2))
    marks = [row.item.quarantined for row in take(track(context=crawler), track(), source=WEB, terms=terms).rows]
    assert marks == [True, False]
    clicks = [track("Promotion Clicked", messageId=str(i)) for i in range(4)]
    assert [row.item.quarantined for row in take(*clicks, source=WEB, terms=terms).rows] == [False, False, True, True]
    assert not any(row.item.quarantined for row in take(*clicks, source=SERVER, terms=terms).rows)


# anything


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "type",
    "event",
    "userId",
    "anonymousId",
    "messageId",
    "timestamp",
    "properties",
    "traits",
    "context",
    "sentAt",
]


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON, max_size=4))
def test_whatever_comes_every_call_is_a_row_or_a_dead_letter(calls: list[Any]) -> None:
    body = json.dumps({"batch": [track("Kept"), *calls]}).encode()
    accepted = accept(read(body, "batch"), WEB, NOW, TERMS)
    assert len(accepted.rows) + len(accepted.dead) == 1 + len(calls)
    assert accepted.rows[0].item.name == "Kept"
    for row in accepted.rows:
        assert decode_event(row.body) == row.item
        assert row.item.occurred_at <= NOW
    for letter in accepted.dead:
        assert letter.where.startswith("batch[")
        msgspec.json.decode(letter.body or b"null")


# what the plan does with what contradicts it

PRODUCT = {"product_id": "tea", "price": {"сколько": 1}}


@pytest.mark.parametrize(("mode", "quarantined"), [("observe", False), ("quarantine", True)])
def test_a_mode_may_store_what_contradicts_the_plan(mode: str, *, quarantined: bool) -> None:
    accepted = take(track("Product Viewed", PRODUCT), terms=Terms(plan=Plan(mode=mode)))
    assert accepted.dead == []
    event = decode_event(accepted.rows[0].body)
    assert (event.violation, event.quarantined) == ("plan.type properties.price", quarantined)
    assert event.set_aside is quarantined
    assert (event.product_id, event.properties) == ("tea", PRODUCT)


def test_places_in_lists_are_one_violation() -> None:
    products = [{"product_id": "a"}, {"product_id": "b", "quantity": "много"}]
    accepted = take(track("Cart Viewed", {"products": products}), terms=Terms(plan=Plan(mode="observe")))
    assert accepted.rows[0].item.violation == "plan.type properties.products[].quantity"


def test_money_that_can_not_be_read_counts_nowhere_or_is_refused() -> None:
    """In quarantine the amounts are left out; where the event would count, a figure can't be guessed."""
    order = track("Order Completed", {"order_id": "7", "total": "дорого"})
    kept = take(order, terms=Terms(plan=Plan(mode="quarantine"))).rows[0].item
    assert (kept.set_aside, kept.revenue, kept.properties["total"]) == (True, None, "дорого")
    (letter,) = take(order, track("Good One"), terms=Terms(plan=Plan(mode="observe"))).dead
    assert (letter.code, letter.where) == ("money.amount", "batch[0].properties.total")


def test_a_good_event_under_any_mode_carries_no_mark() -> None:
    for mode in ("observe", "quarantine", "block"):
        accepted = take(track("Product Viewed", {"product_id": "tea"}), terms=Terms(plan=Plan(mode=mode)))
        assert (accepted.rows[0].item.violation, accepted.rows[0].item.quarantined) == ("", False)
