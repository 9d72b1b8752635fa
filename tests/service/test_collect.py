"""Collect over HTTP: what each body and key is answered, and that a 200 means stored."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import zlib
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.service.conftest import Running


def track(number: int, **more: Any) -> dict[str, Any]:
    call = {"type": "track", "event": "Product Viewed", "userId": "ann", "messageId": f"view-{number}"}
    return {**call, "properties": {"product_id": "tea"}, **more}


def stored(running: Running) -> int:
    with running.workspace.store.read() as connection:
        return connection.execute(text("select seq from journal_head where journal = 'events'")).scalar() or 0


def dead(running: Running) -> list[str]:
    with running.workspace.store.read() as connection:
        return [row.code for row in connection.execute(text("select code from dead_letter order by at"))]


def test_a_batch_is_stored_when_it_is_answered(running: Running, shop: httpx.Client) -> None:
    before = stored(running)
    answer = shop.post("/v1/batch", json={"batch": [track(number) for number in range(100)]})
    assert answer.status_code == 200 and answer.json() == {"success": True}
    assert stored(running) == before + 100


def test_a_repeat_is_harmless(running: Running, shop: httpx.Client) -> None:
    body = {"batch": [track(1000), track(1000), track(1001)]}
    assert shop.post("/v1/batch", json=body).status_code == 200
    before = len(running.workspace.decisions.of_subject(["u:ann"])), stored(running)
    assert shop.post("/v1/batch", json=body).status_code == 200
    assert (len(running.workspace.decisions.of_subject(["u:ann"])), stored(running)) == before


@pytest.mark.parametrize("path", ["/v1/track", "/v1/t"])
def test_a_single_call_and_its_letter_form(shop: httpx.Client, path: str) -> None:
    assert shop.post(path, json=track(2000)).status_code == 200


def test_identify_teaches_traits(running: Running, shop: httpx.Client) -> None:
    body = {"userId": "zoya", "anonymousId": "browser-1", "traits": {"city": "Казань"}, "messageId": "id-1"}
    assert shop.post("/v1/identify", json=body).status_code == 200
    assert eventually(lambda: shop.get("/v1/profiles/zoya"), 200).json()["traits"] == {"city": "Казань"}


def eventually(ask: Any, status: int) -> httpx.Response:
    for _ in range(100):
        answer: httpx.Response = ask()
        if answer.status_code == status:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"still {answer.status_code}: {answer.text}")


def test_a_page_says_who_a_visitor_is_and_a_user_hash_proves_it(running: Running) -> None:
    """Mallory claims Lena's browser; Lena's own page proves that it is hers, and a made-up proof is refused."""
    proof = running.workspace.keys.user_hash("lena")
    with running.client(running.write_key) as page:
        claim = {"userId": "mallory", "anonymousId": "lena-browser", "messageId": "claim-1"}
        assert page.post("/v1/identify", json=claim).status_code == 200
        letters = len(dead(running))
        forged = {"userId": "mallory", "anonymousId": "lena-browser", "messageId": "claim-2"}
        assert page.post("/v1/identify", json={**forged, "userHash": proof}).status_code == 200
        assert dead(running)[letters:] == ["identity.hash"]
        proven = {"userId": "lena", "anonymousId": "lena-browser", "messageId": "claim-3"}
        assert page.post("/v1/identify", json={**proven, "context": {"userHash": proof}}).status_code == 200
    running.workspace.profiles.settle()
    assert running.workspace.person("lena")["identifiers"] == ["a:lena-browser", "u:lena"]
    assert running.workspace.person("mallory")["identifiers"] == ["u:mallory"]


def test_the_write_key_may_stand_in_the_body(running: Running) -> None:
    with running.client() as nobody:
        assert nobody.post("/v1/track", json=track(3000, writeKey=running.write_key)).status_code == 200
        plain = nobody.post(
            "/v1/track",
            content=json.dumps(track(3001, writeKey=running.write_key)),
            headers={"content-type": "text/plain"},
        )
        assert plain.status_code == 200
        assert plain.headers["access-control-allow-origin"] == "*"


def test_gzip_is_read_and_unreadable_gzip_is_refused(shop: httpx.Client) -> None:
    packed = gzip.compress(json.dumps({"batch": [track(4000)]}).encode())
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    assert shop.post("/v1/batch", content=packed, headers=headers).status_code == 200
    for broken in (packed[:-9], b"no gzip", b""):
        answer = shop.post("/v1/batch", content=broken, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "body.gzip")


def test_a_bomb_is_not_unpacked(shop: httpx.Client) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(200)) + packer.flush()
    assert len(bomb) < 500_000
    answer = shop.post("/v1/batch", content=bomb, headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["code"]) == (413, "body.large")


def test_too_many_bytes_are_413_and_the_connection_is_told(running: Running, shop: httpx.Client) -> None:
    answer = shop.post("/v1/batch", content=b"x" * 600_000)
    assert (answer.status_code, answer.json()["code"]) == (413, "body.large")

    def parts() -> Any:
        for _ in range(12):
            yield b"x" * 50_000

    assert shop.post("/v1/batch", content=parts()).status_code == 413
    assert shop.post("/v1/track", json=track(4500)).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"", 400),
        (b"\xff\xfe", 400),
        (b'{"batch": 7}', 400),
        (b'{"type":"track","event":"x"}', 400),
    ],
)
def test_what_can_not_be_read_is_400_with_a_cure(shop: httpx.Client, body: bytes, status: int) -> None:
    answer = shop.post("/v1/batch" if b"batch" in body or b"type" not in body else "/v1/track", content=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] and answer.json()["cure"]


def test_good_neighbours_of_bad_events_are_kept(running: Running, shop: httpx.Client) -> None:
    before, letters = stored(running), len(dead(running))
    body = (
        b'{"batch": [%s, {"type": "track", "event": "Order Completed", "userId": "ann", "messageId": "bad-1", '
        % json.dumps(track(5000)).encode()
    )
    body += (
        b'"properties": {"revenue": "\\ud800"}}, {"type": "nothing", "userId": "ann"}, %s]}'
        % json.dumps(track(5001)).encode()
    )
    assert shop.post("/v1/batch", content=body).status_code == 200
    assert stored(running) == before + 2
    assert len(dead(running)) == letters + 2


@pytest.mark.parametrize("key", ["", "vw_unknown", "vs_" + "x" * 43])
def test_an_unknown_key_is_401_and_audited(running: Running, key: str) -> None:
    with running.client(key) as stranger:
        answer = stranger.post("/v1/track", json=track(6000))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic")
    code = "key.unknown" if key else "key.missing"
    assert eventually_refusals(running, code)


def eventually_refusals(running: Running, code: str) -> list[Any]:
    for _ in range(100):
        entries = running.workspace.audit.entries(action="access.refused")
        entries = [entry for entry in entries if entry.details["code"] == code]
        if entries:
            return entries
        time.sleep(0.05)
    return []


def test_a_key_without_the_scope_is_403(running: Running) -> None:
    with running.client(running.workspace.keys.create("secret", scopes=("people",))) as client:
        answer = client.post("/v1/track", json=track(6100))
    assert (answer.status_code, answer.json()["code"]) == (403, "key.scope")


def test_a_full_queue_is_429_with_retry_after(running: Running, shop: httpx.Client) -> None:
    """The writer is kept busy while two requests meet a journal that lets nothing wait."""
    journal = running.workspace.store.journals["events"]
    before, journal.waiting_rows = journal.waiting_rows, 1
    busy = threading.Event()
    held = running.workspace.store.writer.call(lambda _connection: busy.wait(10))
    answers: list[httpx.Response] = []
    try:
        with running.client(running.secret_key) as other:
            first = threading.Thread(target=lambda: answers.append(other.post("/v1/track", json=track(7000))))
            first.start()
            time.sleep(0.3)
            refused = shop.post("/v1/track", json=track(7001))
            busy.set()
            first.join(10)
    finally:
        journal.waiting_rows = before
        busy.set()
    held.result(10)
    assert answers[0].status_code == 200
    assert refused.status_code == 429, refused.text
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["access-control-expose-headers"] == "retry-after"
    assert shop.post("/v1/track", json=track(7001)).status_code == 200


def test_a_page_of_another_site_may_ask(running: Running) -> None:
    with running.client() as browser:
        answer = browser.options(
            "/v1/decide", headers={"origin": "https://shop.example", "access-control-request-method": "POST"}
        )
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "content-type", "content-encoding", "x-retry-count"} <= set(allowed)


@pytest.mark.parametrize("proxied", [None, "https"])
def test_a_page_learns_where_to_send(running: Running, proxied: str | None) -> None:
    """The settings that Segment's browser client loads first: one destination, this server, no reports on itself."""
    headers = {} if proxied is None else {"x-forwarded-proto": proxied}
    with running.client() as browser:
        answer = browser.get(f"/v1/projects/{running.write_key}/settings", headers=headers)
    assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == "*"
    here = {"apiHost": f"{running.address.removeprefix('http://')}/v1", "protocol": proxied or "http"}
    assert answer.json()["integrations"] == {"Segment.io": {"apiKey": running.write_key, **here}}
    assert answer.json()["metrics"]["sampleRate"] == 0


def test_settings_are_for_write_keys_only(running: Running) -> None:
    revoked = running.workspace.keys.create("write")
    running.workspace.keys.revoke(revoked)
    with running.client() as browser:
        for key in ("vw_nothing", running.secret_key, revoked):
            answer = browser.get(f"/v1/projects/{key}/settings")
            assert (answer.status_code, answer.json()["code"]) == (404, "key.unknown")
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "apiHost" not in answer.text


def test_reports_of_the_browser_client_are_taken_and_kept_nowhere(running: Running) -> None:
    before, letters = stored(running), len(dead(running))
    with running.client() as browser:
        for body in (b'{"series": []}', b"", b"no JSON"):
            assert browser.post("/v1/m", content=body, headers={"content-type": "text/plain"}).status_code == 200
        assert browser.post("/v1/m", content=b"x" * 200_000).status_code == 413
    assert (stored(running), len(dead(running))) == (before, letters)


CONSENT_CALLS = {
    "track": {"event": "Product Viewed"},
    "identify": {"traits": {}},
    "page": {"name": "home"},
    "screen": {"name": "home"},
    "group": {"groupId": "club"},
    "alias": {"previousId": "before"},
}


@pytest.mark.parametrize("kind", CONSENT_CALLS)
@pytest.mark.parametrize("batched", [False, True], ids=["alone", "batch"])
def test_every_call_may_carry_consent_and_its_withdrawal(
    running: Running, shop: httpx.Client, kind: str, *, batched: bool
) -> None:
    """Once on the call itself, once said by the batch for all of its calls."""
    user = f"consent-{kind}-{batched}"
    for number, granted in enumerate((True, False)):
        context = {"consent": {"categoryPreferences": {"personalisation": granted}}}
        call = {"userId": user, "messageId": f"{user}-{number}", **CONSENT_CALLS[kind]}
        if batched:
            answer = shop.post("/v1/batch", json={"batch": [{"type": kind, **call}], "context": context})
        else:
            answer = shop.post(f"/v1/{kind}", json={**call, "context": context})
        assert answer.status_code == 200
        until = time.monotonic() + 10
        while [r.granted for r in running.workspace.consents.of([f"u:{user}"])] != [True, False][: number + 1]:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_another_method_is_405(shop: httpx.Client) -> None:
    answer = shop.get("/v1/batch")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")


def test_a_sender_who_goes_away_leaves_nothing_behind(running: Running, shop: httpx.Client) -> None:
    before = stored(running)
    host, port = running.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b'POST /v1/batch HTTP/1.1\r\nhost: x\r\ncontent-length: 400\r\n\r\n{"batch": [')
    assert shop.post("/v1/track", json=track(8000)).status_code == 200
    assert stored(running) == before + 1
