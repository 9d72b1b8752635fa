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
