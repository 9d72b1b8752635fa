"""`vitrina dead-letters`: what was refused, and how it is corrected and replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import Parameter

import vitrina
from vitrina.cli.output import HERE, Common, show
from vitrina.core.dead_letter import LetterFilter

__all__ = ["discard", "list_letters", "replay", "restore", "show_letter"]

_BY = "command line"


def list_letters(
    *,
    status: Annotated[
        Literal["waiting", "replayed", "discarded", "all"], Parameter(help="Which letters: what became of them.")
    ] = "waiting",
    code: Annotated[str, Parameter(help="Only letters with this reason, such as plan.type.")] = "",
    event: Annotated[str, Parameter(help="Only letters about this event.")] = "",
    source: Annotated[str, Parameter(help="Only letters that came by the key with this name.")] = "",
    limit: Annotated[int, Parameter(help="How many at most, newest first.")] = 50,
    common: Common = HERE,
) -> None:
    """List refused calls: what is wrong, where, and what to do."""
    wanted = LetterFilter(status="" if status == "all" else status, code=code, event=event, source=source)
    with vitrina.open(common.workspace) as workspace:
        letters = workspace.letters.list(wanted, limit)
    show(letters if common.json else [_line(msgspec.to_builtins(letter)) for letter in letters], common)


def _line(letter: dict[str, Any]) -> dict[str, Any]:
    """What fits into a line of the terminal; `show` gives the rest."""
    named = {"id": str(letter["id"])}
    return named | {name: letter[name] for name in ("refusedAt", "source", "event", "code", "where", "cause", "status")}


def show_letter(letter: int, /, *, common: Common = HERE) -> None:
    """Show one refused call with its body.

    Args:
        letter: its number, as `vitrina dead-letters list` shows it.
    """
    with vitrina.open(common.workspace) as workspace:
        found = workspace.letters.find(letter)
    show(found if common.json else {**msgspec.to_builtins(found), "id": str(found.id)}, common)


def replay(
    letter: int,
    /,
    *,
    body: Annotated[Path | None, Parameter(help="File with the corrected call (JSON); without it, as it was.")] = None,
    common: Common = HERE,
) -> None:
    """Take a refused call in after all. It keeps its message id, its trust and its time, and is stored once.

    Args:
        letter: its number, as `vitrina dead-letters list` shows it.
    """
    corrected = None if body is None else body.read_bytes()
    with vitrina.open(common.workspace) as workspace:
        workspace.claim()
        show(workspace.letters.replay(letter, _BY, corrected), common)


def discard(letter: int, /, *, common: Common = HERE) -> None:
    """Put a refused call away. `restore` takes that back until it is deleted, 30 days after it came.

    Args:
        letter: its number, as `vitrina dead-letters list` shows it.
    """
    with vitrina.open(common.workspace) as workspace:
        done = workspace.letters.discard(letter, _BY)
    show({"id": str(letter) if not common.json else letter, "status": done.status}, common)


def restore(letter: int, /, *, common: Common = HERE) -> None:
    """Take back a discard: the refused call waits again.

    Args:
        letter: its number, as `vitrina dead-letters list --status discarded` shows it.
    """
    with vitrina.open(common.workspace) as workspace:
        done = workspace.letters.restore(letter, _BY)
    show({"id": str(letter) if not common.json else letter, "status": done.status}, common)
