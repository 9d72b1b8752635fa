"""Commands on a real workspace, as a script calls them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from vitrina.cli import run

CONTRACT = {
    "events", "orders", "refunds", "adjustments", "stock_moves", "invoices", "profiles_known", "products",
    "net_revenue", "currency", "decisions", "outcomes", "dead_letters",
}  # fmt: skip
MAPPING = """
[source]
name = "чай"
currency = "EUR"
lawful_basis = "contract"
purposes = ["essential", "analytics"]

[columns]
order_id = "заказ"
product_id = "товар"
quantity = "штук"
unit_price = "цена"
occurred_at = "когда"
user_id = "кто"

[[kinds]]
kind = "refund"
when = { column = "заказ", starts_with = "C" }

[[kinds]]
kind = "order"
"""
ORDERS = """заказ,товар,штук,цена,когда,кто
1,улун,2,4.50,2025-03-01T10:00:00Z,анна
1,пуэр,1,7.00,2025-03-01T10:00:00Z,анна
2,улун,1,4.50,2025-03-02T11:00:00Z,борис
C3,улун,-1,4.50,2025-03-03T09:00:00Z,анна
4,улун,1,дорого,2025-03-04T09:00:00Z,борис
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "магазин"
    assert run(["init", str(folder), "--yes"]) == 0
    return folder


@pytest.fixture
def orders(tmp_path: Path) -> tuple[Path, Path]:
    file, mapping = tmp_path / "orders.csv", tmp_path / "mapping.toml"
    file.write_text(ORDERS, encoding="utf-8")
    mapping.write_text(MAPPING, encoding="utf-8")
    return file, mapping


def answer(capsys: pytest.CaptureFixture[str], *line: str) -> Any:
    capsys.readouterr()
    assert run([*line, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def failure(capsys: pytest.CaptureFixture[str], code: int, *line: str) -> str:
    capsys.readouterr()
    assert run(line) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    return printed.err


def test_init_says_where_and_refuses_a_second_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = answer(capsys, "init", str(tmp_path / "shop"), "--yes")
    assert Path(made["workspace"]) == (tmp_path / "shop").resolve()
    assert (tmp_path / "shop" / "vitrina.toml").exists()
    assert "vitrina" in failure(capsys, 1, "init", str(tmp_path / "shop"), "--yes")


def test_a_folder_that_is_no_workspace_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = failure(capsys, 1, "-w", str(tmp_path), "summary")
    assert str(tmp_path) in said
    assert "vitrina init" in said


def test_summary_has_the_fields_that_scripts_rely_on(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = answer(capsys, "-w", str(shop), "summary")
    assert set(summary) >= CONTRACT
    assert isinstance(summary["net_revenue"], str)


def test_doctor_shows_settings_with_their_origin(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["doctor", "-w", str(shop)]) == 0
    printed = capsys.readouterr().out
    assert "service.port" in printed
    assert "default" in printed


def test_unknown_setting_is_refused_with_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", str(tmp_path / "shop"), "--yes"]) == 0
    settings = tmp_path / "shop" / "vitrina.toml"
    settings.write_text('[workspace]\ncurency = "EUR"\n', encoding="utf-8")
    said = failure(capsys, 1, "-w", str(tmp_path / "shop"), "doctor")
    assert "workspace.currency" in said
    assert "vitrina.toml" in said


def test_import_is_counted_repeatable_and_names_what_it_refuses(
    tmp_path: Path, orders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "shop")
    assert run(["init", folder, "--yes"]) == 0
    line = ("-w", folder, "import", str(orders[0]), "--mapping", str(orders[1]))
    looked = answer(capsys, *line, "--dry-run")
    assert answer(capsys, "-w", folder, "summary")["orders"] == 0
    first = answer(capsys, *line)
    assert {key: first[key] for key in ("read", "refused")} == {key: looked[key] for key in ("read", "refused")}
    assert [(entry["row"], entry["field"]) for entry in first["refusals"]] == [(5, "unit_price")]
    again = answer(capsys, *line)
    assert again["stored"] == 0
    summary = answer(capsys, "-w", folder, "summary")
    assert (summary["orders"], summary["refunds"], summary["net_revenue"]) == (2, 1, "16.00")
    erased = answer(capsys, "-w", folder, "erase", "--user", "анна")
    assert erased
    assert answer(capsys, "-w", folder, "summary")["profiles_known"] == 1


def test_import_of_nothing_is_a_mistake(
    shop: Path, orders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    said = failure(capsys, 1, "-w", str(shop), "import", "no-such.csv", "--mapping", str(orders[1]))
    assert "no-such.csv" in said
    said = failure(capsys, 1, "-w", str(shop), "import", str(orders[0]), "--mapping", "no-such.toml")
    assert "no-such.toml" in said


def test_keys_are_shown_once_listed_and_revoked(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = answer(capsys, "-w", str(shop), "keys", "create", "--kind", "secret", "--scope", "collect")["key"]
    listed = answer(capsys, "keys", "list", "-w", str(shop))
    assert key not in json.dumps(listed)
    mine = next(entry for entry in listed if key.startswith(entry["prefix"]))
    assert mine["scopes"] == ["collect"]
    answer(capsys, "-w", str(shop), "keys", "revoke", mine["id"])
    assert "keys list" in failure(capsys, 1, "-w", str(shop), "keys", "revoke", "k_unknown")
    assert "Scopes are" in failure(
        capsys, 1, "-w", str(shop), "keys", "create", "--kind", "secret", "--scope", "everything"
    )


def test_users_are_made_with_a_password_from_stdin(
    shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("очень длинный пароль\n"))
    assert answer(capsys, "-w", str(shop), "users", "create", "anna@example.com")["role"] == "admin"
    assert [user["email"] for user in answer(capsys, "-w", str(shop), "users", "list")] == ["anna@example.com"]
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert "password" in failure(capsys, 1, "-w", str(shop), "users", "create", "boris@example.com")


def test_a_decision_for_an_unknown_placement_is_a_mistake(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = failure(capsys, 1, "-w", str(shop), "decide", "--user", "анна", "--placement", "nowhere")
    assert "nowhere" in said


def test_read_out_of_an_empty_placement_is_refused(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert failure(capsys, 1, "-w", str(shop), "read-out", "nowhere")


def test_replay_gives_figures_and_leads(
    shop: Path, orders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    answer(capsys, "-w", str(shop), "import", str(orders[0]), "--mapping", str(orders[1]))
    found = answer(capsys, "-w", str(shop), "replay", "--from", "2000-01-01")
    assert found["orders"] == 2
    assert {(row["task"], row["method"]) for row in found["figures"]} >= {("all", "decisions"), ("new", "hybrid")}
    assert {"hit_rate", "hit_rate_low", "hit_rate_high", "ndcg", "ndcg_low", "ndcg_high"} <= found["leads"][0].keys()
    assert run(["-w", str(shop), "replay", "--from", "2000-01-01"]) == 0
    assert "buy_again" in capsys.readouterr().out
    assert "no order" in failure(capsys, 1, "-w", str(shop), "replay", "--from", "2999-01-01")
