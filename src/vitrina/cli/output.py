"""How commands speak: results to stdout as tables or JSON, progress to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, cast

import msgspec
from cyclopts import Parameter

__all__ = ["HERE", "Common", "Progress", "ask", "progress", "show"]

Progress = Callable[[int, int | None], None]
"""Called with how much is done and how much there is (0 or None: not known)."""


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """What every command takes."""

    workspace: Annotated[Path, Parameter(name=["--workspace", "-w"], help="The workspace's folder.")] = Path()
    json: Annotated[bool, Parameter(name="--json", negative="", help="Print the result as JSON.")] = False


LONGEST = 40
"""Rows of a table that are printed; JSON has no such limit."""

HERE = Common()
"""The workspace in the current folder, results as tables."""


def show(result: object, common: Common, title: str = "") -> None:
    """Print the result of a command.

    Args:
        result: a Struct, mapping or list of them.
        common: says whether as JSON.
        title: stands above the table.
    """
    if common.json:
        sys.stdout.write(msgspec.json.encode(result, enc_hook=str).decode() + "\n")
        return
    plain = msgspec.to_builtins(result, builtin_types=(), enc_hook=str)
    if isinstance(plain, list):
        _show_rows(cast("list[object]", plain), title)
    elif isinstance(plain, dict):
        _show_fields(cast("dict[str, object]", plain), title)
    elif plain is not None:
        sys.stdout.write(f"{plain}\n")


def _show_fields(fields: Mapping[str, object], title: str) -> None:
    """A record: one line a field, its lists of records as tables below."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, title=title or None, title_justify="left", pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    below: list[tuple[str, Sequence[object]]] = []
    for name, value in fields.items():
        if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            below.append((_words(name), cast("Sequence[object]", value)))
        else:
            table.add_row(_words(name), _field(name, value))
    Console(highlight=False).print(table)
    for name, rows in below:
        _show_rows(rows, name)


def _show_rows(rows: Sequence[object], title: str) -> None:
    """A list of records: one line each."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    records = [cast("dict[str, object]", row) for row in rows if isinstance(row, dict)]
    if not records:
        for row in rows:
            console.print(_text(row))
        return
    columns = list(dict.fromkeys(name for record in records for name in record))
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(_words(column), overflow="fold")
    for record in records[:LONGEST]:
        table.add_row(*(_field(column, record.get(column)) for column in columns))
    console.print(table)
    if len(records) > LONGEST:
        console.print(f"… and {len(records) - LONGEST} more: --json shows all.")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _field(name: str, value: object) -> str:
    """A field's value; what is named `…_at` or `…At` and is a whole number is a moment in microseconds."""
    if name.endswith(("_at", "At")) and isinstance(value, int):
        return datetime.fromtimestamp(value / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return _text(value)


def _text(value: object) -> str:
    """A value as a person reads it; square brackets are kept from being read as markup."""
    from rich.markup import escape

    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return escape(", ".join(_text(item) for item in cast("Sequence[object]", value)))
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        return escape(", ".join(f"{name}: {_text(item)}" for name, item in pairs))
    return escape(str(value))


@contextmanager
def progress(words: str) -> Generator[Progress, None, None]:
    """A progress bar on stderr while something long runs; silent where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(words, total=None)

        def advance(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total or None)

        yield advance


def ask(question: str) -> bool:
    """Ask a yes-or-no question where somebody can answer; yes where nobody can."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes", "д", "да"}
