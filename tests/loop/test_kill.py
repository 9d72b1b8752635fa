"""kill -9 of the server at random points under load: what was acknowledged is there, and there once.

The load is what a shop sends: batches of events that sign people in, state traits and consents; decisions with request
ids; clicks that quote them. The lake is drained several times a second, so that kills meet drains and compactions too.
Whatever got no answer is sent again after the restart, as a client would.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

import vitrina
from tests.loop.served import Served
from vitrina.collect.leaf import Leaf, decode_leaf
from vitrina.collect.tables import identity_edge, profile_leaf
from vitrina.core.access import Source
from vitrina.core.clock import DAY, from_datetime
from vitrina.workspace import Workspace

Call = dict[str, Any]

BUSY = {
    "VITRINA_STORAGE_DRAIN_SECONDS": "0.3",
    "VITRINA_STORAGE_DRAIN_ROWS": "300",
    "VITRINA_STORAGE_COMPACT_FILES": "3",
}
PEOPLE = 30
SENDERS = 2
MONTH_AGO = int(time.time()) - 30 * 86_400


class Load:
    """Clients that send until the server is gone, and remember what was answered and what was not.

    Attributes:
        acked: events that were answered with 200, by message id.
        served: request id → decision id of every decision that was answered.
        clicked: decisions whose click was answered with 200.
    """

    def __init__(self, seed: int, key: str) -> None:
        self.acked: dict[str, Call] = {}
        self.served: dict[str, str] = {}
        self.clicked: set[str] = set()
        self._key = key
        self._chance = [random.Random(seed * 100 + n) for n in range(SENDERS + 1)]
        self._sent = [0] * (SENDERS + 1)
        self._open: list[Callable[[httpx.Client], None]] = []
        self._stopped = threading.Event()

    def run(self, server: Served, seconds: float) -> None:
        """First what got no answer the last time, then new things; kill the server after `seconds`."""
        waiting, self._open = self._open, []
        with server.client(self._key) as client:
            for again in waiting:
                again(client)
        self._stopped.clear()
        threads = [threading.Thread(target=self._send, args=(server, n)) for n in range(SENDERS)]
        threads.append(threading.Thread(target=self._decide, args=(server,)))
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        server.kill()
        self._stopped.set()
        for thread in threads:
            thread.join(30)

    def finish(self, server: Served) -> None:
        """Send what is still open."""
        waiting, self._open = self._open, []
        with server.client(self._key) as client:
            for again in waiting:
                again(client)
        assert self._open == []

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
                request = f"r-{self._sent[SENDERS]}"
                self._try(client, self._decision(request, f"u{chance.randrange(PEOPLE)}"))
                if request in self.served:
                    self._try(client, self._click(self.served[request]))

    def _try(self, client: httpx.Client, ask: Callable[[httpx.Client], None]) -> None:
        try:
            ask(client)
        except httpx.TransportError:
            self._open.append(ask)
            self._stopped.set()

    def _batch(self, calls: list[Call]) -> Callable[[httpx.Client], None]:
        def ask(client: httpx.Client) -> None:
            answer = client.post("/v1/batch", json={"batch": calls})
            assert answer.status_code == 200, answer.text
            self.acked.update((call["messageId"], call) for call in calls)

        return ask

    def _decision(self, request: str, user: str) -> Callable[[httpx.Client], None]:
        def ask(client: httpx.Client) -> None:
            answer = client.post("/v1/decide", json={"placement": "home", "userId": user, "requestId": request})
            assert answer.status_code == 200, answer.text
            self.served[request] = answer.json()["decisionId"]

        return ask

    def _click(self, decision: str) -> Callable[[httpx.Client], None]:
        named = {"decisionId": decision, "offerId": "tea"}
        call: Call = {"type": "track", "event": "Promotion Clicked", "userId": "clicks", "messageId": f"c-{decision}"}

        def ask(client: httpx.Client) -> None:
            self._batch([{**call, "properties": named}])(client)
            self.clicked.add(decision)

        return ask


def make_call(name: str, chance: random.Random) -> Call:
    """Something that one of the people does, at a time of its own, so that the order of arrival can't matter."""
    number = chance.randrange(PEOPLE)
    when = MONTH_AGO + chance.randrange(20 * 86_400)
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


@pytest.mark.parametrize(("points", "seed"), [(2, 1), pytest.param(10, 2, marks=pytest.mark.long)])
def test_nothing_that_was_answered_is_lost_or_there_twice(tmp_path: Path, points: int, seed: int) -> None:
    folder, chance = tmp_path / "shop", random.Random(seed)
    load = Load(seed, open_shop(folder))
    for _ in range(points):
        load.run(Served(folder, BUSY), chance.uniform(0.2, 1.5))
    server = Served(folder, BUSY)
    load.finish(server)
    with server.client() as anybody:
        assert anybody.get("/readyz").json() == {"ready": True, "problems": []}
    assert server.stop() == 0
    assert len(load.acked) > 50 * points and len(load.served) > points
    with vitrina.open(folder) as workspace:
        workspace.claim()
        check_rows(workspace, load)
        workspace.drain()
        check_rows(workspace, load)
        check_profiles(workspace, load, tmp_path / "clean")


def open_shop(folder: Path) -> str:
    """A placement that shows one offer to everybody; gives a secret key."""
    with vitrina.init(folder) as workspace:
        workspace.put_body("offer", "tea", json.dumps({"name": "Чай"}).encode(), "test")
        workspace.put_body("placement", "home", json.dumps({"channel": "", "holdout": 0}).encode(), "test")
        return workspace.keys.create("secret")


def check_rows(workspace: Workspace, load: Load) -> None:
    """Store and lake together hold each event, decision and outcome once."""
    events, decisions = column(workspace, "events", "message_id"), column(workspace, "decisions", "id")
    assert twice(events) == [] and set(events) == set(load.acked)
    assert twice(decisions) == [] and set(decisions) == set(load.served.values())
    outcomes = column(workspace, "outcomes", "decision_id")
    assert twice(outcomes) == [] and set(outcomes) == load.clicked
    assert all(len(workspace.outcomes.of_decision(decision)) == 1 for decision in sorted(load.clicked)[:50])


def column(workspace: Workspace, table: str, name: str) -> list[str]:
    return workspace.engine.table(table).select(name).to_pyarrow()[name].to_pylist()


def twice(names: list[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


def check_profiles(workspace: Workspace, load: Load, folder: Path) -> None:
    """What is stored of everybody equals what comes out when the same events are folded at once, in another order."""
    calls = sorted(load.acked.values(), key=lambda call: call["messageId"])
    with vitrina.init(folder) as clean:
        for begin in range(0, len(calls), 500):
            body = json.dumps({"batch": calls[begin : begin + 500]}).encode()
            clean.receive(body, "batch", Source("server", "secret", trusted=True)).result()
        clean.step()
        assert links_of(workspace) == links_of(clean)
        stored, expected = leaves_of(workspace), leaves_of(clean)
        assert set(stored) == set(expected)
        now = workspace.clock.now() // DAY * DAY
        for key, one in expected.items():
            assert stored[key].traits == one.traits
            assert stored[key].consents == one.consents
            assert workspace.features.values(stored[key].features, now) == clean.features.values(one.features, now)
    check_decided(workspace, stored)


def check_decided(workspace: Workspace, stored: dict[str, Leaf]) -> None:
    """Every decision of the log was noted on its person: the first for the holdout, all of them for caps."""
    rows = workspace.engine.table("decisions").select("subject", "occurred_at").to_pyarrow().to_pylist()
    times: dict[str, list[int]] = {}
    for row in rows:
        times.setdefault(row["subject"], []).append(from_datetime(row["occurred_at"]))
    for subject, made in times.items():
        assert stored[subject].decided_at == min(made)
        assert stored[subject].shown == {"tea": sorted(made)[-100:]}


def leaves_of(workspace: Workspace) -> dict[str, Leaf]:
    with workspace.store.read() as connection:
        return {row.subject: decode_leaf(row.state) for row in connection.execute(select(profile_leaf)) if row.subject}


def links_of(workspace: Workspace) -> set[tuple[str, str, str]]:
    table = identity_edge
    with workspace.store.read() as connection:
        return {tuple(row) for row in connection.execute(select(table.c.low, table.c.high, table.c.status))}  # pyright: ignore[reportReturnType]
