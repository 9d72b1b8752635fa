"""`vitrina init`, `doctor` and `summary`: making a workspace and looking at it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from msgspec import json, structs

import vitrina
from vitrina.cli.output import HERE, Common, show

__all__ = ["doctor", "init", "summary"]


def init(
    directory: Path,
    /,
    *,
    yes: Annotated[bool, Parameter(negative="", help="Ask nothing: take what is given and the defaults.")] = False,
    currency: Annotated[str, Parameter(help="The currency figures are shown in (ISO 4217).")] = "EUR",
    time_zone: Annotated[str, Parameter(help="The time zone in which a day begins (IANA name).")] = "UTC",
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print the result as JSON.")] = False,
) -> None:
    """Make a workspace: settings with comments, a store and a lake.

    Args:
        directory: the folder to make it in; it may exist if it holds no workspace yet.
    """
    if not yes and sys.stdin.isatty() and sys.stderr.isatty():
        currency = _answer("Currency", currency)
        time_zone = _answer("Time zone", time_zone)
    workspace = vitrina.init(directory, currency=currency, timezone=time_zone)
    workspace.close()
    show({"workspace": str(directory.resolve())}, Common(directory, as_json))


def _answer(question: str, default: str) -> str:
    sys.stderr.write(f"{question} [{default}]: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() or default


def doctor(
    *,
    live: Annotated[
        bool, Parameter(negative="", help="Ask the running server instead: what is late, full, unwell.")
    ] = False,
    url: Annotated[str | None, Parameter(help="Where it listens, for --live; default: as the settings say.")] = None,
    common: Common = HERE,
) -> None:
    """Show each setting with where it came from, check disk, clock, versions, store and lake, and what may be learned.

    Ends with code 4 when a check fails; with --live 3 when something is late, full or kept from us.
    """
    if live or url is not None:
        _ask_live(url, common)
        return
    with vitrina.open(common.workspace) as workspace:
        report = workspace.doctor()
    # To a person a setting is shown as it stands in vitrina.toml: port = 8400, not 8,400.
    stated = [structs.replace(setting, value=json.encode(setting.value).decode()) for setting in report.settings]
    show(report if common.json else structs.replace(report, settings=stated), common)
    if not report.ok:
        raise SystemExit(4)


def _ask_live(url: str | None, common: Common) -> None:
    from vitrina.cli.live import ask_server, exit_code, language, server_of

    found = ask_server(url or server_of(common.workspace), language())
    show(found, common)
    if exit_code(found):
        raise SystemExit(exit_code(found))


def summary(*, common: Common = HERE) -> None:
    """Show what the workspace holds: events, orders, people, products, money, decisions."""
    with vitrina.open(common.workspace) as workspace:
        show(workspace.summary(), common)
