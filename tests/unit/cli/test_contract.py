"""The part of the command line that scripts outside the project rely on: names, fields of `--json`, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import vitrina
from vitrina.cli import run
from vitrina.core.access import Source
from vitrina.core.consent import Purpose

PEOPLE = ("анна", "борис")
SERVER = Source(name="server", kind="secret", trusted=True)
MAPPING = """
source = { name = "till", currency = "EUR" }
[columns]
order_id = "order"
product_id = "product"
quantity = "quantity"
unit_price = "price"
occurred_at = "at"
"""
ORDERS = (
    "order,product,quantity,price,at\n7,oolong,1,4.50,2025-03-01T10:00:00Z\n8,oolong,1,gratis,2025-03-01T10:00:00Z\n"
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with a placement, two offers and two people, one of whom permits personalisation."""
    folder = tmp_path_factory.mktemp("contract") / "shop"
    with vitrina.init(folder) as workspace:
        workspace.put_body("placement", "home", b'{"name": "Home", "holdout": 0.0}')
        for tea in ("oolong", "puerh"):
            offer = {"name": tea, "price": {"amount": "4.50", "currency": "EUR"},
                     "margin": {"amount": "2.00", "currency": "EUR"}}  # fmt: skip
            creative = {"offerId": tea, "channel": "web", "locale": "en", "content": {"title": tea},
                        "status": "approved"}  # fmt: skip
            workspace.put_body("offer", tea, json.dumps(offer).encode())
            workspace.put_body("creative", f"{tea}-en", json.dumps(creative).encode())
        calls = [{"type": "identify", "userId": name, "messageId": f"m-{name}", "traits": {}} for name in PEOPLE]
        workspace.receive(json.dumps({"batch": calls}).encode(), "batch", SERVER).result()
        workspace.put_consent("анна", Purpose.PERSONALISATION, {"granted": True, "lawfulBasis": "consent"})
    return folder


def call(capsys: pytest.CaptureFixture[str], code: int, *line: str) -> Any:
    """The JSON that a command printed on one line."""
    capsys.readouterr()
    assert run([*line, "--json"]) == code, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    return json.loads(printed)


def test_init_answers_with_the_workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, 0, "init", str(tmp_path / "new"), "--yes") == {"workspace": str(tmp_path / "new")}


@pytest.mark.parametrize("before", [True, False])
def test_the_workspace_may_stand_before_or_after(
    shop: Path, capsys: pytest.CaptureFixture[str], *, before: bool
) -> None:
    place, command = ["-w", str(shop)], ["summary"]
    found = call(capsys, 0, *(place + command if before else command + place))
    assert found["profiles_known"] == 2


def test_the_current_folder_is_the_default(
    shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop)
    assert call(capsys, 0, "summary")["profiles_known"] == 2


def test_summary_adds_up(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = call(capsys, 0, "-w", str(shop), "summary")
    kinds = ("orders", "refunds", "adjustments", "stock_moves")
    assert found["invoices"] == sum(found[kind] for kind in kinds)
    assert str(Decimal(found["net_revenue"])) == found["net_revenue"]
    assert found["currency"] == "EUR"


def test_import_answers_with_counts_that_add_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, orders, mapping = str(tmp_path / "new"), tmp_path / "orders.csv", tmp_path / "mapping.toml"
    vitrina.init(folder).close()
    orders.write_text(ORDERS, encoding="utf-8")
    mapping.write_text(MAPPING, encoding="utf-8")
    line = ("-w", folder, "import", str(orders), "--mapping", str(mapping))
    for stored, duplicates in ((1, 0), (0, 1)):
        found = call(capsys, 0, *line)
        counts = {name: found[name] for name in ("read", "stored", "duplicates", "refused")}
        assert counts == {"read": 2, "stored": stored, "duplicates": duplicates, "refused": 1}
        assert [(entry["row"], entry["field"]) for entry in found["refusals"]] == [(2, "unit_price")]
        assert "gratis" in found["refusals"][0]["reason"]


def test_dead_letters_answer_as_the_api(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "letters"
    with vitrina.init(folder) as workspace:
        call = {"event": "Product Viewed", "userId": "анна", "messageId": "m1", "properties": {"price": []}}
        workspace.receive(json.dumps(call).encode(), "track", SERVER).result()
    here = ("-w", str(folder), "dead-letters")
    (letter,) = call_of(capsys, *here, "list")
    assert {"id", "refusedAt", "source", "trusted", "event", "code", "where", "cause", "cure", "status"} <= set(letter)
    number = str(letter["id"])
    assert call_of(capsys, *here, "discard", number) == {"id": letter["id"], "status": "discarded"}
    assert call_of(capsys, *here, "list") == []
    assert call_of(capsys, *here, "list", "--status", "discarded")[0]["changedBy"] == "command line"
    assert call_of(capsys, *here, "restore", number)["status"] == "waiting"
    mended = tmp_path / "mended.json"
    mended.write_text('{"event": "Product Viewed", "userId": "анна", "properties": {"price": 3}}', encoding="utf-8")
    done = call_of(capsys, *here, "replay", number, "--body", str(mended))
    assert done == {"id": letter["id"], "status": "replayed", "stored": True, "messageId": "m1"}
    assert run([*here, "replay", number]) == run([*here, "show", "999"]) == 1


def test_the_plan_is_shown_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, plan = tmp_path / "planned", tmp_path / "plan.toml"
    vitrina.init(folder).close()
    plan.write_text(
        '[[event]]\nname = "Урок"\nmode = "observe"\n[event.properties]\nseats = "integer"\n', encoding="utf-8"
    )
    (checked,) = call_of(capsys, "plan", "check", str(plan))["events"]
    assert (checked["event"], checked["mode"], checked["properties"]["seats"]) == ("Урок", "observe", "integer")
    shown = call_of(capsys, "-w", str(folder), "plan", "show", "--event", "Order Completed")
    assert [(one["version"], one["group"], one["mode"]) for one in shown] == [(1, "e-commerce", "block")]
    assert call_of(capsys, "-w", str(folder), "plan", "violations") == []
    plan.write_text('[[event]]\nname = "Урок"\n[event.properties]\nseats = "seat"\n', encoding="utf-8")
    assert run(["plan", "check", str(plan)]) == 1
    assert "no kind 'seat'" in capsys.readouterr().err


def call_of(capsys: pytest.CaptureFixture[str], *line: str) -> Any:
    return call(capsys, 0, *line)


@pytest.mark.parametrize("kind", ["write", "secret"])
def test_keys_create_answers_with_the_key(shop: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = call(capsys, 0, "-w", str(shop), "keys", "create", "--kind", kind)
    assert list(made) == ["key"]
    with vitrina.open(shop) as workspace:
        caller = workspace.keys.find(made["key"])
    assert caller is not None
    assert caller.kind == kind


@pytest.mark.parametrize(("person", "personalised"), [("анна", True), ("борис", False), ("кто-то", False)])
def test_decide_answers_as_the_api(
    shop: Path, person: str, personalised: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    found = call(capsys, 0, "-w", str(shop), "decide", "--user", person, "--placement", "home")
    assert set(found) >= {
        "decisionId",
        "items",
        "policy",
        "holdout",
        "experiments",
        "personalised",
        "basis",
        "expiresAt",
    }
    (item,) = found["items"]
    assert item["offerId"] in {"oolong", "puerh"}
    assert item["price"] == {"amount": "4.50", "currency": "EUR"}
    assert 0 < item["probability"] < 1
    assert found["personalised"] is personalised
    assert ("refused" in found["basis"]) is not personalised
    with vitrina.open(shop) as workspace:
        assert workspace.explain(found["decisionId"]).row.id == found["decisionId"]


def test_read_out_refuses_with_3_and_says_how_many_more(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = call(capsys, 3, "-w", str(shop), "read-out", "home")
    assert found["refused"]
    assert found["total"] is None


def test_erase_answers_with_counts_by_table(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with vitrina.open(shop) as workspace:
        call_of = {"type": "track", "event": "Product Viewed", "userId": "вера", "messageId": "m-вера"}
        workspace.receive(json.dumps({"batch": [call_of]}).encode(), "batch", SERVER).result()
    found = call(capsys, 0, "-w", str(shop), "erase", "--user", "вера")
    assert found["counts"]["profile_leaf"] == 1
    assert all(isinstance(count, int) for count in found["counts"].values())
    again = call(capsys, 0, "-w", str(shop), "erase", "--user", "вера")
    assert sum(again["counts"].values()) == 0


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("summary", 0),
        ("decide --user anna --placement nowhere", 1),
        ("import no-such.csv --mapping no-such.toml", 1),
        ("decide --user anna", 2),
        ("keys create --kind golden", 2),
        ("no-such-command", 2),
    ],
)
def test_exit_codes_of_the_program(shop: Path, line: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from vitrina.cli import main; main()", "-w", str(shop), *line.split()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert bool(done.stdout) is (code == 0)


@pytest.mark.sqlite
def test_a_store_that_is_broken_is_code_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "broken"
    vitrina.init(folder).close()
    for part in folder.glob("store.db*"):
        part.unlink()
    (folder / "store.db").write_bytes(b"not a database" * 1000)
    capsys.readouterr()
    assert run(["-w", str(folder), "summary"]) == 4
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "backup" in printed.err
    assert "Traceback" not in printed.err
