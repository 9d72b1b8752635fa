"""`vitrina import`, `erase` and `migrate`: what comes into a workspace, what leaves it for good, and where it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import vitrina
from vitrina.cli.output import HERE, Common, ask, progress, show

__all__ = ["erase", "import_file", "migrate"]


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


def migrate(
    *,
    to: Annotated[str, Parameter(help="Where to: a URL such as postgresql://user@host/name?schema=shop.")] = "",
    common: Common = HERE,
) -> None:
    """Move the store to another database: from SQLite to PostgreSQL, or back. Stop the server first.

    Every row is copied in one transaction and compared; then vitrina.toml names the new place. The old store is left as
    it was. Without --to the store comes back into the workspace's folder, as store.db.
    """
    workspace = vitrina.open(common.workspace)
    try:
        with progress("Moving the store") as advance:
            result = workspace.migrate(to, advance)
    finally:
        workspace.close()
    show(result, common)
