"""The audit log hears of a refusal at once, and of its repeats as a count."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import vitrina
from tests.service.conftest import Running, start
from vitrina.service.refusals import Refusals


def test_repeats_are_counted_not_written() -> None:
    heard: list[tuple[str, str, str, int]] = []
    now = [0.0]
    refusals = Refusals(lambda *entry: heard.append(entry), timer=lambda: now[0])
    for _ in range(1000):
        refusals.note("/v1/track", "key.unknown", "")
    refusals.note("/v1/decide", "key.unknown", "")
    assert heard == [("", "key.unknown", "/v1/track", 1), ("", "key.unknown", "/v1/decide", 1)]
    now[0] = 61.0
    refusals.note("/v1/track", "key.unknown", "")
    assert heard[-1] == ("", "key.unknown", "/v1/track", 1000)
    refusals.note("/v1/track", "key.unknown", "")
    refusals.flush()
    assert heard[-1] == ("", "key.unknown", "/v1/track", 1)


def test_what_stopped_is_written_when_its_minute_is_over() -> None:
    heard: list[tuple[str, str, str, int]] = []
    now = [0.0]
    refusals = Refusals(lambda *entry: heard.append(entry), timer=lambda: now[0])
    for _ in range(500):
        refusals.note("/v1/track", "key.unknown", "")
    now[0] = 59.0
    refusals.settle()
    assert len(heard) == 1
    now[0] = 60.0
    refusals.settle()
    refusals.settle()
    assert heard[1:] == [("", "key.unknown", "/v1/track", 499)]
    refusals.note("/v1/track", "key.unknown", "")
    assert heard[2:] == [("", "key.unknown", "/v1/track", 1)]


def test_every_kind_of_refusal_is_in_the_audit_log_without_anybody_s_name(tmp_path: Path) -> None:
    """Whoever refused: the door, the limits, the sign-in. Neither a customer, nor an address, nor a key is written."""
    workspace = vitrina.init(tmp_path / "shop")
    workspace.start()
    keys = workspace.keys
    secret, write, narrow, old = (
        keys.create("secret", name="backend"),
        keys.create("write", name="site"),
        keys.create("secret", ("collect",), name="till"),
        keys.create("secret", name="old"),
    )
    keys.revoke(old)
    address, stop = start(workspace)
    running = Running(workspace, address, secret, write)
    try:
        with running.client(secret) as shop:
            shop.put("/v1/placements/home", json={"name": "Home", "public": True}).raise_for_status()
        guessed = "vs_guessed" + "x" * 36
        vera = {"placement": "home", "userId": "vera@example.com"}
        asks = [
            (running.client(), "GET", "/v1/profiles/vera@example.com", {}),
            (running.client(guessed), "GET", "/v1/profiles/vera@example.com", {}),
            (running.client(old), "POST", "/v1/track", {"json": {}}),
            (running.client(narrow), "DELETE", "/v1/profiles/vera@example.com", {}),
            (running.client(write), "POST", "/v1/decide", {"json": {**vera, "placement": "x"}}),
            (running.client(write), "POST", "/v1/decide", {"json": vera}),
            (running.client(write), "POST", "/v1/decide", {"json": {**vera, "preview": True}}),
            (running.client(), "POST", "/sign-in", {"data": {"form": "forged", "email": "vera@example.com"}}),
            (running.client(), "POST", "/sign-out", {"data": {"form": "forged"}}),
        ]
        for client, method, path, body in asks:
            with client:
                for _ in range(3):
                    assert client.request(method, path, **body).status_code in (401, 403)
        with running.client() as browser:
            form = re.search(r'name="form" value="(\w+)"', browser.get("/sign-in").text)
            assert form is not None
            signing_in = {"form": form[1], "email": "vera@example.com", "password": "a guess"}
            answers = [browser.post("/sign-in", data=signing_in).status_code for _ in range(12)]
        assert answers == [403] * 10 + [429] * 2
    finally:
        stop()
    entries = workspace.audit.entries(1000, "access.refused")
    counts: Counter[tuple[str, str, str]] = Counter()
    for entry in entries:
        counts[entry.actor.split()[0], entry.details["code"], entry.details["route"]] += entry.details["count"]
    people = "/v1/profiles/{identifier}"
    assert counts == {
        ("unknown", "key.missing", people): 3,
        ("unknown", "key.unknown", people): 3,
        ("old", "key.revoked", "/v1/track"): 3,
        ("till", "key.scope", people): 3,
        ("site", "placement.private", "/v1/decide"): 3,
        ("site", "user.hash", "/v1/decide"): 3,
        ("site", "key.preview", "/v1/decide"): 3,
        ("unknown", "form.stale", "/sign-in"): 3,
        ("unknown", "form.stale", "/sign-out"): 3,
        ("unknown", "sign_in.wrong", "/sign-in"): 10,
        ("unknown", "sign_in.too_many", "/sign-in"): 2,
    }
    assert len(entries) == 2 * len(counts), "the first at once, its repeats as a count when the server stops"
    text = str([(entry.actor, entry.details) for entry in entries])
    for private in ("vera", "127.0.0.1", "guess", *(key[3:11] for key in (secret, write, narrow, old))):
        assert private not in text
    assert workspace.audit.verify().broken_at is None
    workspace.close()
