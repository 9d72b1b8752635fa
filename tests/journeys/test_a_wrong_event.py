"""A wrong event in a tea shop: seen, corrected, replayed, counted once; and what the marketer takes back.

Read it from `an_afternoon` downwards. The page speaks Russian and sends a price as a word; the till does the same.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx

from tests.journeys.test_day_in_the_shop import make_keys, mistake, open_the_shop, run, vitrina
from tests.loop.served import Served

ORDER = {"order_id": "Ч-15", "total": "дорого", "currency": "RUB", "comment": "Позвоните, пожалуйста, после шести"}


def test_an_afternoon_with_wrong_events(tmp_path: Path) -> None:
    an_afternoon(tmp_path / "чайная")


def an_afternoon(shop: Path) -> None:
    open_the_shop(shop)
    secret, write = make_keys(shop)
    clerk = vitrina("-w", str(shop), "keys", "create", "--kind", "secret", "--scope", "dead-letters")["key"]
    server = Served(shop)
    try:
        with server.client(write) as page, server.client(secret) as till, server.client(clerk) as marketer:
            the_page_sends_a_word_for_a_price(page)
            letter = the_marketer_sees_it(marketer)
            her_first_correction_is_wrong_too(marketer, letter)
            she_puts_it_away_by_mistake_and_takes_that_back(marketer, letter)
            the_order_counts_once(marketer, till, letter)
            the_till_makes_the_same_mistake(till)
    finally:
        assert server.stop() == 0
    the_rest_is_done_from_the_command_line(shop)


def call(message: str, order: dict[str, Any], user: str = "анна") -> dict[str, Any]:
    return {"event": "Order Completed", "userId": user, "messageId": message, "properties": order}


def the_page_sends_a_word_for_a_price(page: httpx.Client) -> None:
    """The page hears that all is kept, and sends it again because it isn't sure."""
    for _ in range(2):
        assert page.post("/v1/track", json=call("page-15", ORDER)).json() == {"success": True}


def the_marketer_sees_it(marketer: httpx.Client) -> dict[str, Any]:
    """One letter, though it came twice; what is wrong is said, and the customer's words can be read."""
    (listed,) = marketer.get("/v1/dead-letters").json()["letters"]
    letter = marketer.get(f"/v1/dead-letters/{listed['id']}").json()
    assert (letter["event"], letter["code"], letter["where"]) == ("Order Completed", "plan.type", "properties.total")
    assert "дорого" in letter["cause"] and "Позвоните, пожалуйста" in letter["body"]
    assert letter["trusted"] is False
    return letter


def her_first_correction_is_wrong_too(marketer: httpx.Client, letter: dict[str, Any]) -> None:
    body = json.loads(letter["body"])
    body["properties"]["total"] = "450,00 р."
    refused = marketer.post(f"/v1/dead-letters/{letter['id']}/replay", json=body)
    assert (refused.status_code, refused.json()["field"]) == (400, "properties.total")
    assert "450,00 р." in refused.json()["detail"] and refused.json()["cure"]


def she_puts_it_away_by_mistake_and_takes_that_back(marketer: httpx.Client, letter: dict[str, Any]) -> None:
    path = f"/v1/dead-letters/{letter['id']}"
    assert marketer.delete(path).json()["status"] == "discarded"
    assert marketer.get("/v1/dead-letters").json()["letters"] == []
    assert marketer.post(f"{path}/restore").json()["status"] == "waiting"


def the_order_counts_once(marketer: httpx.Client, till: httpx.Client, letter: dict[str, Any]) -> None:
    """Replayed with its own id; neither a second replay nor the page's own repeat adds anything."""
    body = json.loads(letter["body"])
    body["properties"]["total"] = "450.00"
    path = f"/v1/dead-letters/{letter['id']}/replay"
    done = marketer.post(path, json=body)
    assert done.json() == {"id": letter["id"], "status": "replayed", "stored": True, "messageId": "page-15"}
    again = marketer.post(path, json=body)
    assert (again.status_code, again.json()["code"]) == (409, "letter.replayed")
    until = time.monotonic() + 10
    while (known := till.get("/v1/profiles/анна")).status_code != 200:
        assert time.monotonic() < until, known.text
        time.sleep(0.05)


def the_till_makes_the_same_mistake(till: httpx.Client) -> None:
    """One order is mended later; the other was only a trial."""
    trial = {"order_id": "проба", "total": "много", "currency": "RUB"}
    batch = [call("till-16", {**ORDER, "order_id": "Ч-16"}, "борис"), call("till-17", trial, "борис")]
    body = {"batch": [{"type": "track", **one} for one in batch]}
    assert till.post("/v1/batch", json=body).json() == {"success": True}


def the_rest_is_done_from_the_command_line(shop: Path) -> None:
    """The server is down for the night. The page's order counts as an order, and as money only the till's does."""
    here = ("-w", str(shop))
    before = vitrina(*here, "summary")
    assert (before["orders"], before["net_revenue"], before["dead_letters"]) == (1, "0.00", 2)
    letters = {letter["messageId"]: letter["id"] for letter in vitrina(*here, "dead-letters", "list")}
    assert set(letters) == {"till-16", "till-17"}

    order = str(letters["till-16"])
    shown = vitrina(*here, "dead-letters", "show", order)
    assert "после шести" in shown["body"] and "дорого" in run([*here, "dead-letters", "show", order]).stdout
    told = mistake(*here, "dead-letters", "replay", order)
    assert "properties.total" in told and "cure:" in told
    corrected = shop / "исправлено.json"
    corrected.write_text(shown["body"].replace("дорого", "700.50"), encoding="utf-8")
    assert vitrina(*here, "dead-letters", "replay", order, "--body", str(corrected))["stored"] is True
    assert "was replayed already" in mistake(*here, "dead-letters", "replay", order, "--body", str(corrected))

    trial = str(letters["till-17"])
    assert vitrina(*here, "dead-letters", "discard", trial)["status"] == "discarded"
    after = vitrina(*here, "summary")
    assert (after["orders"], after["net_revenue"], after["dead_letters"]) == (2, "700.50", 0)
    assert [v["count"] for v in vitrina(*here, "plan", "violations")] == [3]
