"""Catalogue, people, operations and the OpenAPI document over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.service.conftest import Running


def test_an_offer_is_put_read_and_taken_away(shop: httpx.Client) -> None:
    offer = {
        "name": "Sencha 100 g",
        "price": {"amount": 12.5, "currency": "EUR"},
        "eligibility": {"minimumAge": 18, "audience": {"field": "orders_90d", "op": ">=", "value": 1}},
        "schedule": {"from": "2026-11-27T00:00:00Z"},
    }
    put = shop.put("/v1/offers/sencha", json=offer)
    assert put.status_code == 200, put.text
    assert put.json()["price"] == {"amount": "12.50", "currency": "EUR"}
    got = shop.get("/v1/offers/sencha").json()
    assert {**got, "discount": 0} == {**put.json(), "discount": 0}
    assert got["eligibility"] == offer["eligibility"]
    assert shop.put("/v1/offers/sencha", json=got).status_code == 200
    assert shop.delete("/v1/offers/sencha").status_code == 204
    assert shop.get("/v1/offers/sencha").status_code == 404
    assert shop.delete("/v1/offers/sencha").status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("offers/x", {"name": 7}, "name"),
        ("offers/x", {}, "name"),
        ("offers/x", {"name": "x", "pirce": 1}, "pirce"),
        ("offers/x", {"name": "x", "price": {"amount": "-1", "currency": "EUR"}}, "price.amount"),
        (
            "offers/x",
            {"name": "x", "price": {"amount": "1", "currency": "EUR"}, "cost": {"amount": 1, "currency": "USD"}},
            "cost.currency",
        ),
        ("offers/x", {"name": "x", "discount": 1.5}, "discount"),
        ("creatives/x", {"offerId": "not there"}, "offerId"),
        ("placements/x", {"slots": 21}, "slots"),
        ("placements/x", {"outcomes": [{"event": "x", "window": "soon"}]}, "outcomes[0].window"),
    ],
)
def test_a_body_that_can_not_be_names_its_field(
    shop: httpx.Client, path: str, body: dict[str, Any], field: str
) -> None:
    answer = shop.put(f"/v1/{path}", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["field"] == field, answer.text
    assert answer.json()["cure"]


def test_unreadable_json_is_400(shop: httpx.Client) -> None:
    answer = shop.put("/v1/offers/x", content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_offers_from_a_file_are_answered_row_by_row(shop: httpx.Client) -> None:
    rows = "id,name,price,currency\nmug,Mug,7.50,EUR\nbad,Bad,cheap,EUR\nplate,Plate,9,EUR\n"
    answer = shop.post("/v1/offers/import", content=rows.encode(), headers={"content-type": "text/csv"})
    assert answer.status_code == 200, answer.text
    report = answer.json()
    assert (report["read"], report["stored"], report["refused"]) == (3, 2, 1)
    assert report["refusals"][0]["row"] == 2
    assert shop.get("/v1/offers/plate").json()["name"] == "Plate"
    lines = b'{"id": "bowl", "name": "Bowl"}\n{"id": "half"\n'
    report = shop.post("/v1/offers/import", content=lines, headers={"content-type": "application/x-ndjson"}).json()
    assert (report["stored"], report["refused"]) == (1, 1)


def test_a_write_key_opens_no_resource(page: httpx.Client, running: Running) -> None:
    for ask in (
        page.get("/v1/offers/mug"),
        page.put("/v1/offers/mug", json={"name": "x"}),
        page.get("/v1/profiles/ann"),
        page.delete("/v1/profiles/ann"),
        page.get("/v1/decisions/d_1/why"),
    ):
        assert (ask.status_code, ask.json()["code"]) == (403, "key.scope")
    with running.client() as nobody:
        assert nobody.get("/v1/profiles/ann").status_code == 401


def test_consent_profile_export_and_erasure(shop: httpx.Client) -> None:
    from tests.service.test_collect import eventually

    consent = shop.put(
        "/v1/profiles/petra/consents/personalisation",
        json={"granted": True, "source": "banner", "textVersion": "v5", "locale": "de"},
    )
    assert consent.status_code == 200, consent.text
    assert consent.json()["granted"] is True and consent.json()["textVersion"] == "v5"
    shop.post("/v1/identify", json={"userId": "petra", "traits": {"city": "Köln"}, "messageId": "petra-1"})
    profile = eventually(lambda: shop.get("/v1/profiles/petra"), 200).json()
    assert any(record["purpose"] == "personalisation" and record["granted"] for record in profile["consents"])
    export = shop.get("/v1/profiles/petra/export")
    assert export.status_code == 200, export.text
    assert "Köln" in export.text
    started = shop.delete("/v1/profiles/petra")
    assert started.status_code == 202
    number = started.json()["erasureId"]

    def done() -> httpx.Response:
        answer = shop.get(f"/v1/erasures/{number}")
        return answer if answer.json().get("doneAt") else httpx.Response(425)

    assert sum(eventually(done, 200).json()["counts"].values()) > 0
    assert shop.get("/v1/profiles/petra").status_code == 404
    shop.post("/v1/identify", json={"userId": "petra", "traits": {"city": "Köln"}, "messageId": "petra-1"})
    assert shop.get("/v1/profiles/petra").status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("consents/personalisation", {}),
        ("consents/nothing", {"granted": True}),
        ("consents/personalisation", {"granted": "yes"}),
        ("consents/personalisation", {"granted": True, "at": "tomorrow"}),
    ],
)
def test_a_consent_that_can_not_be_is_refused(shop: httpx.Client, path: str, body: dict[str, Any]) -> None:
    answer = shop.put(f"/v1/profiles/petra-2/{path}", json=body)
    assert answer.status_code in (400, 404), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_it_is_alive_and_ready(running: Running) -> None:
    with running.client() as nobody:
        assert nobody.get("/healthz").json()["status"] == "alive"
        assert nobody.get("/readyz").json() == {"ready": True, "problems": []}


def test_an_unknown_route_is_a_problem(shop: httpx.Client) -> None:
    answer = shop.get("/v1/nothing")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert shop.post("/v1/offers/mug").status_code == 405


def test_the_openapi_document_is_complete_and_consistent(running: Running) -> None:
    with running.client() as nobody:
        answer = nobody.get("/schema/openapi.json")
    assert answer.status_code == 200
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    operations = {f"{method} {path}" for path, item in document["paths"].items() for method in item}
    assert operations >= {
        "post /v1/batch",
        "post /v1/track",
        "post /v1/identify",
        "post /v1/decide",
        "put /v1/offers/{offer_id}",
        "get /v1/creatives/{creative_id}",
        "delete /v1/placements/{placement_id}",
        "post /v1/offers/import",
        "get /v1/profiles/{identifier}",
        "get /v1/profiles/{identifier}/export",
        "delete /v1/profiles/{identifier}",
        "get /v1/erasures/{erasure_id}",
        "put /v1/profiles/{identifier}/consents/{purpose}",
        "get /v1/decisions/{decision_id}/why",
        "get /healthz",
        "get /readyz",
    }
    known = set(document["components"]["schemas"])
    assert {name.rsplit("/", 1)[-1] for name in references(document)} <= known
    decide = document["components"]["schemas"]["DecideRequest"]["properties"]
    assert {"placement", "userId", "anonymousId", "userHash", "requestId", "preview"} <= set(decide)
    assert all(
        "application/problem+json" in response["content"]
        for item in document["paths"].values()
        for operation in item.values()
        for status, response in operation["responses"].items()
        if status >= "4"
    )


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(references(value) for value in node.values()))
    return set().union(*(references(value) for value in node)) if isinstance(node, list) else set()
