"""A shop backs up while it sells, loses its disk, restores, and goes on selling; who was erased in between stays so.

Read it from `test_a_lost_disk` downwards. The owner makes two mistakes, and undoes one thing.
"""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.journeys.test_day_in_the_shop import fill_the_shelf, mistake, put, run, vitrina
from tests.loop.served import Served
from tests.unit.govern.test_erasure import traces


@pytest.mark.sqlite
def test_a_lost_disk(tmp_path: Path) -> None:
    shop, other = tmp_path / "чайная", tmp_path / "второй диск"
    backup, ledger = other / "копия.tar", other / "стёртые.json"
    vitrina("init", str(shop), "--yes", "--currency", "RUB", "--time-zone", "Europe/Moscow")
    secret = vitrina("-w", str(shop), "keys", "create", "--kind", "secret", "--name", "бэкенд")["key"]

    server = Served(shop)
    with server.client(secret) as backend:
        fill_the_shelf(backend)
        morning = sell(backend, "утро", 1, 30)
        day = back_up_while_selling(shop, other, backup, backend)
        evening = sell(backend, "вечер", 60, 80)
        vera_wants_to_be_forgotten(backend)
        made = vitrina("-w", str(shop), "erasures", "export", str(ledger))
        assert made["tombstones"] >= 2
    server.kill()  # and the disk is gone with it
    shutil.rmtree(shop)

    restored = restore(tmp_path, backup, ledger, shop)
    assert restored["erasures"]["rows"] > 5
    assert traces(shop, "вера") == []
    assert traces(shop, "анна"), "the others are there (positive control)"

    server = Served(shop)
    try:
        with server.client(secret) as backend:  # the same key
            assert backend.get("/v1/profiles/вера").status_code == 404
            assert backend.get("/v1/profiles/анна").status_code == 200
            the_till_sends_the_day_again(backend, [*morning, *day, *evening])
            assert decide(backend, "анна")["items"]
            sell(backend, "назавтра", 100, 105)
    finally:
        assert server.stop() == 0
    summary = vitrina("-w", str(shop), "summary")
    assert (summary["orders"], summary["net_revenue"]) == (84, f"{84 * 450}.00")
    vitrina("-w", str(shop), "doctor")


def sell(backend: httpx.Client, when: str, first: int, last: int) -> list[dict[str, Any]]:
    """Orders of Anna's; Vera looks at teas."""
    calls: list[dict[str, Any]] = []
    for number in range(first, last):
        order = {"order_id": f"{number}", "total": "450.00", "value": "150.00", "currency": "RUB"}
        base = {"type": "track", "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        calls.append(
            {**base, "event": "Order Completed", "userId": "анна", "messageId": f"заказ-{number}", "properties": order}
        )
        viewed = {"userId": "вера", "anonymousId": "браузер-веры", "messageId": f"вера-{number}"}
        calls.append({**base, **viewed, "event": "Product Viewed", "properties": {"product_id": "улун"}})
    answer = backend.post("/v1/batch", json={"batch": calls})
    assert answer.status_code == 200, (when, answer.text)
    return calls


def decide(backend: httpx.Client, user: str) -> dict[str, Any]:
    answer = backend.post("/v1/decide", json={"placement": "главная", "userId": user})
    assert answer.status_code == 200, answer.text
    return answer.json()


def back_up_while_selling(shop: Path, other: Path, backup: Path, backend: httpx.Client) -> list[dict[str, Any]]:
    """Her first place is inside the shop's own folder. The server goes on all the while; gives what it sold."""
    told = mistake("-w", str(shop), "backup", str(shop / "копия.tar"))
    assert "lost with it" in told and "another disk" in told
    sold: list[dict[str, Any]] = []

    def go_on() -> None:
        for number in range(30, 60):
            sold.extend(sell(backend, "день", number, number + 1))
            decide(backend, "вера")

    selling = threading.Thread(target=go_on)
    selling.start()
    made = vitrina("-w", str(shop), "backup", str(backup))
    selling.join()
    assert made["whole"] and 58 <= made["events"] <= 118
    assert vitrina("backup", "--check", str(backup)) == made
    assert [path.name for path in other.iterdir()] == ["копия.tar"]
    return sold


def vera_wants_to_be_forgotten(backend: httpx.Client) -> None:
    put(backend, "/v1/profiles/вера/consents/personalisation", {"granted": False, "source": "form", "locale": "ru"})
    erasure = backend.delete("/v1/profiles/вера").json()["erasureId"]
    until = time.monotonic() + 20
    while backend.get(f"/v1/erasures/{erasure}").json()["doneAt"] is None:
        assert time.monotonic() < until
        time.sleep(0.05)


def restore(folder: Path, backup: Path, ledger: Path, shop: Path) -> dict[str, Any]:
    """A folder that isn't empty is refused; one restored without the ledger is thrown away, and done again with it."""
    photos = folder / "фотографии"
    photos.mkdir()
    (photos / "витрина.txt").write_text("не трогать", encoding="utf-8")
    told = mistake("restore", str(backup), str(photos))
    assert "isn't empty" in told and "stays as it is" in told
    assert [path.name for path in photos.iterdir()] == ["витрина.txt"]

    hasty = folder / "чайная-наспех"
    done = run(["restore", str(backup), str(hasty), "--json"])
    assert done.returncode == 0 and "is in this workspace again" in done.stderr
    assert traces(hasty, "вера")
    shutil.rmtree(hasty)
    return vitrina("restore", str(backup), str(shop), "--erasures", str(ledger))


def the_till_sends_the_day_again(backend: httpx.Client, calls: list[dict[str, Any]]) -> None:
    """What came after the backup is lost with the disk, but not at the till; what is known already is counted once."""
    for _ in range(2):
        assert backend.post("/v1/batch", json={"batch": calls}).status_code == 200
    assert backend.get("/v1/profiles/вера").status_code == 404
