"""A message that comes again after the journal has forgotten its id: the lake remembers it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import vitrina
from vitrina.core.access import Source
from vitrina.core.clock import DAY, SimulatedClock, from_datetime

SERVER = Source("server", "secret", trusted=True)
PAGE = Source("page", "write", trusted=False)
START = datetime(2026, 5, 20, 12, tzinfo=UTC)


def send(workspace: vitrina.Workspace, message_id: str, at: datetime) -> None:
    call = {
        "type": "track",
        "event": "Product Viewed",
        "userId": "анна",
        "messageId": message_id,
        "timestamp": at.isoformat(),
    }
    workspace.receive(json.dumps({"batch": [call]}).encode(), "batch", SERVER).result()
    workspace.step()
    workspace.drain()


def test_an_old_message_counts_once_and_a_new_old_one_counts(tmp_path: Path) -> None:
    clock = SimulatedClock(from_datetime(START))
    vitrina.init(tmp_path / "shop").close()
    with vitrina.open(tmp_path / "shop", clock=clock, threaded=False) as workspace:
        send(workspace, "first", START)
        for _ in range(12):
            clock.advance(DAY)
            send(workspace, f"day-{clock.now()}", START + timedelta(days=99))
        workspace.keep_to_retention()
        before = workspace.summary().events
        state = workspace.person("анна")["features"]
        send(workspace, "first", START)
        assert workspace.summary().events == before
        assert workspace.person("анна")["features"] == state
        send(workspace, "forgotten on a phone", START)
        assert workspace.summary().events == before + 1


def order(message_id: str, at: datetime) -> bytes:
    properties = {"order_id": "o-1", "value": 5, "currency": "EUR"}
    call = {"type": "track", "event": "Order Completed", "userId": "анна", "messageId": message_id}
    return json.dumps({"batch": [{**call, "timestamp": at.isoformat(), "properties": properties}]}).encode()


def test_a_made_up_message_does_not_stand_in_the_way_of_an_order_that_comes_late(tmp_path: Path) -> None:
    """A page takes the order's message id; the server, cut off for days, sends the order, and then sends it again."""
    clock = SimulatedClock(from_datetime(START))
    vitrina.init(tmp_path / "shop").close()
    with vitrina.open(tmp_path / "shop", clock=clock, threaded=False) as workspace:
        told: list[list[tuple[bool, int]]] = []
        for source in (PAGE, SERVER, SERVER, PAGE):
            workspace.receive(order("order-1", START), "batch", source).result()
            workspace.step()
            workspace.drain()
            events = workspace.engine.table("events").to_pyarrow().to_pylist()
            lines = [line for line in events if line["name"] == "Order Completed"]
            told.append(sorted([(line["trusted"], line["value"]) for line in lines]))
            for _ in range(12):
                clock.advance(DAY)
                send(workspace, f"day-{clock.now()}", START + timedelta(days=99))
            workspace.keep_to_retention()
        assert told == [[(False, 500)], *[[(False, 500), (True, 500)]] * 3]
        assert workspace.person("анна")["features"]["orders_all"] == 1
