"""What a shop sends, and what was answered: events, decisions, clicks, orders, and changes of the catalogue.

Whatever got no answer, or a 429 or 503, is sent again later as it was, as a client would. All times are stated, so that
the same calls fold to the same state whenever they arrive.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

import vitrina
from tests.loop.served import Served
from vitrina.core import config

__all__ = ["MONTH_AGO", "PEOPLE", "Call", "Load", "make_call", "open_shop", "outcomes_of"]

Call = dict[str, Any]
Ask = Callable[[httpx.Client], None]

PEOPLE = 30
SENDERS = 2
MONTH_AGO = int(time.time()) - 30 * 86_400
_LATER = (429, 503)


class Load:
    """Clients that send until they are stopped, and remember what was answered and what was not.

    Attributes:
        acked: events that were answered with 200, by message id.
        served: request id → decision id of every decision that was answered.
        credited: decisions whose click was answered with 200.
        offer: the last body of the offer `p1` that was answered with 200, and those that were not answered since.
        refused: answers that asked to come again; `refusal` is the last one.
        wrong: answers that must not be, in words.
    """

    def __init__(self, seed: int, key: str, *, edits: bool = False) -> None:
        self.acked: dict[str, Call] = {}
        self.served: dict[str, str] = {}
        self.credited: set[str] = set()
        self.offer: list[str] = ["cups"]
        self.refused = 0
        self.refusal = ""
        self.wrong: list[str] = []
        self._key = key
        self._edits = edits
        self._chance = [random.Random(seed * 100 + n) for n in range(SENDERS + 2)]
        self._sent = [0] * (SENDERS + 2)
        self._open: list[Ask] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, server: Served) -> None:
        """First what got no answer the last time, then new things."""
        self.send_open(server)
        self._stopped.clear()
        works = [lambda n=n: self._send(server, n) for n in range(SENDERS)]
        works += [lambda: self._decide(server)] + ([lambda: self._edit(server)] if self._edits else [])
        self._threads = [threading.Thread(target=work) for work in works]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send no more, and wait for the answers that are on their way."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client waits for an answer that doesn't come"

    def send_open(self, server: Served) -> None:
        """Send again what got no answer."""
        waiting, self._open = self._open, []
        with server.client(self._key) as client:
            for again in waiting:
                self._try(client, again)

    @property
    def open(self) -> int:
        """Requests that have no answer yet."""
        return len(self._open)

    def once(self, server: Served) -> int:
        """One more batch, of a size that no reserve of the disk takes; its status."""
        self._sent[0] += 1
        calls = [make_call(f"once-{self._sent[0]}-{k}", self._chance[0]) for k in range(200)]
        self.refusal = ""
        with server.client(self._key) as client:
            self._try(client, self._batch(calls))
        return int(json.loads(self.refusal)["status"]) if self.refusal else 200

    def _send(self, server: Served, sender: int) -> None:
        chance = self._chance[sender]
        with server.client(self._key) as client:
            while not self._stopped.is_set():
                self._sent[sender] += 1
                name = f"{sender}-{self._sent[sender]}"
                self._try(client, self._batch([make_call(f"{name}-{k}", chance) for k in range(25)]))

    def _decide(self, server: Served) -> None:
        chance = self._chance[SENDERS]
        with server.client(self._key) as client:
            while not self._stopped.is_set():
                self._sent[SENDERS] += 1
                request, user = f"r-{self._sent[SENDERS]}", f"u{chance.randrange(PEOPLE)}"
                self._try(client, self._decision(request, user))
                if request in self.served:
                    self._try(client, self._outcomes(self.served[request], user, order=chance.random() < 0.3))

    def _edit(self, server: Served) -> None:
        with server.client(self._key) as client:
            while not self._stopped.wait(0.03):
                self._sent[-1] += 1
                self._put(client, f"Чашка {self._sent[-1]}")

    def _put(self, client: httpx.Client, name: str) -> None:
        self.offer.append(name)
        try:
            answer = client.put("/v1/offers/p1", json=cups(name))
        except httpx.TransportError:
            self._stopped.set()
            return
        if answer.status_code == 200:
            self.offer = [name]
        elif answer.status_code in _LATER:
            self.refused += 1
            if client.get("/v1/offers/p1").json().get("name") == name:
                self.wrong.append(f"{name} was refused and is there")
            self.offer.remove(name)
        else:
            self.wrong.append(f"PUT {answer.status_code}: {answer.text[:200]}")

    def _try(self, client: httpx.Client, ask: Ask) -> None:
        try:
            ask(client)
        except httpx.TransportError:
            self._put_off(ask)
            self._stopped.set()
        except _Later:
            self._put_off(ask)
            self._stopped.wait(0.05)

    def _put_off(self, ask: Ask) -> None:
        with self._lock:
            self._open.append(ask)

    def _ok(self, answer: httpx.Response) -> httpx.Response:
        if answer.status_code in _LATER:
            with self._lock:
                self.refused += 1
                self.refusal = answer.text
            raise _Later
        if answer.status_code != 200:
            self.wrong.append(f"{answer.request.url.path} {answer.status_code}: {answer.text[:300]}")
            raise _Later
        return answer

    def _batch(self, calls: list[Call]) -> Ask:
        def ask(client: httpx.Client) -> None:
            self._ok(client.post("/v1/batch", json={"batch": calls}))
            self.acked.update((call["messageId"], call) for call in calls)

        return ask

    def _decision(self, request: str, user: str) -> Ask:
        def ask(client: httpx.Client) -> None:
            asked = {"placement": "home", "userId": user, "requestId": request}
            self.served[request] = self._ok(client.post("/v1/decide", json=asked)).json()["decisionId"]

        return ask

    def _outcomes(self, decision: str, user: str, *, order: bool) -> Ask:
        calls = outcomes_of(decision, user, time.time(), order=order)

        def ask(client: httpx.Client) -> None:
            self._batch(calls)(client)
            self.credited.add(decision)

        return ask


class _Later(Exception):
    """An answer that asked to come again."""


def outcomes_of(decision: str, user: str, at: float, *, order: bool) -> list[Call]:
    """A click on what a decision showed, and an order perhaps."""
    named = {"decisionId": decision, "offerId": "tea"}
    base: Call = {"type": "track", "userId": user, "timestamp": iso(at)}
    calls = [{**base, "event": "Promotion Clicked", "messageId": f"c-{decision}", "properties": named}]
    if order:
        sale = {**named, "order_id": f"o-{decision}", "value": 3, "total": 9, "currency": "EUR"}
        calls.append({**base, "event": "Order Completed", "messageId": f"o-{decision}", "properties": sale})
    return calls


def iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e6):06}Z"


def make_call(name: str, chance: random.Random, since: int = MONTH_AGO) -> Call:
    """Something that one of the people does, at a time of its own, so that the order of arrival can't matter."""
    number = chance.randrange(PEOPLE)
    when = since + chance.randrange(20 * 86_400)
    call: Call = {"messageId": name, "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))}
    kind = chance.random()
    if kind < 0.1:
        consent = {"consent": {"categoryPreferences": {"personalisation": chance.random() < 0.7}}}
        traits = {"city": chance.choice(["Казань", "Riga", "Köln"]), "number": chance.randrange(100)}
        both = {"userId": f"u{number}", "anonymousId": f"a{number}"}
        return {**call, **both, "type": "identify", "traits": traits, "context": consent}
    who = {"userId": f"u{number}"} if kind < 0.6 else {"anonymousId": f"a{number}"}
    if kind < 0.2:
        order = {"order_id": name, "total": chance.randrange(10, 90), "products": [{"product_id": "p1", "quantity": 1}]}
        return {**call, **who, "type": "track", "event": "Order Completed", "properties": order}
    viewed = {"product_id": f"p{chance.randrange(9)}", "category": chance.choice(["tea", "cups"])}
    return {**call, **who, "type": "track", "event": "Product Viewed", "properties": viewed}


def cups(name: str) -> dict[str, Any]:
    """An offer with counted stock that no placement of the load shows."""
    return {"name": name, "stock": 10_000_000, "placements": ["cellar"]}


def open_shop(folder: Path, store_url: str = "") -> str:
    """A placement that shows one offer to everybody, and an offer with counted stock; gives a secret key."""
    vitrina.init(folder).close()
    settings = folder / "vitrina.toml"
    text = settings.read_text(encoding="utf-8").replace(
        "# bot_clicks_per_minute = 20", "bot_clicks_per_minute = 1000000"
    )
    if store_url:
        text = config.stated(text, "storage", "url", store_url)
        for file in folder.glob("store.db*"):
            file.unlink()
    settings.write_text(text, encoding="utf-8")
    with vitrina.open(folder) as workspace:
        workspace.put_body("placement", "home", json.dumps({"channel": "", "holdout": 0}).encode(), "test")
        workspace.put_body("placement", "cellar", json.dumps({"channel": "", "holdout": 0}).encode(), "test")
        workspace.put_body("offer", "tea", json.dumps({"name": "Чай", "placements": ["home"]}).encode(), "test")
        workspace.put_body("offer", "p1", json.dumps(cups("cups")).encode(), "test")
        return workspace.keys.create("secret")
