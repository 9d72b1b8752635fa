"""Is this machine fit to keep a workspace? Disk, clock, versions, store and lake, one answer each."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from vitrina.core.clock import SECOND, Clock, iso
from vitrina.core.config import Setting
from vitrina.storage.lake import Lake
from vitrina.storage.store import Store
from vitrina.storage.stream import Stream

__all__ = ["Check", "Health", "examine"]

_LEAST_FREE = 1 << 30
_PACKAGES = (
    "vitrina",
    "duckdb",
    "deltalake",
    "ibis-framework",
    "sqlalchemy",
    "numpy",
    "msgspec",
    "litestar",
    "uvicorn",
)
_EARLIEST = 1_735_689_600 * SECOND  # 2025-01-01: a clock before that was never set
_OLDEST_SQLITE = (3, 35, 0)


class Check(msgspec.Struct, frozen=True):
    """One check: its name, whether it is well, and what was found or what to do."""

    name: str
    ok: bool
    found: str


class Health(msgspec.Struct, frozen=True):
    """What `vitrina doctor` says. `ok` when every check is."""

    ok: bool
    checks: list[Check]
    settings: list[Setting]
    versions: dict[str, str]


def examine(
    root: Path, settings: Sequence[Setting], store: Store, lake: Lake, streams: Sequence[Stream], clock: Clock
) -> Health:
    """Examine a workspace. Each check catches what goes wrong in it and says so."""
    checks = [
        _tried("disk", lambda: _disk(root)),
        _tried("clock", lambda: _clock(clock)),
        _tried("versions", _versions_fit),
        _tried("store", lambda: _store(store)),
        *(_tried(f"lake.{stream.name}", lambda stream=stream: _lake(lake, stream)) for stream in streams),
    ]
    return Health(all(check.ok for check in checks), checks, list(settings), _versions())


def _tried(name: str, check: Callable[[], tuple[bool, str]]) -> Check:
    try:
        return Check(name, *check())
    except Exception as error:
        return Check(name, False, f"{type(error).__name__}: {error}")


def _disk(root: Path) -> tuple[bool, str]:
    free = shutil.disk_usage(root).free
    probe = root / ".doctor"
    began = time.perf_counter()
    with probe.open("wb") as file:
        file.write(b"vitrina")
        file.flush()
        import os

        os.fsync(file.fileno())
    spent = (time.perf_counter() - began) * 1000
    probe.unlink()
    words = f"{free / (1 << 30):.1f} GiB free; a synchronised write took {spent:.1f} ms"
    return free >= _LEAST_FREE, words if free >= _LEAST_FREE else f"{words}: make room, at least 1 GiB"


def _clock(clock: Clock) -> tuple[bool, str]:
    now = clock.now()
    ok = now >= _EARLIEST
    return ok, f"{iso(now)}" if ok else f"{iso(now)}: the clock was never set; set it, or events get wrong times"


def _versions_fit() -> tuple[bool, str]:
    ok = sqlite3.sqlite_version_info >= _OLDEST_SQLITE
    words = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    return ok, words if ok else f"{words}: SQLite 3.35 or later is needed"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _store(store: Store) -> tuple[bool, str]:
    with store.read() as connection:
        if store.address.is_sqlite:
            found = str(connection.exec_driver_sql("pragma quick_check(1)").scalar())
            if found != "ok":
                return False, f"{found}: restore a backup"
    healthy = store.writer.healthy
    return healthy, "readable and whole" if healthy else f"can't be written: {store.writer.cause}"


def _lake(lake: Lake, stream: Stream) -> tuple[bool, str]:
    waiting = stream.journal.last() - lake.offset(stream)
    files = lake.files(stream) if lake.exists(stream) else []
    missing = [path for path in files if not Path(path).exists()]
    if missing:
        return False, f"{len(missing)} of {len(files)} files are missing, first {missing[0]}: restore a backup"
    return True, f"{len(files)} files, {max(waiting, 0)} rows on their way"
