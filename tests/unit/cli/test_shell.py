"""The shell around every command: where options may stand, exit codes, what a person sees when it fails."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from vitrina.cli import hoist, run
from vitrina.cli.failure import report
from vitrina.cli.output import Common, show
from vitrina.core.errors import MachineError, PermissionRefusedError, UserError


class Line(msgspec.Struct):
    row: int
    reason: str


class Result(msgspec.Struct):
    net_revenue: Decimal
    refusals: list[Line]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["-w", "shop", "summary"], ["summary", "-w", "shop"]),
        (["--workspace=shop", "summary"], ["summary", "--workspace=shop"]),
        (["--json", "-w", "shop", "keys", "list"], ["keys", "list", "--json", "-w", "shop"]),
        (["-w", "shop", "erase", "--", "x"], ["erase", "-w", "shop", "--", "x"]),
        (["summary", "-w", "shop"], ["summary", "-w", "shop"]),
        (["-w"], ["-w"]),
        (["-w", "shop"], []),
        ([], []),
    ],
)
def test_workspace_may_stand_before_the_command(given: list[str], meant: list[str]) -> None:
    assert hoist(given) == meant


@pytest.mark.parametrize(
    "line", ["nonsense", "summary --nonsense", "keys create", "keys create --kind golden", "decide --slots many"]
)
def test_wrong_usage_ends_with_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Error" in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize("line", ["--help", "--version", "keys", "keys create --help", "import --help"])
def test_help_ends_with_0(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line.split()) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("no such column 'pric'.", code="mapping.column", where="m.toml", cure="Say 'price'."), 1),
        (PermissionRefusedError("this key may not.", code="key.scope"), 3),
        (MachineError("the disk is full.", code="disk.full", cure="Make room."), 4),
        (FileNotFoundError(2, "No such file or directory", "orders.csv"), 1),
        (OSError(28, "No space left on device", "store.db"), 4),
    ],
)
def test_a_failure_says_what_where_and_cure(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(error) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("vitrina: ")
    for part in ("where", "cure"):
        if getattr(error, part, ""):
            assert getattr(error, part) in printed.err


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    assert report(ZeroDivisionError()) is None


def test_json_is_one_line_with_money_as_strings(capsys: pytest.CaptureFixture[str]) -> None:
    show(Result(Decimal("9747747.93"), [Line(3, "no price")]), Common(Path(), json=True))
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert json.loads(printed) == {"net_revenue": "9747747.93", "refusals": [{"row": 3, "reason": "no price"}]}


def test_tables_show_every_field_and_keep_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    show(Result(Decimal("1.50"), [Line(3, "price [red] is 'дорого'")]), Common())
    printed = capsys.readouterr().out
    assert "net revenue" in printed
    assert "1.50" in printed
    assert "price [red] is 'дорого'" in printed


def test_whatever_holds_records_they_are_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    for rows in ([Line(3, "no price")], (Line(3, "no price"),)):
        show({"read": 1, "refusals": rows}, Common())
        assert "reason" in capsys.readouterr().out.splitlines()[-2]


def test_long_tables_say_how_much_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    show([Line(row, "no price") for row in range(100)], Common())
    assert "… and 60 more: --json shows all." in capsys.readouterr().out


def test_moments_are_written_as_times(capsys: pytest.CaptureFixture[str]) -> None:
    show({"created_at": 1_764_583_200_000_000, "revoked_at": None}, Common())
    printed = capsys.readouterr().out
    assert "2025-12-01 10:00:00 UTC" in printed
    assert "–" in printed


def test_nothing_to_show_is_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    show([], Common())
    assert capsys.readouterr().out == ""


def test_program_exits_with_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    from vitrina.cli import main

    monkeypatch.setattr(sys, "argv", ["vitrina", "nonsense"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
