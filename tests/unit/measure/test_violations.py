"""The modes of the tracking plan, from the wire to the figures: what counts, what is set aside, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import vitrina
from vitrina.core.access import Source
from vitrina.core.errors import UserError

SERVER = Source("касса", "secret", True)
PLAN = """
[[event]]
name = "Order Completed"
mode = "quarantine"
required = ["order_id"]
[event.properties]
order_id = "id"
total = "amount"
currency = "text"
channel = "text"

[[event]]
name = "Product Viewed"
mode = "observe"
[event.properties]
product_id = "id"
shelf = "integer"
"""


def shop(folder: Path, plan: str = PLAN, mode: str = "") -> vitrina.Workspace:
    if not (folder / "vitrina.toml").exists():
        vitrina.init(folder, currency="EUR").close()
    (folder / "plan.toml").write_text(plan, encoding="utf-8")
    stated = '[collect]\nplan = "plan.toml"\n' + (f'plan_mode = "{mode}"\n' if mode else "")
    (folder / "vitrina.toml").write_text(stated, encoding="utf-8")
    return vitrina.open(folder)


def send(workspace: vitrina.Workspace, number: int, event: str, properties: dict[str, Any], user: str = "анна") -> None:
    call = {"event": event, "userId": user, "messageId": f"m{number}", "properties": properties}
    workspace.receive(json.dumps(call).encode(), "track", SERVER).result()


def fill(workspace: vitrina.Workspace) -> None:
    """A good order, one set aside, two broken views that count, and a broken event of the built-in plan."""
    workspace.claim()
    order = {"total": "10.00", "currency": "EUR", "products": [{"product_id": "улун", "price": 10, "quantity": 1}]}
    send(workspace, 1, "Order Completed", {"order_id": "1", **order})
    send(workspace, 2, "Order Completed", {"order_id": "2", **order, "channel": 7})
    send(workspace, 3, "Product Viewed", {"product_id": "улун", "shelf": "верхняя"})
    send(workspace, 4, "Product Viewed", {"product_id": "пуэр", "shelf": "нижняя"})
    send(workspace, 5, "Cart Viewed", {"products": [{"product_id": "улун"}, {"quantity": "много"}]})
    workspace.step()


def test_what_is_set_aside_counts_nowhere_and_is_shown(tmp_path: Path) -> None:
    with shop(tmp_path / "ws") as workspace:
        fill(workspace)
        for _ in range(2):  # from the journal, then from the lake
            summary = workspace.summary()
            assert (summary.events, summary.quarantined, summary.violations, summary.dead_letters) == (4, 1, 3, 1)
            assert (summary.orders, summary.net_revenue, summary.products) == (1, "10.00", 2)
            found = [(v.event, v.code, v.where, v.mode, v.count) for v in workspace.violations()]
            assert found == [
                ("Product Viewed", "plan.type", "properties.shelf", "observe", 2),
                ("Cart Viewed", "plan.type", "properties.products[].quantity", "block", 1),
                ("Order Completed", "plan.type", "properties.channel", "quarantine", 1),
            ]
            workspace.drain()
        features = workspace.person("анна")["features"]
        assert (features["orders_90d"], features["views_7d"]) == (1, 2)


def test_online_and_batch_features_agree_about_what_is_set_aside(tmp_path: Path) -> None:
    from vitrina.understand.features.batch import batch

    with shop(tmp_path / "ws") as workspace:
        fill(workspace)
        now = workspace.clock.now() + 1
        workspace.drain()
        rows = batch(workspace.features, workspace.engine.table("events"), now).to_pyarrow().to_pylist()
        (row,) = [row for row in rows if row["profile_id"] == "u:анна"]
        profile = workspace.profiles.find("анна", None)
        assert profile is not None
        online = workspace.person("анна")["features"]
        assert {name: row[name] for name in ("orders_90d", "views_7d")} == {
            name: online[name] for name in ("orders_90d", "views_7d")
        }


def test_a_set_aside_order_is_no_outcome_and_takes_no_stock(tmp_path: Path) -> None:
    with shop(tmp_path / "ws") as workspace:
        workspace.claim()
        workspace.put_body("placement", "home", b'{"name": "Home", "holdout": 0}')
        offer = {"name": "Tea", "stock": 5, "margin": {"amount": 2, "currency": "EUR"}}
        workspace.put_body("offer", "tea", json.dumps(offer).encode())
        creative = {"offerId": "tea", "status": "approved", "content": {}}
        workspace.put_body("creative", "tea-web", json.dumps(creative).encode())
        from vitrina.core.decision import DecideRequest

        answer = workspace.decide(DecideRequest(placement="home", user_id="анна"))
        order = {"total": 10, "currency": "EUR", "decisionId": answer.decision_id, "offerId": "tea"}
        send(workspace, 1, "Order Completed", {"order_id": "1", **order, "channel": 7})
        workspace.step()
        assert workspace.outcomes.of_decision(answer.decision_id) == () and workspace.stock.left("tea") == 5
        send(workspace, 2, "Order Completed", {"order_id": "2", **order})
        workspace.step()
        assert len(workspace.outcomes.of_decision(answer.decision_id)) == 1 and workspace.stock.left("tea") == 4


def test_a_withdrawal_counts_though_its_event_is_set_aside(tmp_path: Path) -> None:
    with shop(tmp_path / "ws") as workspace:
        workspace.claim()
        for number, granted in enumerate((True, False)):
            context = {"consent": {"categoryPreferences": {"personalisation": granted}}}
            call = {"event": "Order Completed", "userId": "анна", "messageId": f"c{number}", "context": context}
            workspace.receive(json.dumps(call).encode(), "track", SERVER).result()
        workspace.step()
        assert [record["granted"] for record in workspace.person("анна")["consents"]] == [True, False]
        assert workspace.summary().quarantined == 2


def test_the_setting_is_the_mode_of_events_that_say_none(tmp_path: Path) -> None:
    with shop(tmp_path / "ws", "", "quarantine") as workspace:
        workspace.claim()
        send(workspace, 1, "Product Added", {"product_id": "улун", "quantity": "две"})
        assert (workspace.summary().quarantined, workspace.dead_letters()) == (1, 0)


def test_a_plan_that_is_not_there_is_told_when_the_workspace_is_opened(tmp_path: Path) -> None:
    folder = tmp_path / "ws"
    vitrina.init(folder).close()
    (folder / "vitrina.toml").write_text('[collect]\nplan = "план.toml"\n', encoding="utf-8")
    with pytest.raises(UserError, match="tracking plan can't be read") as caught:
        vitrina.open(folder)
    assert caught.value.where.endswith("план.toml") and "collect.plan_mode" in caught.value.cure


def test_a_lake_from_before_the_plan_s_marks_is_read(tmp_path: Path) -> None:
    """Files written without the column, and nothing in the journal: every figure is still there."""
    import msgspec
    import pyarrow as pa

    from vitrina.collect.lake_events import EVENT_SCHEMA, to_arrow

    with shop(tmp_path / "ws") as workspace:
        workspace.claim()
        send(workspace, 1, "Product Viewed", {"product_id": "улун"})
        workspace.profiles.settle()
        older = pa.schema([field for field in EVENT_SCHEMA if field.name != "violation"])
        events = msgspec.structs.replace(
            workspace._streams[0], schema=older, to_arrow=lambda rows: to_arrow(rows).select(older.names)
        )
        workspace.lake.drain(events)
    with vitrina.open(tmp_path / "ws") as workspace:
        workspace.claim()
        assert (workspace.summary().events, workspace.summary().violations) == (1, 0)
        assert workspace.violations() == []
        send(workspace, 3, "Product Viewed", {"product_id": "улун", "shelf": "верхняя"})
        workspace.drain()
        assert (workspace.summary().events, workspace.summary().violations) == (2, 1)


def test_a_history_is_replayed_beside_a_plan_of_one_s_own(tmp_path: Path) -> None:
    """The workspace that is made for it has no plan file, and needs none."""
    from datetime import UTC, datetime

    with shop(tmp_path / "ws") as workspace, pytest.raises(UserError, match="order"):
        workspace.replay(since=datetime(2026, 1, 1, tzinfo=UTC))
