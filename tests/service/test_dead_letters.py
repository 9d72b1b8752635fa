"""Dead letters over HTTP: seen, corrected, replayed once; put away and taken back; erased people's never come back."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.service.conftest import Running
from tests.service.test_collect import stored
from tests.service.test_decide import eventually_true


def send_wrong_order(client: httpx.Client, number: str, user: str = "анна", **more: Any) -> None:
    """An order whose total is a word, beside a good event in a batch that says something for both."""
    order = {
        "type": "track",
        "event": "Order Completed",
        "userId": user,
        "messageId": f"wrong-{number}",
        "originalTimestamp": "2026-05-01T10:00:00Z",
        "properties": {"order_id": number, "total": "дорого", "currency": "RUB"},
    }
    good = {"type": "track", "event": "Product Viewed", "userId": user, "messageId": f"good-{number}"}
    body = {"batch": [good, order | more], "sentAt": "2026-05-01T10:00:05Z", "context": {"locale": "ru-RU"}}
    assert client.post("/v1/batch", json=body).json() == {"success": True}


def letter_of(shop: httpx.Client, number: str) -> dict[str, Any]:
    """The letter of that order, with its body."""
    page = shop.get("/v1/dead-letters", params={"status": "", "limit": 500}).json()
    (found,) = [letter for letter in page["letters"] if letter["messageId"] == f"wrong-{number}"]
    assert "body" not in found or found["body"] is None
    return shop.get(f"/v1/dead-letters/{found['id']}").json()


def corrected(number: str, user: str = "анна", **properties: Any) -> dict[str, Any]:
    return {
        "event": "Order Completed",
        "userId": user,
        "messageId": "another id",
        "properties": {"order_id": number, "total": "450.00", "currency": "RUB", **properties},
    }


def event_of(running: Running, message_id: str) -> Any:
    from vitrina.collect.ingest import decode_event

    rows = running.workspace.store.journals["events"].read(0, 10_000)
    (event,) = [e for e in (decode_event(row.body) for row in rows) if e.message_id == message_id]
    return event


def test_a_letter_says_what_is_wrong_and_holds_all_that_its_batch_said(running: Running, shop: httpx.Client) -> None:
    send_wrong_order(shop, "100")
    letter = letter_of(shop, "100")
    assert (letter["code"], letter["where"]) == ("plan.type", "batch[1].properties.total")
    assert (letter["event"], letter["status"], letter["trusted"]) == ("Order Completed", "waiting", True)
    assert "дорого" in letter["body"] and "дорого" in letter["cause"] and letter["cure"]
    assert '"locale": "ru-RU"' in letter["body"] and "2026-05-01T10:00:05" in letter["body"]


def test_a_batch_that_is_repeated_leaves_one_letter(running: Running, shop: httpx.Client) -> None:
    before = running.workspace.dead_letters()
    for _ in range(3):
        send_wrong_order(shop, "101")
    assert running.workspace.dead_letters() == before + 1


@pytest.mark.parametrize("kind", ["secret", "write"])
def test_a_corrected_letter_is_stored_once_with_its_own_id_trust_and_time(
    running: Running, shop: httpx.Client, kind: str
) -> None:
    number, user = f"200-{kind}", f"борис-{kind}"
    with running.client(running.secret_key if kind == "secret" else running.write_key) as sender:
        send_wrong_order(sender, number, user)
    letter = letter_of(shop, number)
    path, before = f"/v1/dead-letters/{letter['id']}/replay", stored(running)
    refused = shop.post(path)
    assert (refused.status_code, refused.json()["code"]) == (400, "plan.type")
    assert refused.json()["field"] == "properties.total" and refused.json()["cure"]
    assert stored(running) == before
    answer = shop.post(path, json=corrected(number, user))
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"id": letter["id"], "status": "replayed", "stored": True, "messageId": f"wrong-{number}"}
    again = shop.post(path, json=corrected(number, user))
    assert (again.status_code, again.json()["code"]) == (409, "letter.replayed")
    assert stored(running) == before + 1
    event = event_of(running, f"wrong-{number}")
    assert (event.trusted, event.source) == (kind == "secret", letter["source"])
    assert event.context == {"locale": "ru-RU"}
    assert (event.revenue, event.currency) == (45000, "RUB")
    refused_at = running.workspace.letters.find(letter["id"]).refused_at
    assert event.occurred_at == refused_at - 5_000_000  # sent five seconds after it happened
    assert event.received_at == event.available_at > refused_at


def test_a_letter_whose_event_came_again_by_itself_adds_nothing(running: Running, shop: httpx.Client) -> None:
    send_wrong_order(shop, "300")
    assert shop.post("/v1/track", json={**corrected("300"), "messageId": "wrong-300"}).status_code == 200
    before = stored(running)
    answer = shop.post(f"/v1/dead-letters/{letter_of(shop, '300')['id']}/replay", json=corrected("300"))
    assert (answer.status_code, answer.json()["stored"]) == (200, False)
    assert stored(running) == before


def test_a_discard_is_taken_back(running: Running, shop: httpx.Client) -> None:
    send_wrong_order(shop, "400")
    number = letter_of(shop, "400")["id"]
    waiting = running.workspace.dead_letters()
    for _ in range(2):
        assert shop.delete(f"/v1/dead-letters/{number}").json()["status"] == "discarded"
    assert running.workspace.dead_letters() == waiting - 1
    assert shop.post(f"/v1/dead-letters/{number}/replay", json=corrected("400")).json()["code"] == "letter.discarded"
    assert shop.post(f"/v1/dead-letters/{number}/restore").json()["status"] == "waiting"
    assert shop.post(f"/v1/dead-letters/{number}/replay", json=corrected("400")).status_code == 200
    for method, path in (("DELETE", ""), ("POST", "/restore")):
        assert shop.request(method, f"/v1/dead-letters/{number}{path}").json()["code"] == "letter.replayed"
    actions = [entry.action for entry in running.workspace.audit.entries(20) if entry.details.get("letter") == number]
    assert actions == ["letter.replay", "letter.restore", "letter.discard"]
    assert running.workspace.audit.verify().broken_at is None


def test_an_erased_person_does_not_come_back_by_a_letter(running: Running, shop: httpx.Client) -> None:
    """One letter is in the person's own name and goes at once; the other names her beside somebody else."""
    send_wrong_order(shop, "500", "вера")
    send_wrong_order(shop, "501", "павел", anonymousId="браузер-веры")
    link = {"userId": "вера", "anonymousId": "браузер-веры", "messageId": "link-вера"}
    assert shop.post("/v1/identify", json=link).status_code == 200
    eventually_true(lambda: shop.get("/v1/profiles/вера").status_code == 200)
    own, beside = letter_of(shop, "500")["id"], letter_of(shop, "501")["id"]
    erasure = shop.delete("/v1/profiles/вера").json()["erasureId"]
    eventually_true(lambda: shop.get(f"/v1/erasures/{erasure}").json()["doneAt"] is not None)
    before = stored(running)
    assert shop.get(f"/v1/dead-letters/{own}").status_code == 404
    call = {**corrected("501", "павел"), "anonymousId": "браузер-веры"}
    refused = shop.post(f"/v1/dead-letters/{beside}/replay", json=call)
    assert (refused.status_code, refused.json()["code"]) == (422, "letter.erased")
    assert shop.get(f"/v1/dead-letters/{beside}").status_code == 404
    assert stored(running) == before


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "json.unreadable"),
        (b"[]", "json.unreadable"),
        (b'{"type": "batch"}', "event.unknown_type"),
        (b'{"event": "Order Completed"}', "identity.missing"),
        (b'{"event": 7, "userId": "x"}', "event.type"),
    ],
)
def test_a_correction_that_can_not_be_is_told_and_changes_nothing(
    running: Running, shop: httpx.Client, body: bytes, code: str
) -> None:
    number = f"600-{code}-{len(body)}"
    send_wrong_order(shop, number)
    letter, before = letter_of(shop, number)["id"], stored(running)
    answer = shop.post(f"/v1/dead-letters/{letter}/replay", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, code), answer.text
    assert answer.json()["cure"]
    assert stored(running) == before
    assert shop.get(f"/v1/dead-letters/{letter}").json()["status"] == "waiting"


def test_pages_of_letters_and_what_can_not_be_asked(running: Running, shop: httpx.Client) -> None:
    for number in range(3):
        send_wrong_order(shop, f"70{number}")
    seen: list[int] = []
    before: int | None = None
    while True:
        params = {"limit": 2} | ({"before": before} if before is not None else {})
        page = shop.get("/v1/dead-letters", params=params).json()
        seen += [letter["id"] for letter in page["letters"]]
        before = page["before"]
        if before is None:
            break
    assert seen == sorted(set(seen), reverse=True) and len(seen) == running.workspace.dead_letters()
    assert shop.get("/v1/dead-letters", params={"code": "money.amount"}).json()["letters"] == []
    assert shop.get("/v1/dead-letters", params={"status": "lost"}).json()["field"] == "status"
    assert shop.get("/v1/dead-letters/999999").json()["code"] == "letter.unknown"


def test_letters_have_a_scope_of_their_own(running: Running, page: httpx.Client) -> None:
    assert page.get("/v1/dead-letters").status_code == 403
    with running.client(running.workspace.keys.create("secret", scopes=("collect", "people"))) as other:
        for method, path in (
            ("GET", ""),
            ("GET", "/1"),
            ("POST", "/1/replay"),
            ("POST", "/1/restore"),
            ("DELETE", "/1"),
        ):
            assert other.request(method, f"/v1/dead-letters{path}").status_code == 403
    with running.client(running.workspace.keys.create("secret", scopes=("dead-letters",))) as clerk:
        assert clerk.get("/v1/dead-letters").status_code == 200
