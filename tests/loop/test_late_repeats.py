"""A message that comes again after the journal has forgotten its id: the lake remembers it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import vitrina
from vitrina.core.access import Source
from vitrina.core.clock import DAY, SimulatedClock, from_datetime

SERVER = Source("server", "secret", trusted=True)
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
