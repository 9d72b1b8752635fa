"""Erasure of a person: store, inbox, lake and logs are empty of them, and late events don't bring them back."""

from __future__ import annotations

import base64
import json
from collections.abc import Generator
from pathlib import Path

import pytest

import vitrina
from vitrina.core.access import Source
from vitrina.core.catalogue import Creative, CreativeStatus, Offer, Placement
from vitrina.core.decision import DecideRequest
from vitrina.core.errors import NotFoundError
from vitrina.core.money import Money
from vitrina.workspace import Workspace

SERVER = Source("server", "secret", trusted=True)
SECRETS = ["анна-3141", "anna.secret@shop.example", "anon-2718", "Аннушка"]
NEIGHBOUR = "борис-1618"


@pytest.fixture
def workspace(tmp_path: Path) -> Generator[Workspace]:
    opened = vitrina.init(tmp_path / "shop")
    opened.catalogue.put(Placement(id="home", holdout=0.0))
    opened.catalogue.put(Offer(id="tea", name="Чай", margin=Money(100, "EUR")))
    opened.catalogue.put(Creative(id="tea-web", offer_id="tea", status=CreativeStatus.APPROVED))
    yield opened
    opened.close()


def send(workspace: Workspace, *calls: dict[str, object]) -> None:
    workspace.receive(json.dumps({"batch": list(calls)}).encode(), "batch", SERVER).result()
    workspace.step()


def live(workspace: Workspace, user: str, anonymous: str, email: str, name: str) -> str:
    """A whole life in the shop; gives the decision's id."""
    consent = {"consent": {"categoryPreferences": {"personalisation": True}}}
    send(
        workspace,
        {"type": "track", "event": "Product Viewed", "anonymousId": anonymous, "messageId": f"{user}-1"},
        {"type": "identify", "userId": user, "anonymousId": anonymous, "messageId": f"{user}-2", "context": consent}
        | {"traits": {"email": email, "name": name}},
    )
    decision = workspace.decide(DecideRequest(placement="home", user_id=user, request_id=f"r-{user}"))
    sale = {
        "order_id": f"order-{user}",
        "value": 5,
        "currency": "EUR",
        "decisionId": decision.decision_id,
        "offerId": "tea",
    }
    send(
        workspace,
        {"type": "track", "event": "Order Completed", "userId": user, "messageId": f"{user}-3", "properties": sale},
        {
            "type": "track",
            "event": "Order Completed",
            "userId": user,
            "messageId": f"{user}-4",
            "properties": {"total": "x"},
        },
    )
    return decision.decision_id


def traces(root: Path, secret: str) -> list[str]:
    """Files that hold the secret: as bytes in three encodings, and in the decoded columns of Parquet files."""
    import pyarrow.parquet as pq

    forms = [secret.encode(), secret.encode("utf-16-le"), base64.b64encode(secret.encode())[:-2]]
    forms.append(json.dumps(secret)[1:-1].encode())
    found = []
    for path in root.rglob("*"):
        if not path.is_file():
            continue
        data = path.read_bytes()
        if path.suffix == ".parquet":
            data += str(pq.read_table(path, partitioning=None).to_pylist()).encode()
        if any(form in data for form in forms):
            found.append(str(path.relative_to(root)))
    return found


def test_nothing_is_left_and_nothing_comes_back(workspace: Workspace) -> None:
    decision = live(workspace, SECRETS[0], SECRETS[2], SECRETS[1], SECRETS[3])
    live(workspace, NEIGHBOUR, "anon-b", "boris@shop.example", "Борис")
    workspace.drain()
    live(workspace, SECRETS[0] + "", SECRETS[2], SECRETS[1], SECRETS[3])
    for secret in SECRETS:
        assert traces(workspace.root, secret), f"the scan must find {secret} before (positive control)"
    receipt = workspace.erase(SECRETS[0])
    assert receipt.done_at is not None
    assert receipt.counts["profile_leaf"] == 2
    assert receipt.counts["lake.events"] > 0
    assert receipt.counts["dead_letter"] > 0
    assert not any(secret in str(workspace.erasure(receipt.id)) for secret in SECRETS)
    for secret in SECRETS:
        assert traces(workspace.root, secret) == []
    with pytest.raises(NotFoundError):
        workspace.person(SECRETS[0])
    with pytest.raises(NotFoundError):
        workspace.explain(decision)
    assert traces(workspace.root, NEIGHBOUR), "the neighbour is untouched"
    assert workspace.person(NEIGHBOUR)["features"]["orders_all"] == 1
    late = {"type": "track", "event": "Product Viewed", "messageId": "late", "userId": SECRETS[0]}
    send(workspace, late, {**late, "messageId": "late-2", "userId": "someone"} | {"context": {"traits": {}}})
    with pytest.raises(NotFoundError):
        workspace.person(SECRETS[0])
    workspace.drain()
    assert traces(workspace.root, SECRETS[0]) == []


MAPPING = """
[source]
name = "till"
currency = "EUR"

[columns]
order_id = "invoice"
product_id = "article"
quantity = "pieces"
unit_price = "price"
revenue = "paid"
currency = "money"
occurred_at = "when"
user_id = "customer"
"""


def test_reports_of_refused_rows_hold_nothing_of_a_person(workspace: Workspace, tmp_path: Path) -> None:
    """Somebody's columns slipped: addresses stand where prices and times belong."""
    live(workspace, SECRETS[0], SECRETS[2], SECRETS[1], SECRETS[3])
    good = ["7", "tea", "1", "5", "5", "EUR", "2026-01-05T10:00:00", SECRETS[0]]
    slipped = [[*good[:place], secret, *good[place + 1 :]] for place in range(2, 7) for secret in SECRETS]
    slipped += [[good[0], *SECRETS], [*good[:6], SECRETS[1] + " 2026", good[7]]]
    rows = [["invoice", "article", "pieces", "price", "paid", "money", "when", "customer"], good, *slipped]
    (tmp_path / "till.csv").write_text("\n".join([",".join(row) for row in rows]), encoding="utf-8")
    (tmp_path / "till.toml").write_text(MAPPING, encoding="utf-8")
    report = workspace.import_file(tmp_path / "till.csv", tmp_path / "till.toml")
    assert (report.stored, report.refused) == (1, len(slipped))
    kept = "imports/till.refused.ndjson"
    assert kept in traces(workspace.root, '"row":2'), "the scan reads the report (positive control)"
    assert {bad.field for bad in report.refusals} == {
        "",
        "quantity",
        "unit_price",
        "revenue",
        "currency",
        "occurred_at",
    }
    for secret in SECRETS:
        found = traces(workspace.root, secret)
        assert found, f"the scan must find {secret} before (positive control)"
        assert kept not in found
        assert any(secret in bad.reason for bad in report.refusals), "whoever imports is told what stood there"
    workspace.erase(SECRETS[0])
    for secret in SECRETS:
        assert traces(workspace.root, secret) == []
    assert (workspace.root / kept).exists()


def test_tombstones_outlive_a_restart(workspace: Workspace) -> None:
    live(workspace, SECRETS[0], SECRETS[2], SECRETS[1], SECRETS[3])
    workspace.erase(SECRETS[0])
    root = workspace.root
    workspace.close()
    with vitrina.open(root) as again:
        send(again, {"type": "track", "event": "Product Viewed", "messageId": "late", "anonymousId": SECRETS[2]})
        assert again.summary().events == 0


def test_export_holds_every_table_about_a_person(workspace: Workspace) -> None:
    live(workspace, SECRETS[0], SECRETS[2], SECRETS[1], SECRETS[3])
    live(workspace, NEIGHBOUR, "anon-b", "boris@shop.example", "Борис")
    workspace.drain()
    given = workspace.export(SECRETS[0])
    assert {"profile_leaf", "consent_record", "decisions_journal", "outcome", "dead_letter"} <= set(given["store"])
    assert {row["subject"] for row in given["lake"]["events"]} == {"u:" + SECRETS[0], "a:" + SECRETS[2]}
    assert NEIGHBOUR not in str(given)
