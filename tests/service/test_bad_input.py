"""Bad input over HTTP: each fault gets an answer or a dead letter with place, cause and cure; good neighbours stay."""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.service.conftest import Running

pytestmark = pytest.mark.usefixtures("catalogue")

numbers = itertools.count()
GOOD = '{"type": "track", "event": "Product Viewed", "userId": "ann", "messageId": "%s"}'


def letters(running: Running) -> list[Any]:
    """(code, place, cause, cure, subject) of every dead letter, in order."""
    with running.workspace.store.read() as connection:
        return list(
            connection.execute(text("select code, place, cause, cure, subject from dead_letter order by number"))
        )


def event(running: Running, message_id: str) -> dict[str, Any] | None:
    """The stored event with this message id, wherever it is by now."""
    running.workspace.profiles.settle()
    table = running.workspace.engine.table("events")
    rows = table.filter(table.message_id == message_id).to_pyarrow().to_pylist()
    assert len(rows) <= 1
    return rows[0] if rows else None


def order(**properties: Any) -> str:
    call = {"type": "track", "event": "Order Completed", "userId": "ann", "messageId": f"bad-{next(numbers)}"}
    return json.dumps({**call, "properties": {"order_id": "1", "total": 10, "currency": "EUR", **properties}})


@pytest.mark.parametrize(
    ("bad", "code", "place"),
    [
        pytest.param('"a word"', "event.type", "batch[1]", id="not an object"),
        pytest.param('{"type": "track", "userId": "ann", "event": 7}', "event.type", "batch[1].event", id="wrong type"),
        pytest.param('{"type": "sale", "userId": "ann"}', "event.unknown_type", "batch[1].type", id="unknown type"),
        pytest.param('{"type": "track", "userId": "ann"}', "event.name_missing", "batch[1].event", id="no name"),
        pytest.param('{"type": "track", "event": "x"}', "identity.missing", "batch[1].userId", id="nobody"),
        pytest.param(
            '{"type": "track", "event": "x", "userId": "undefined"}',
            "identity.junk", "batch[1].userId", id="placeholder",
        ),
        pytest.param(
            '{"type": "track", "event": "x", "userId": "ann", "properties": {"n": NaN}}',
            "event.not_finite", "batch[1].properties.n", id="NaN",
        ),
        pytest.param(
            '{"type": "track", "event": "x", "userId": "ann", "properties": {"n": 1e999}}',
            "event.not_finite", "batch[1].properties.n", id="number too large",
        ),
        pytest.param(
            '{"type": "track", "event": "x", "userId": "ann", "properties": {"n": "\\ud83d"}}',
            "event.surrogate", "batch[1].properties.n", id="half of a surrogate pair",
        ),
        pytest.param(
            '{"type": "track", "event": "x", "userId": "ann", "timestamp": "1816-01-01T00:00:00Z"}',
            "time.range", "batch[1].timestamp", id="before computers",
        ),
        pytest.param(
            '{"type": "track", "event": "x", "userId": "ann", "timestamp": "tomorrow"}',
            "event.type", "batch[1].timestamp", id="no time",
        ),
        pytest.param(order(total="-5"), "money.negative", "batch[1].properties.total", id="negative price"),
        pytest.param(order(currency="euro"), "money.currency", "batch[1].properties.currency", id="no currency"),
        pytest.param(order(total="ten"), "plan.type", "batch[1].properties.total", id="no amount"),
        pytest.param(order(products="tea"), "plan.type", "batch[1].properties.products", id="lines that are no list"),
        pytest.param(order(note="x" * 40_000), "event.too_large", "batch[1]", id="over 32 KB"),
        pytest.param(
            '{"type": "track", "event": "x", "userId": "ann", "properties": {"n": %s}}' % ("[" * 100 + "]" * 100),
            "event.too_deep", "batch[1]", id="too deep",
        ),
    ],
)  # fmt: skip
def test_a_bad_event_is_a_dead_letter_and_its_neighbours_are_stored(
    running: Running, shop: httpx.Client, bad: str, code: str, place: str
) -> None:
    before, number = letters(running), next(numbers)
    body = f'{{"batch": [{GOOD % f"before-{number}"}, {bad}, {GOOD % f"after-{number}"}]}}'
    answer = shop.post("/v1/batch", content=body.encode())
    assert answer.status_code == 200, answer.text
    fresh = letters(running)[len(before) :]
    assert [(one.code, one.place[: len(place)]) for one in fresh] == [(code, place)]
    assert fresh[0].cause and fresh[0].cure
    assert event(running, f"before-{number}") is not None
    assert event(running, f"after-{number}") is not None


@pytest.mark.parametrize(
    ("body", "code", "place"),
    [
        pytest.param(b'{"batch": [', "json.unreadable", "line 1, column", id="cut off"),
        pytest.param(b"<batch/>", "json.unreadable", "line 1, column 1", id="no JSON"),
        pytest.param(b"[1, 2]", "json.shape", "", id="a list"),
        pytest.param(b'{"events": []}', "json.shape", "batch", id="no batch"),
        pytest.param(b'{"batch": [{"type": "track", "event": "x"}]}', "identity.missing", "batch", id="all nameless"),
    ],
)
def test_a_body_that_can_not_be_read_is_400(shop: httpx.Client, body: bytes, code: str, place: str) -> None:
    expect(shop.post("/v1/batch", content=body), 400, code, place)


def expect(answer: httpx.Response, status: int, code: str, field: str) -> None:
    """A problem document that names the place, says the cause and knows a cure."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    problem = answer.json()
    assert problem["code"] == code, problem
    assert problem.get("field", "").startswith(field), problem
    assert problem["detail"].endswith(".") and problem["cure"], problem


def test_of_duplicate_keys_the_last_wins(running: Running, shop: httpx.Client) -> None:
    body = b'{"userId": "bob", "userId": "ann", "event": "x", "messageId": "dup", "properties": {"n": 1, "n": 2}}'
    assert shop.post("/v1/track", content=body).status_code == 200
    stored = event(running, "dup")
    assert stored is not None
    assert (stored["user_id"], json.loads(stored["properties"])) == ("ann", {"n": 2})


@pytest.mark.parametrize("ahead", [timedelta(hours=3), timedelta(days=4000)])
def test_what_has_not_happened_yet_happened_when_it_was_received(
    running: Running, shop: httpx.Client, ahead: timedelta
) -> None:
    name = f"future-{ahead.days}"
    call = {"userId": "ann", "event": "x", "messageId": name, "timestamp": (datetime.now(UTC) + ahead).isoformat()}
    assert shop.post("/v1/track", json=call).status_code == 200
    stored = event(running, name)
    assert stored is not None and stored["occurred_at"] == stored["received_at"]


def test_a_clock_that_is_wrong_by_a_day_is_corrected(running: Running, shop: httpx.Client) -> None:
    """The event happened ten minutes before it was sent, whatever the client's calendar says."""
    sent = datetime.now(UTC) + timedelta(days=1)
    times = {"timestamp": (sent - timedelta(minutes=10)).isoformat(), "sentAt": sent.isoformat()}
    assert shop.post("/v1/track", json={"userId": "ann", "event": "x", "messageId": "skew", **times}).status_code == 200
    stored = event(running, "skew")
    assert stored is not None
    assert stored["received_at"] - stored["occurred_at"] == timedelta(minutes=10)


@pytest.mark.parametrize("key", ["", "vs_unknown", "vw_" + "я" * 20])
@pytest.mark.parametrize("path", ["/v1/batch", "/v1/decide"])
def test_an_unknown_key_opens_nothing(running: Running, key: str, path: str) -> None:
    with running.client(key) as stranger:
        expect(stranger.post(path, content=b"{}"), 401, "key.unknown" if key else "key.missing", "authorization")


def test_bytes_are_counted_on_the_wire_and_after_gzip(shop: httpx.Client) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(300)) + packer.flush()
    assert len(bomb) < 500_000
    packed = {"content-encoding": "gzip"}
    expect(shop.post("/v1/batch", content=bomb, headers=packed), 413, "body.large", "body")
    expect(shop.post("/v1/batch", content=b" " * 500_001), 413, "body.large", "body")
    expect(shop.post("/v1/decide", content=bomb[:60_000], headers=packed), 413, "body.large", "body")
    expect(shop.post("/v1/batch", content=b"no gzip", headers=packed), 400, "body.gzip", "content-encoding")
    expect(
        shop.post("/v1/batch", content=b"{}", headers={"content-encoding": "br"}), 400, "body.encoding", "content-enc"
    )
    fits = gzip.compress(b'{"batch": [%s]}' % (GOOD % "packed").encode() + b" " * 3_000_000)
    assert shop.post("/v1/batch", content=fits, headers=packed).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        pytest.param(
            {"placement": "nowhere", "userId": "ann"}, 404, "placement.unknown", "placement", id="unknown placement"
        ),
        pytest.param({"placement": "home"}, 400, "decide.identity", "userId", id="nobody"),
        pytest.param({"placement": "home", "userId": "ann", "slots": 0}, 400, "decide.slots", "slots", id="no slots"),
        pytest.param({"placement": "home", "userId": 7}, 400, "body.invalid", "userId", id="wrong type"),
        pytest.param(
            {"placement": "home", "userId": "ann", "slot": 1}, 400, "body.invalid", "slot", id="unknown field"
        ),
    ],
)
def test_a_decision_that_can_not_be_made_names_the_field(
    shop: httpx.Client, body: dict[str, Any], status: int, code: str, field: str
) -> None:
    expect(shop.post("/v1/decide", json=body), status, code, field)


@pytest.mark.parametrize(
    ("wrong", "code", "field"),
    [
        (b"NaN", "body.unreadable", "body"),
        (b'"\\ud800"', "body.unreadable", "body"),
        (b"1e999", "body.invalid", "context"),
    ],
    ids=["NaN", "half of a surrogate pair", "number too large"],
)
def test_a_context_that_is_no_json_is_refused(shop: httpx.Client, wrong: bytes, code: str, field: str) -> None:
    body = b'{"placement": "home", "userId": "ann", "context": {"page": %s}}' % wrong
    expect(shop.post("/v1/decide", content=body), 400, code, field)


@pytest.mark.parametrize(
    ("path", "body", "code", "field"),
    [
        pytest.param(
            "offers/x", {"name": "X", "price": {"amount": "-1", "currency": "EUR"}},
            "catalogue.negative", "price.amount", id="negative price",
        ),
        pytest.param(
            "offers/x",
            {"name": "X", "price": {"amount": 1, "currency": "EUR"}, "margin": {"amount": 1, "currency": "USD"}},
            "catalogue.currency", "margin.currency", id="two currencies",
        ),
        pytest.param(
            "offers/x", {"name": "X", "price": {"amount": 1, "currency": "рубль"}},
            "catalogue.currency", "price.currency", id="no currency",
        ),
        pytest.param(
            "offers/x", {"name": "X", "price": {"amount": "дорого", "currency": "EUR"}},
            "money.unreadable", "price.amount", id="no amount",
        ),
        pytest.param("offers/x", {"name": "X", "prise": {}}, "body.invalid", "prise", id="unknown field"),
        pytest.param("offers/x", {"name": 7}, "body.invalid", "name", id="wrong type"),
        pytest.param("offers/x", {}, "body.invalid", "name", id="no name"),
        pytest.param(
            "placements/x", {"outcomes": [{"event": "x", "value": {"amount": 1, "currency": "USD"}}]},
            "catalogue.currency", "outcomes[0].value.currency", id="an outcome in another currency",
        ),
        pytest.param("placements/x", {"holdout": 1.5}, "body.invalid", "holdout", id="holdout above 1"),
        pytest.param("creatives/x", {"status": "approved"}, "body.invalid", "offerId", id="creative without offer"),
    ],
)  # fmt: skip
def test_a_catalogue_body_that_can_not_be_names_the_field(
    shop: httpx.Client, path: str, body: dict[str, Any], code: str, field: str
) -> None:
    expect(shop.put(f"/v1/{path}", json=body), 400, code, field)
    assert shop.get(f"/v1/{path}").status_code == 404


def test_a_list_of_offers_is_answered_row_by_row(shop: httpx.Client) -> None:
    rows = [
        '{"id": "mug", "name": "Кружка", "price": {"amount": "7.00", "currency": "EUR"}}',
        '{"id": "jug", "name": "Jug", "price": {"amount": "-7.00", "currency": "EUR"}}',
        '{"id": "pan", "name": ',
        '{"id": "pot", "name": "Pot"}',
    ]
    answer = shop.post("/v1/offers/import", content="\n".join(rows), headers={"content-type": "application/x-ndjson"})
    assert answer.status_code == 200, answer.text
    report = answer.json()
    assert (report["stored"], report["refused"]) == (2, 2), report
    assert [bool(shop.get(f"/v1/offers/{name}").is_success) for name in ("mug", "jug", "pan", "pot")] == [
        True, False, False, True,
    ]  # fmt: skip


def test_an_offer_without_a_creative_is_not_shown_and_says_why(running: Running, shop: httpx.Client) -> None:
    shop.put("/v1/offers/bare", json={"name": "Bare", "placements": ["shelf"]}).raise_for_status()
    shop.put(
        "/v1/placements/shelf", json={"slots": 20, "holdout": 0, "fallback": {"title": "Our own"}}
    ).raise_for_status()
    answer = shop.post("/v1/decide", json={"placement": "shelf", "userId": "ann"}).json()
    assert "bare" not in [item["offerId"] for item in answer["items"]]
    refused = {one.offer_id: one.reason.code for one in running.workspace.explain(answer["decisionId"]).refused}
    assert refused["bare"].startswith("creative.")


def test_an_order_in_another_currency_than_its_decision_earns_it_nothing(running: Running, shop: httpx.Client) -> None:
    answer = shop.post("/v1/decide", json={"placement": "home", "userId": "carl"}).json()
    named = {"decisionId": answer["decisionId"], "offerId": answer["items"][0]["offerId"]}
    for number, currency in enumerate(("USD", "EUR")):
        sale = {**named, "order_id": f"carl-{number}", "value": 5, "currency": currency}
        call = {"userId": "carl", "event": "Order Completed", "messageId": f"carl-{number}", "properties": sale}
        assert shop.post("/v1/track", json=call).status_code == 200
    running.workspace.profiles.settle()
    running.workspace.store.write(lambda _: None)
    credited = running.workspace.outcomes.of_decision(answer["decisionId"])
    assert [(one.order_id, one.value, one.currency) for one in credited] == [("carl-1", 500, "EUR")]
    assert running.workspace.outcomes.refused["currency.other"] == 1
