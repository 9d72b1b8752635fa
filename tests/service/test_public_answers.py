"""What the public sees: a write key's answers hold nothing of the person and nothing of how we decide."""

from __future__ import annotations

import json
from typing import Any

import httpx
import msgspec
import pytest

from tests.service.conftest import Running
from tests.service.test_access import request_of
from tests.service.test_collect import eventually
from vitrina.console.words import LANGUAGES
from vitrina.core.reasons import REASONS, Reason
from vitrina.service.access import ACCESS
from vitrina.service.ingest import CALLS, METRICS
from vitrina.service.tag import manifest
from vitrina.service.wire import wire_reason

pytestmark = pytest.mark.usefixtures("catalogue")

ANSWER = {"decisionId", "items", "policy", "holdout", "experiments", "personalised", "labels", "expiresAt"}
ITEM = {"position", "offerId", "creativeId", "content", "price", "reasons"}
CITY, BORN = "Тайноград", "1987-06-05"


@pytest.fixture(scope="module")
def known(running: Running, shop: httpx.Client) -> str:
    """A person with traits, orders and a consent, whose decisions are personalised; the consent's id."""
    consent = shop.put("/v1/profiles/вера/consents/personalisation", json={"granted": True, "source": "banner"}).json()
    traits = {"city": CITY, "birthday": BORN, "email": "vera@example.com"}
    shop.post("/v1/identify", json={"userId": "вера", "traits": traits, "messageId": "vera-1"})
    order = {"order_id": "V-1", "total": 77.31, "currency": "EUR", "products": [{"product_id": "tea", "price": 77.31}]}
    shop.post("/v1/track", json={"userId": "вера", "event": "Order Completed", "messageId": "v-2", "properties": order})
    eventually(lambda: shop.get("/v1/profiles/вера"), 200)
    return consent["id"]


def numbers_of(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for each in value.values() for number in numbers_of(each)]
    if isinstance(value, list):
        return [number for each in value for number in numbers_of(each)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


@pytest.mark.parametrize("explain", [False, True])
def test_a_personal_answer_to_a_write_key_holds_exactly_this(
    running: Running, page: httpx.Client, shop: httpx.Client, known: str, *, explain: bool
) -> None:
    ask = {"placement": "home", "userId": "вера", "slots": 3, "explain": explain}
    proof = running.workspace.keys.user_hash("вера")
    public = page.post("/v1/decide", json={**ask, "userHash": proof}, headers={"accept-language": "ru"})
    private = shop.post("/v1/decide", json=ask, headers={"accept-language": "ru"}).json()
    assert private["basis"]["record"] == known and private["personalised"]
    body = public.json()
    assert body["personalised"] is True
    assert set(body) == ANSWER
    for item in body["items"]:
        assert set(item) == ITEM
        for reason in item["reasons"]:
            assert set(reason) == ({"code", "words"} if explain else {"code"})
    assert numbers_of(body) == [1, 2, 3], "positions, and no other number"
    for private_word in (CITY, BORN, "1987", "vera@", known, "77.31", "probability", "basis", "consent", "params"):
        assert private_word not in public.text
    assert all("probability" in item for item in private["items"])


@pytest.mark.parametrize("language", [None, *LANGUAGES])
@pytest.mark.parametrize("code", REASONS)
def test_no_parameter_of_a_reason_reaches_the_public(code: str, language: str | None) -> None:
    """Whatever a reason carries, the public form is the same as that of a reason which carries nothing."""
    private = dict.fromkeys(("shown", "limit", "stock", "minimum", "age", "at", "until", "since", "count"), 987654)
    said = wire_reason(Reason(code, {**private, "purpose": "email", "audience": CITY}), language, to_public=True)
    bare = wire_reason(Reason(code), language, to_public=True)
    text = msgspec.json.encode(said).decode()
    assert said == bare
    assert "987" not in text and CITY not in text and "{" not in text[1:]


def test_a_refusal_says_the_same_of_people_we_know_and_we_don_t(
    running: Running, page: httpx.Client, known: str
) -> None:
    assert known
    refusals: list[dict[str, Any]] = []
    for user in ("вера", "никто"):
        for proof in ({}, {"userHash": "0" * 64}, {"userHash": running.workspace.keys.user_hash("кто-то")}):
            answer = page.post("/v1/decide", json={"placement": "home", "userId": user, **proof})
            assert (answer.status_code, answer.json()["code"]) == (403, "user.hash")
            assert user not in answer.text
            refusals.append({**answer.json(), "requestId": ""})
    assert all(refusal == refusals[0] for refusal in refusals)


def test_an_unknown_person_s_answer_looks_like_a_known_one_s(running: Running, page: httpx.Client, known: str) -> None:
    assert known
    proof = running.workspace.keys.user_hash
    asked = [
        page.post("/v1/decide", json={"placement": "home", "userId": user, "userHash": proof(user)}).json()
        for user in ("вера", "никто")
    ]
    assert set(asked[0]) == set(asked[1]) == ANSWER
    assert [set(item) for item in asked[0]["items"]] == [set(item) for item in asked[1]["items"]]


def test_a_rotated_identity_secret_counts_for_its_grace(running: Running, page: httpx.Client) -> None:
    """Pages that were rendered before the rotation go on working; a hash of another shop's secret never did."""
    keys = running.workspace.keys
    old = keys.user_hash("лена")
    keys.rotate_identity(3_600_000_000)
    new = keys.user_hash("лена")
    assert old != new
    for proof, status in ((old, 200), (new, 200), (new[:-1] + ("0" if new[-1] != "0" else "1"), 403)):
        ask = {"placement": "home", "userId": "лена", "userHash": proof}
        assert page.post("/v1/decide", json=ask).status_code == status
        call = {"event": "x", "userId": "лена", "anonymousId": "a", "userHash": proof}
        before = running.workspace.dead_letters()
        assert page.post("/v1/track", json={**call, "messageId": f"lena-{proof}"}).status_code == 200
        assert running.workspace.dead_letters() - before == (status == 403)
    keys.rotate_identity(0)
    for proof in (old, new):
        ask = {"placement": "home", "userId": "лена", "userHash": proof}
        assert page.post("/v1/decide", json=ask).status_code == 403


def test_the_openapi_document_holds_no_secret(running: Running) -> None:
    with running.client() as nobody:
        text = nobody.get("/schema/openapi.json").text
    keys = running.workspace.keys
    for secret in (
        keys.identity_secret(),
        running.secret_key[:11],
        running.write_key[:11],
        str(running.workspace.root),
    ):
        assert secret not in text
    assert all(info.id not in text and info.prefix not in text for info in keys.list())
    assert json.loads(text)["info"]["title"] == "Vitrina"


def test_pages_of_other_sites_may_call_collect_and_decide_only(running: Running) -> None:
    """CORS stands on what a page of another site loads or calls, answers and refusals, and nowhere else."""
    from tests.service.test_access import Caller

    hot = {*CALLS, METRICS, "/v1/decide"}
    loaded = {"/v1/projects/{write_key}/settings", "/v1/tag.js", *(build.path for build in manifest())}
    headers = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    with running.client(running.secret_key) as client:
        caller = Caller("shop", client)
        for row in ACCESS:
            address, body = request_of(caller, row.method, row.path)
            answer = client.request(row.method, address, headers={"origin": "https://shop.example"}, **body)
            preflight = client.options(address, headers=headers)
            for each, meant in ((answer, hot | loaded), (preflight, hot)):
                allowed = {name for name in each.headers if name.startswith("access-control-")}
                assert bool(allowed) is (row.path in meant), (row, each.status_code, allowed)
                assert "access-control-allow-credentials" not in allowed
    with running.client() as nobody:
        assert nobody.post("/v1/decide", json={}).headers["access-control-allow-origin"] == "*"
