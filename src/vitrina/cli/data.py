"""`vitrina import` and `erase`: what comes into a workspace and what leaves it for good."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import vitrina
from vitrina.cli.output import HERE, Common, ask, progress, show

__all__ = ["erase", "import_file"]


def import_file(
    file: Path,
    /,
    *,
    mapping: Annotated[Path, Parameter(help="The mapping file: which column means what.")],
    dry_run: Annotated[bool, Parameter(negative="", help="Read and check everything, store nothing.")] = False,
    common: Common = HERE,
) -> None:
    """Import history from a CSV, Parquet or NDJSON file. Repeating it is harmless.

    Args:
        file: the file to read.
    """
    with vitrina.open(common.workspace) as workspace, progress(f"Importing {file.name}") as advance:
        result = workspace.import_file(file, mapping, dry_run=dry_run, progress=advance)
    show(result, common)


def erase(
    *,
    user: Annotated[str, Parameter(help="Any identifier of the person.")],
    yes: Annotated[bool, Parameter(negative="", help="Don't ask whether it is meant.")] = False,
    common: Common = HERE,
) -> None:
    """Erase a person everywhere: store, inbox, lake and logs. Leaves a receipt, cannot be undone."""
    with vitrina.open(common.workspace) as workspace:
        if not yes and not ask(f"Erase everything about {user}? This cannot be undone."):
            raise SystemExit(1)
        show(workspace.erase(user), common)
