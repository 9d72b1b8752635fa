"""`vitrina plan`: the tracking plan, and how events contradict it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

import vitrina
from vitrina.cli.output import HERE, Common, show
from vitrina.core.errors import NotFoundError

__all__ = ["check_plan", "show_plan", "violations"]


def show_plan(
    *,
    event: Annotated[str, Parameter(help="Show the properties of this event.")] = "",
    common: Common = HERE,
) -> None:
    """Show the tracking plan that events are checked by: your own events and the built-in ones."""
    with vitrina.open(common.workspace) as workspace:
        planned = [one for one in workspace.plan() if event in ("", one.event)]
    if event and not planned:
        raise NotFoundError(f"the tracking plan has no event {event}.", code="plan.event", where="--event")
    show(planned if common.json or event else [_line(msgspec.to_builtins(one)) for one in planned], common)


def _line(planned: dict[str, Any]) -> dict[str, Any]:
    """What fits into a line of the terminal; `--event NAME` gives the rest."""
    return {name: planned[name] for name in ("event", "version", "group", "mode", "closed", "required")} | {
        "properties": len(planned["properties"])
    }


def check_plan(file: Path, /, *, common: Common = HERE) -> None:
    """Check the file of a tracking plan, without using it.

    Args:
        file: the plan, TOML.
    """
    from vitrina.workspace import check_plan as read_and_check

    show({"ok": True, "events": read_and_check(file)}, common)


def violations(*, common: Common = HERE) -> None:
    """Count how often events contradict the tracking plan, by event and reason, and say what became of them."""
    with vitrina.open(common.workspace) as workspace:
        show(workspace.violations(), common)
