"""Decide over HTTP: the answer's form, what each key may ask and see, and that repeats are the same."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.service.conftest import Running

pytestmark = pytest.mark.usefixtures("catalogue")


def test_the_answer_holds_what_the_contract_says(shop: httpx.Client) -> None:
    answer = shop.post(
        "/v1/decide", json={"placement": "home", "anonymousId": "visitor-1", "slots": 2, "explain": True}
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) >= {
        "decisionId",
        "items",
        "policy",
        "holdout",
        "experiments",
        "personalised",
        "basis",
        "labels",
        "expiresAt",
    }
    assert body["decisionId"].startswith("d_") and body["expiresAt"].endswith("Z")
    assert [item["position"] for item in body["items"]] == [1, 2]
    for item in body["items"]:
        assert set(item) == {"position", "offerId", "creativeId", "content", "price", "probability", "reasons"}
        assert 0 < item["probability"] <= 1
        assert item["price"]["currency"] == "EUR" and item["price"]["amount"].endswith("9.50")
        assert item["content"] == {"title": item["offerId"].capitalize()}
        assert all(reason["code"] and reason["words"] for reason in item["reasons"])
    assert body["personalised"] is False


def test_words_come_in_the_language_that_was_asked_for(shop: httpx.Client) -> None:
    ask = {"placement": "home", "anonymousId": "visitor-2", "explain": True}
    english = shop.post("/v1/decide", json=ask, headers={"accept-language": "fr, en;q=0.5"}).json()
    russian = shop.post("/v1/decide", json=ask, headers={"accept-language": "ru-RU"}).json()
    assert english["items"][0]["reasons"][0]["words"].isascii()
    assert not russian["items"][0]["reasons"][0]["words"].isascii()


def test_a_write_key_sees_less(page: httpx.Client) -> None:
    body = page.post("/v1/decide", json={"placement": "home", "anonymousId": "visitor-3", "explain": True}).json()
    assert "basis" not in body
    assert all("probability" not in item for item in body["items"])
    assert all("params" not in reason for item in body["items"] for reason in item["reasons"])


def test_a_write_key_asks_for_public_placements_only(page: httpx.Client, shop: httpx.Client) -> None:
    ask = {"placement": "basket", "anonymousId": "visitor-4"}
    refused = page.post("/v1/decide", json=ask)
    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (
        403,
        "placement.private",
        "placement",
    )
    assert shop.post("/v1/decide", json=ask).status_code == 200


def test_a_write_key_needs_the_hash_of_a_user_id(running: Running, page: httpx.Client) -> None:
    ask = {"placement": "home", "userId": "Зоя"}
    for wrong in ({}, {"userHash": "0" * 64}, {"userHash": running.workspace.keys.user_hash("ann")}, {"userHash": "é"}):
        refused = page.post("/v1/decide", json={**ask, **wrong})
        assert (refused.status_code, refused.json()["code"]) == (403, "user.hash")
    right = {**ask, "userHash": running.workspace.keys.user_hash("Зоя")}
    assert page.post("/v1/decide", json=right).status_code == 200


def test_a_write_key_can_not_preview(page: httpx.Client, shop: httpx.Client) -> None:
    ask = {"placement": "home", "anonymousId": "visitor-5", "preview": True}
    assert page.post("/v1/decide", json=ask).json()["code"] == "key.preview"
    assert shop.post("/v1/decide", json=ask).status_code == 200


def test_an_unknown_placement_is_404_to_who_may_know(shop: httpx.Client, page: httpx.Client) -> None:
    ask = {"placement": "nowhere", "anonymousId": "visitor-6"}
    answer = shop.post("/v1/decide", json=ask)
    assert (answer.status_code, answer.json()["field"]) == (404, "placement")
    unknown, private = page.post("/v1/decide", json=ask), page.post("/v1/decide", json={**ask, "placement": "basket"})
    said = [{**each.json(), "requestId": "", "detail": ""} for each in (unknown, private)]
    assert unknown.status_code == 403 and said[0] == said[1]
    assert unknown.json()["detail"].replace("nowhere", "basket") == private.json()["detail"]


def test_the_same_request_id_gives_the_same_answer(shop: httpx.Client) -> None:
    ask: dict[str, Any] = {"placement": "home", "anonymousId": "visitor-7", "requestId": "r-1"}
    first, again = shop.post("/v1/decide", json=ask), shop.post("/v1/decide", json=ask)
    assert first.json() == again.json()
    other = shop.post("/v1/decide", json={**ask, "slots": 2})
    assert (other.status_code, other.json()["status"]) == (409, 409)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"placement": "home", "anonymousId": "x", "slots": "two"}', "slots"),
        (b'{"placement": 7, "anonymousId": "x"}', "placement"),
        (b'{"anonymousId": "x"}', "placement"),
        (b'{"placement": "home", "anonymousId": "x", "slot": 1}', "slot"),
        (b'{"placement": "home", "anonymousId": "x", "slots": 21}', "slots"),
        (b'{"placement": "home"}', "userId"),
        (b'{"placement": "home", "anonymousId": "x", "context": {"price": NaN}}', "body"),
        (b'{"placement": "home", "anonymousId": "\\ud800"}', "body"),
        (b"", "body"),
        (b"[]", "body"),
    ],
)
def test_what_can_not_be_asked_is_400_and_names_the_field(shop: httpx.Client, body: bytes, field: str) -> None:
    answer = shop.post("/v1/decide", content=body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["field"] == field, answer.text
    assert answer.json()["cure"]


def test_a_large_request_is_413(shop: httpx.Client) -> None:
    ask = {"placement": "home", "anonymousId": "x", "context": {"page": "x" * 70_000}}
    assert shop.post("/v1/decide", content=json.dumps(ask)).status_code == 413


def test_global_privacy_control_is_heard(running: Running, shop: httpx.Client) -> None:
    """With a legitimate interest recorded, the signal is an objection: the decision is contextual."""
    shop.put(
        "/v1/profiles/gpc-1/consents/personalisation", json={"granted": True, "lawfulBasis": "legitimate_interest"}
    )
    ask = {"placement": "home", "userId": "gpc-1"}
    plain = shop.post("/v1/decide", json=ask).json()
    signalled = shop.post("/v1/decide", json=ask, headers={"Sec-GPC": "1"}).json()
    assert plain["personalised"] is True
    assert signalled["personalised"] is False
    assert signalled["basis"]["refused"] == "gpc"


def test_an_outcome_is_credited_and_why_is_answered(running: Running, shop: httpx.Client) -> None:
    from tests.service.test_collect import eventually

    decided = shop.post("/v1/decide", json={"placement": "home", "anonymousId": "visitor-8"}).json()
    number = decided["decisionId"]
    order = {
        "event": "Order Completed",
        "anonymousId": "visitor-8",
        "messageId": "order-8",
        "properties": {
            "decisionId": number,
            "offerId": decided["items"][0]["offerId"],
            "order_id": "A-8",
            "total": 20,
            "value": 6.1,
            "currency": "EUR",
        },
    }
    assert shop.post("/v1/track", json=order).status_code == 200
    eventually_true(lambda: running.workspace.explain(number).outcomes)
    assert running.workspace.explain(number).outcomes[0].value == 610
    why = eventually(lambda: shop.get(f"/v1/decisions/{number}/why", headers={"accept-language": "ru"}), 200).json()
    assert why["language"] == "ru" and "шанс" in why["text"]
    assert why["items"][0]["probability"] == decided["items"][0]["probability"]
    assert shop.get(f"/v1/decisions/{number}/why?locale=en").json()["language"] == "en"
    assert shop.get("/v1/decisions/d_nothing/why").status_code == 404


def eventually_true(ask: Any) -> None:
    import time

    for _ in range(100):
        if ask():
            return
        time.sleep(0.05)
    raise AssertionError("it never came true")
