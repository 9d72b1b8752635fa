"""A store that fails for a moment: nothing of what was acknowledged is lost, nothing that was not answered counts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

import vitrina
from tests.loop.load import open_shop, outcomes_of
from tests.loop.state import SERVER, column
from tests.postgres import Server
from vitrina.collect.tables import deferred_event
from vitrina.core.clock import DAY, SimulatedClock
from vitrina.core.decision import DecideRequest
from vitrina.core.errors import MachineError
from vitrina.core.event import Event
from vitrina.decide.tables import stock_move
from vitrina.workspace import Workspace

ASKED = DecideRequest(placement="home", user_id="анна", request_id="r1")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    open_shop(tmp_path / "лавка")
    with vitrina.open(tmp_path / "лавка", threaded=False) as opened:
        opened.claim()
        yield opened


def send(workspace: Workspace, *calls: dict[str, Any]) -> None:
    workspace.receive(json.dumps({"batch": calls}).encode(), "batch", SERVER).result()


def fail_once(workspace: Workspace) -> None:
    """The next write fails as on a disk that can't be written; the connection after it can write again."""
    workspace.store.write(lambda c: c.exec_driver_sql("pragma query_only = on"))


@pytest.mark.sqlite
def test_an_outcome_whose_write_failed_is_written_with_the_next_save(workspace: Workspace) -> None:
    decision = workspace.decide(ASKED).decision_id
    send(workspace, *outcomes_of(decision, "анна", time.time(), order=True))
    fail_once(workspace)
    workspace.step()
    assert sorted(column(workspace, "outcomes", "kind")) == ["click", "conversion"]
    assert len(workspace.outcomes.of_decision(decision)) == 2


@pytest.mark.sqlite
def test_a_sale_of_counted_stock_whose_write_failed_is_written_with_the_next_save(workspace: Workspace) -> None:
    left = workspace.stock.left("p1")
    lines = {"order_id": "o1", "total": 9, "products": [{"product_id": "p1", "quantity": 2}]}
    send(
        workspace,
        {"type": "track", "event": "Order Completed", "userId": "анна", "messageId": "1", "properties": lines},
    )
    fail_once(workspace)
    workspace.step()
    with workspace.store.read() as connection:
        assert connection.execute(select(func.sum(stock_move.c.units))).scalar() == 2
    assert left is not None and workspace.stock.left("p1") == left - 2


@pytest.mark.sqlite
def test_a_decision_that_could_not_be_logged_counts_against_no_cap(workspace: Workspace) -> None:
    send(workspace, {"type": "identify", "userId": "анна", "messageId": "1", "traits": {}})
    workspace.step()
    other = workspace.decide(DecideRequest(placement="home", user_id="борис")).decision_id
    fail_once(workspace)
    with pytest.raises(MachineError):
        workspace.decide(ASKED)
    profile = workspace.profiles.find("анна", None)
    assert profile is not None and profile.decided_at is None
    answer = workspace.decide(ASKED)
    assert workspace.decide(ASKED).decision_id == answer.decision_id
    profile = workspace.profiles.find("анна", None)
    assert profile is not None and profile.decided_at is not None
    assert sorted(column(workspace, "decisions", "id")) == sorted([other, answer.decision_id])


@pytest.mark.sqlite
def test_a_database_that_goes_while_an_event_is_folded_costs_nothing(postgresql: Server, tmp_path: Path) -> None:
    """The click asks the store for its decision, the order for its day: both are folded when the store is back."""
    clock = SimulatedClock(time.time_ns() // 1000)
    open_shop(tmp_path / "лавка", postgresql.url() + "?schema=shop")
    with vitrina.open(tmp_path / "лавка", threaded=False) as before:
        decision = before.decide(ASKED).decision_id
    with vitrina.open(tmp_path / "лавка", threaded=False, clock=clock) as workspace:
        workspace.claim()
        now = clock.now()
        base = {"type": "track", "received_at": now, "occurred_at": now, "trusted": True}
        tomorrow = Event(message_id="2", name="Product Viewed", user_id="вера", available_at=now + DAY, **base)
        workspace.receive_events([tomorrow])
        workspace.step()
        clock.advance(2 * DAY)
        click = {"decision_id": decision, "offer_id": "tea", "user_id": "анна"}
        workspace.receive_events([Event(message_id="1", name="Promotion Clicked", available_at=now, **base, **click)])
        postgresql.stop()
        for _ in range(2):
            with pytest.raises(MachineError):
                workspace.step()
        postgresql.start()
        workspace.step()
        assert column(workspace, "outcomes", "decision_id") == [decision]
        assert workspace.person("вера")["identifiers"] == ["u:вера"]
        with workspace.store.read() as connection:
            assert connection.execute(select(func.count()).select_from(deferred_event)).scalar() == 0
