"""A leaked key in a tea shop: seen in the audit log, replaced, revoked; and a wrong revocation that is taken back.

Read it from `a_bad_morning` downwards. A contractor put two of the shop's keys into a public repository: the page's
write key, which is public anyway, and the till's secret key, which isn't. The server runs all the while.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import httpx

import vitrina as package
from tests.journeys.test_day_in_the_shop import make_keys, mistake, open_the_shop, put, run, vitrina
from tests.loop.served import Served


def test_a_bad_morning(tmp_path: Path) -> None:
    a_bad_morning(tmp_path / "чайная")


def a_bad_morning(shop: Path) -> None:
    open_the_shop(shop)
    owner, site = make_keys(shop)
    leaked = vitrina(
        "-w",
        str(shop),
        "keys",
        "create",
        "--kind",
        "secret",
        "--name",
        "касса",
        "--scope",
        "collect",
        "--scope",
        "decide",
    )["key"]
    server = Served(shop)
    try:
        with server.client(owner) as backend, server.client(site) as page, server.client(leaked) as till:
            put(backend, "/v1/placements/главная", {"name": "Главная", "public": True, "holdout": 0})
            put(backend, "/v1/placements/закупки", {"name": "Цены для закупки"})
            somebody_tries_the_keys(page, till)
            the_owner_sees_it(shop)
            fresh = she_replaces_the_till_s_key(shop, leaked)
            with server.client(fresh) as new_till:
                both_work_while_the_till_is_changed(till, new_till)
                she_ends_the_old_one(shop, leaked, till, new_till)
            she_revokes_the_wrong_one_and_takes_that_back(shop, page)
            she_changes_the_identity_secret_too(shop, page)
    finally:
        assert server.stop() == 0
    the_record_is_whole_until_somebody_touches_it(shop)


def order(number: int) -> dict[str, Any]:
    sale = {"order_id": f"Л-{number}", "total": "99000.00", "currency": "RUB"}
    return {"userId": "анна", "event": "Order Completed", "messageId": f"leak-{number}", "properties": sale}


def somebody_tries_the_keys(page: httpx.Client, till: httpx.Client) -> None:
    """With the page's key nobody becomes Anna, sees purchase prices or earns money; the till's opens no person."""
    for ask in ({"placement": "главная", "userId": "анна"}, {"placement": "закупки", "anonymousId": "прохожий"}):
        for _ in range(25):
            assert page.post("/v1/decide", json=ask).status_code == 403
    assert page.post("/v1/track", json=order(1)).status_code == 200
    for _ in range(10):
        refused = till.get("/v1/profiles/анна/export")
        assert (refused.status_code, refused.json()["code"]) == (403, "key.scope")


def the_owner_sees_it(shop: Path) -> None:
    """A line for each kind of try, with the name of the key; not a thousand lines, and nobody's name."""
    until = time.monotonic() + 20
    while len(refused := refusals(shop)) < 3:
        assert time.monotonic() < until, refused
        time.sleep(0.2)
    assert {(name, entry["code"], entry["route"]) for name, entry in refused} == {
        ("сайт", "user.hash", "/v1/decide"),
        ("сайт", "placement.private", "/v1/decide"),
        ("касса", "key.scope", "/v1/profiles/{identifier}/export"),
    }
    text = run(["-w", str(shop), "audit", "list"]).stdout
    assert "анна" not in text and "прохожий" not in text and "access.refused" in text
    used = {key["name"]: key["last_used_at"] for key in vitrina("-w", str(shop), "keys", "list")}
    assert all(used[name] is not None for name in ("бэкенд", "сайт", "касса"))
    assert vitrina("-w", str(shop), "summary")["net_revenue"] == "0.00"


def refusals(shop: Path) -> list[tuple[str, dict[str, Any]]]:
    """Name of the key and details of each refusal."""
    entries = vitrina("-w", str(shop), "audit", "list", "--action", "access.refused")
    return [(entry["actor"].split()[0], entry["details"]) for entry in entries]


def she_replaces_the_till_s_key(shop: Path, leaked: str) -> str:
    """She mistypes the id first, then names the key by pasting it; what she is told never repeats it in full."""
    told = mistake("-w", str(shop), "keys", "rotate", leaked[:-1])
    assert "there is no key" in told and "keys list" in told and leaked[:-1] not in told
    changed = vitrina("-w", str(shop), "keys", "rotate", leaked, "--grace", "2h")
    listed = {key["id"]: key for key in vitrina("-w", str(shop), "keys", "list")}
    old, new = listed[changed["replaces"]], listed[changed["id"]]
    assert (old["status"], old["replaced_by"]) == ("ending", new["id"])
    assert (new["name"], new["scopes"], new["status"]) == ("касса", ["collect", "decide"], "works")
    return changed["key"]


def both_work_while_the_till_is_changed(till: httpx.Client, new_till: httpx.Client) -> None:
    for number, client in enumerate((till, new_till)):
        call = {"userId": "анна", "event": "Product Viewed", "messageId": f"view-{number}"}
        assert client.post("/v1/track", json=call).status_code == 200


def she_ends_the_old_one(shop: Path, leaked: str, till: httpx.Client, new_till: httpx.Client) -> None:
    """The till is changed, so she doesn't wait for the grace to end: the very next request is refused, and is named."""
    vitrina("-w", str(shop), "keys", "revoke", leaked)
    refused = till.post("/v1/track", json=order(2))
    assert (refused.status_code, refused.json()["code"]) == (401, "key.revoked")
    assert new_till.post("/v1/track", json={"userId": "анна", "event": "x", "messageId": "x-1"}).status_code == 200
    until = time.monotonic() + 20
    while ("касса", "key.revoked") not in [(name, entry["code"]) for name, entry in refusals(shop)]:
        assert time.monotonic() < until
        time.sleep(0.2)


def she_revokes_the_wrong_one_and_takes_that_back(shop: Path, page: httpx.Client) -> None:
    """She meant another line of the list: the shop's pages go blank, and come back with the next request."""
    ask = {"placement": "главная", "anonymousId": "прохожий"}
    site = next(key["id"] for key in vitrina("-w", str(shop), "keys", "list") if key["name"] == "сайт")
    vitrina("-w", str(shop), "keys", "revoke", site)
    assert page.post("/v1/decide", json=ask).status_code == 401
    assert vitrina("-w", str(shop), "keys", "restore", site) == {"restored": site}
    assert page.post("/v1/decide", json=ask).status_code == 200
    assert "was not revoked" in mistake("-w", str(shop), "keys", "restore", site)


def she_changes_the_identity_secret_too(shop: Path, page: httpx.Client) -> None:
    """It lay beside the keys. Pages that were rendered before go on for an hour; then only new hashes count."""
    old = vitrina("-w", str(shop), "keys", "identity")["identity_secret"]
    new = vitrina("-w", str(shop), "keys", "rotate-identity", "--grace", "1h")["identity_secret"]
    assert new != old
    for secret, status in ((old, 200), (new, 200), ("00" * 32, 403)):
        proof = hmac.new(secret.encode(), "анна".encode(), hashlib.sha256).hexdigest()
        asked = page.post("/v1/decide", json={"placement": "главная", "userId": "анна", "userHash": proof})
        assert asked.status_code == status, asked.text
    assert "still counts until" in mistake("-w", str(shop), "keys", "rotate-identity")


def the_record_is_whole_until_somebody_touches_it(shop: Path) -> None:
    entries = vitrina("-w", str(shop), "audit", "list")
    done = [entry["action"] for entry in reversed(entries) if entry["action"] != "access.refused"]
    assert done == [
        "key.create", "key.create", "key.create", "key.rotate", "key.revoke", "key.revoke", "key.restore",
        "identity.rotate",
    ]  # fmt: skip
    assert sum(entry["details"]["count"] for entry in entries if entry["details"].get("code") == "user.hash") == 26
    whole = vitrina("-w", str(shop), "audit", "verify")
    assert (whole["entries"], whole["broken_at"]) == (len(entries), None)
    with package.open(shop) as workspace:
        workspace.store.write(
            lambda connection: connection.exec_driver_sql("update audit_entry set actor = 'никто' where seq = 2")
        )
    broken = run(["-w", str(shop), "audit", "verify", "--json"])
    assert (broken.returncode, json.loads(broken.stdout)["broken_at"]) == (4, 2)
