"""`vitrina backup`, `restore` and `erasures`: a second copy, and who must not come back with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import vitrina
from vitrina.cli.output import HERE, Common, progress, show

__all__ = ["apply_erasures", "backup", "export_erasures", "restore"]

_STAY = """vitrina: no ledger of erasures was given (--erasures).
  Whoever was erased after {made_at} is in this workspace again, and so are their data.
  If somebody was: export the ledger of the living workspace (vitrina erasures export FILE), then, before you serve this
  one: vitrina -w {workspace} erasures apply FILE
"""


def backup(
    target: Path,
    /,
    *,
    check: Annotated[bool, Parameter(negative="", help="Make none: read this backup and compare every file.")] = False,
    common: Common = HERE,
) -> None:
    """Write a backup of store, lake and settings, while the server may go on; or check one.

    What is in it is the state of one moment. Keep it on another disk, together with the ledger of erasures.

    Args:
        target: a folder to be made, or a file whose name ends in .tar.
    """
    if check:
        from vitrina.workspace import check_backup

        with progress(f"Checking {target.name}") as advance:
            show(check_backup(target, advance), common)
        return
    with vitrina.open(common.workspace) as workspace, progress(f"Copying to {target.name}") as advance:
        made = workspace.back_up(target, advance)
    show(made, common)


def restore(
    source: Path,
    directory: Path,
    /,
    *,
    erasures: Annotated[
        Path | None,
        Parameter(help="Who was erased since: what `vitrina erasures export` wrote, or the living workspace's folder."),
    ] = None,
    store: Annotated[
        str, Parameter(help="Where the store is to lie: a URL such as postgresql://user@host/name?schema=shop.")
    ] = "",
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print the result as JSON.")] = False,
) -> None:
    """Make a workspace of a backup. Every file is compared with its hash first.

    Args:
        source: what `vitrina backup` wrote.
        directory: the folder of the new workspace; it must be empty, or not be there.
    """
    from vitrina.workspace import restore as restore_workspace

    with progress(f"Restoring {source.name}") as advance:
        done = restore_workspace(source, directory, erasures=erasures, store_url=store, progress=advance)
    show(done, Common(directory, as_json))
    if done.erasures is None:
        sys.stderr.write(_STAY.format(made_at=done.made_at, workspace=done.workspace))


def export_erasures(file: Path, /, *, common: Common = HERE) -> None:
    """Write who was erased, as hashes that name nobody. Keep it where it isn't lost with the workspace.

    Args:
        file: the file to write.
    """
    with vitrina.open(common.workspace) as workspace:
        ledger = workspace.export_erasures(file)
    show({"file": str(file), "tombstones": len(ledger.tombstones)}, common)


def apply_erasures(ledger: Path, /, *, common: Common = HERE) -> None:
    """Erase everybody whom a ledger names: for a workspace that was restored without one. Cannot be undone.

    Args:
        ledger: what `vitrina erasures export` wrote, or the folder of a workspace.
    """
    with vitrina.open(common.workspace) as workspace:
        show(workspace.take_over_erasures(ledger), common)
