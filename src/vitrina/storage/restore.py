"""Restoring a backup into a new folder: unpacked and checked beside it, made ready, and only then given its name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy import delete

from vitrina.core import config
from vitrina.core.errors import ConflictError, UserError
from vitrina.storage.backup import SETTINGS, STORE, Manifest, Progress, unpack
from vitrina.storage.connect import store_address
from vitrina.storage.store import Store
from vitrina.storage.tables import lease
from vitrina.storage.transfer import STORE_VARIABLE, transfer

__all__ = ["restore"]


def restore(
    backup: Path,
    folder: Path,
    store_url: str = "",
    ready: Callable[[Path], None] | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Make a workspace of a backup.

    Args:
        backup: what `vitrina.storage.backup.make` wrote.
        folder: where to; it must be empty, or not be there.
        store_url: where the store is to lie; "" is a file in the folder.
        ready: called with the folder of the restored workspace before it gets its name; what it raises undoes all.
        progress: called with bytes done and bytes in all.

    Raises:
        ConflictError: there is something in the folder, or rows in the store that is named.
        UserError: it is no backup, or an environment variable says where the store is.
        MachineError: it is damaged, or the disk failed; no folder is left behind then.
    """
    if STORE_VARIABLE in os.environ:
        raise UserError(
            f"{STORE_VARIABLE} says where the store is, whatever is restored.",
            code="store.variable",
            where=STORE_VARIABLE,
            cure="Remove the variable, restore (with --store if it is to lie there), and set it again if you need it.",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConflictError(
            "the folder isn't empty.",
            code="restore.not_empty",
            where=str(folder),
            cure="Name a folder that isn't there yet; what is in this one stays as it is.",
        )
    part = folder.with_name(f"{folder.name}.restoring")
    if part.exists():
        shutil.rmtree(part)  # of an attempt that was killed
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        manifest = unpack(backup, part, progress)
        (part / "lake").mkdir(exist_ok=True)
        _place_store(part, folder, store_url)
        if ready is not None:
            ready(part)
        if folder.exists():
            folder.rmdir()
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def _place_store(part: Path, folder: Path, store_url: str) -> None:
    """Bring the store to where it is to lie, its tables up to date; nobody holds a lease any more."""
    store = Store.open(str(part / STORE), threaded=False)
    with closing(store):
        store.migrate()
        store.write(lambda connection: connection.execute(delete(lease)))
        if not store_url:
            return
        address = store_address(store_url, folder)
        target = Store.open(address, threaded=False)
        with closing(target):
            transfer(store, target)
    for file in part.glob(f"{STORE}*"):
        file.unlink()
    settings = part / SETTINGS
    text = config.stated(settings.read_text(encoding="utf-8"), "storage", "url", address)
    settings.write_text(text, encoding="utf-8")
