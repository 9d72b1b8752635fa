"""Backups: one state of store and lake, made while others work, with the hash of every file.

The store is copied first, at one moment; then, of each table of the lake, the newest version without a row that a
reader before the lake had yet to deal with at that moment. Rows that were drained before it are in that version, those
that were drained after it are still in the copied journal: none is missing. What is in both is known by the offset of
the version.
"""

from __future__ import annotations

import os
import sqlite3
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import msgspec
from sqlalchemy import func, select

from vitrina.core import config
from vitrina.core.clock import Clock, iso
from vitrina.core.errors import ConflictError, MachineError, UserError
from vitrina.storage import migrations
from vitrina.storage.copies import BackedUpFile, Sink, copied, hashed, open_sink, opened, remove, sync, unreadable
from vitrina.storage.declared import declared_tables
from vitrina.storage.lake import READER, Lake
from vitrina.storage.store import Store
from vitrina.storage.stream import Stream
from vitrina.storage.tables import consumer_offset, journal_head
from vitrina.storage.transfer import transfer

__all__ = ["FORMAT", "MANIFEST", "SETTINGS", "STORE", "Backup", "Manifest", "check", "make", "read_manifest", "unpack"]

FORMAT = 1
MANIFEST = "manifest.json"
SETTINGS = "vitrina.toml"
STORE = "store.db"
_ATTEMPTS = 5
Progress = Callable[[int, int | None], None]


class BackedUpTable(msgspec.Struct, frozen=True):
    """A table of the lake: its version, the last row of the journal in it, the journal's last row in the store."""

    name: str
    version: int
    offset: int
    head: int
    rows: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds.

    Attributes:
        format: of the backup itself.
        made_at: the moment whose state it is, ISO 8601; somebody erased later is still in it.
        program: version of Vitrina that made it.
        tables_version: version of the store's tables.
        store: rows by table.
        lake: tables of the lake.
        files: every file but the manifest.
    """

    format: int
    made_at: str
    program: str
    tables_version: str | None
    store: dict[str, int]
    lake: list[BackedUpTable]
    files: list[BackedUpFile]


class Backup(msgspec.Struct, frozen=True):
    """What `make` and `check` say of a backup: where it is, when it was made, what it holds, whether it is whole."""

    backup: str
    made_at: str
    files: int
    bytes: int
    events: int
    decisions: int
    whole: bool


def make(
    store: Store,
    lake: Lake,
    streams: Sequence[Stream],
    settings: Path,
    beside: Sequence[Path],
    target: Path,
    clock: Clock,
    program: str,
    progress: Progress | None = None,
) -> Backup:
    """Write a backup of a workspace, which may be at work meanwhile.

    Args:
        store, lake, streams: of the workspace.
        settings: its `vitrina.toml`.
        beside: files and folders of the workspace that are taken too, where they are there and inside its folder.
        target: a folder to be made, or a file whose name ends in `.tar`.
        clock: stamps it.
        program: version of the program, for the manifest.
        progress: called with bytes done and bytes in all.

    Raises:
        ConflictError: there is something in its place already.
        UserError: the place is inside the workspace.
        MachineError: the disk failed, or the lake was rewritten again and again meanwhile.
    """
    _check_place(target, settings.parent)
    part = target.with_name(f"{target.name}.part")
    copy = target.with_name(f"{target.name}.store")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        manifest = None
        for _ in range(_ATTEMPTS):
            remove(part)
            try:
                with closing(open_sink(part, tar=target.suffix == ".tar")) as sink:
                    manifest = _fill(sink, store, lake, streams, settings, beside, copy, clock, program, progress)
                break
            except FileNotFoundError:  # an erasure or the retention exchanged files of the version that was copied
                continue
        if manifest is None:
            raise _rewritten(lake.folder)
        remove(target)  # an empty folder
        part.replace(target)
        sync(target.parent)
    finally:
        remove(part)
        _remove_store(copy)
    return _told(target, manifest, whole=True)


def _fill(
    sink: Sink,
    store: Store,
    lake: Lake,
    streams: Sequence[Stream],
    settings: Path,
    beside: Sequence[Path],
    copy: Path,
    clock: Clock,
    program: str,
    progress: Progress | None,
) -> Manifest:
    made_at = clock.now()
    _remove_store(copy)
    _copy_store(store, copy)
    seen = _look(copy)
    tables = [(stream, lake.version_upto(stream, _bound(stream, seen))) for stream in streams]
    planned = [
        (STORE, copy),
        *((str(path.relative_to(settings.parent)), path) for path in _files(beside, settings.parent)),
    ]
    for stream, found in tables:
        planned += [(f"lake/{stream.name}/{path}", file) for path, file in (found.files if found is not None else ())]
    total, done = sum(file.stat().st_size for _, file in planned), 0
    files: list[BackedUpFile] = [sink.write(SETTINGS, _settings_of(settings))]
    for path, file in planned:
        files.append(sink.add(path, file))
        done += files[-1].bytes
        if progress is not None:
            progress(done, total)
    manifest = Manifest(
        format=FORMAT,
        made_at=iso(made_at),
        program=program,
        tables_version=seen.version,
        store=seen.rows,
        lake=[
            BackedUpTable(s.name, found.version, found.offset, seen.heads.get(s.journal.name, 0), found.rows)
            for s, found in tables
            if found is not None
        ],
        files=files,
    )
    sink.write(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    return manifest


def _copy_store(store: Store, copy: Path) -> None:
    """The store as it is at this moment, as one SQLite file that nobody else writes."""
    if store.address.is_sqlite:
        source = sqlite3.connect(f"file:{quote(str(store.address.url.database))}?mode=ro", uri=True, timeout=30)
        with closing(source):
            source.execute("vacuum into ?", (str(copy),))
    else:
        target = Store.open(str(copy), threaded=False)
        with closing(target):
            transfer(store, target)
    with copy.open("rb") as file:
        os.fsync(file.fileno())


def _remove_store(file: Path) -> None:
    for tail in ("", "-wal", "-shm", "-journal"):
        remove(file.with_name(file.name + tail))


class _Seen(msgspec.Struct):
    """What the copied store says: rows by table, the last number of each journal, offsets of readers, its version."""

    rows: dict[str, int]
    heads: dict[str, int]
    offsets: dict[str, int]
    version: str | None


def _look(copy: Path) -> _Seen:
    store = Store.open(str(copy), threaded=False)
    with closing(store), store.read() as connection:
        return _Seen(
            {
                name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for name, table in sorted(declared_tables().items())
            },
            {row.journal: row.seq for row in connection.execute(select(journal_head))},
            {row.consumer: row.seq for row in connection.execute(select(consumer_offset))},
            migrations.current_version(connection),
        )


def _bound(stream: Stream, seen: _Seen) -> int:
    """The last row of the journal that the lake may hold beside the copied store.

    A reader before the lake, such as the fold, asks the lake what came before: rows that it has yet to deal with must
    not be there. A reader that keeps its own pace may be far behind; what was moved by then is gone from the journal.
    """
    name = stream.journal.name
    head, moved = seen.heads.get(name, 0), seen.offsets.get(f"{name}.{READER}", 0)
    others = [
        seq for reader, seq in seen.offsets.items() if reader.startswith(f"{name}.") and reader != f"{name}.{READER}"
    ]
    slowest = min(others) if others else head if stream.ready is None else 0
    return min(head, max(moved, slowest))


def _settings_of(settings: Path) -> bytes:
    """The settings as a restored workspace needs them: store and lake lie in its own folder."""
    text = settings.read_text(encoding="utf-8-sig")
    for key, value in (("url", ""), ("lake", "lake")):
        text = config.stated(text, "storage", key, value)
    return text.encode()


def _files(places: Sequence[Path], root: Path) -> Iterator[Path]:
    for place in places:
        if place.is_relative_to(root):
            yield from sorted(path for path in ([place] if place.is_file() else place.rglob("*")) if path.is_file())


def _check_place(target: Path, root: Path) -> None:
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists():
        raise ConflictError(
            "there is something already.", code="backup.exists", where=str(target), cure="Choose another place."
        )
    if target.resolve().is_relative_to(root.resolve()):
        raise UserError(
            "a backup inside the workspace is lost with it.",
            code="backup.inside",
            where=str(target),
            cure="Choose a place on another disk.",
        )


def _rewritten(lake: Path) -> MachineError:
    return MachineError(
        "the lake was rewritten again and again while it was copied.",
        code="backup.moving",
        where=str(lake),
        cure="Try again when no erasure is going on.",
    )


def _told(target: Path, manifest: Manifest, *, whole: bool) -> Backup:
    lake = {table.name: table for table in manifest.lake}

    def count(name: str) -> int:
        table = lake.get(name)
        rows = manifest.store.get(f"{name}_journal", 0)
        return rows if table is None else table.rows + table.head - table.offset

    return Backup(
        str(target),
        manifest.made_at,
        len(manifest.files),
        sum(file.bytes for file in manifest.files),
        count("events"),
        count("decisions"),
        whole,
    )


# reading


def read_manifest(backup: Path) -> Manifest:
    """What a backup says it holds.

    Raises:
        UserError: there is none, or a later program made it.
    """
    with opened(backup) as file_of:
        try:
            with file_of(MANIFEST) as file:
                manifest = msgspec.json.decode(file.read(), type=Manifest)
        except (KeyError, OSError):
            raise unreadable(backup, f"there is no {MANIFEST} in it") from None
        except msgspec.DecodeError as error:
            raise unreadable(backup, f"{MANIFEST} can't be read ({error})") from None
    newer = manifest.format > FORMAT or manifest.tables_version not in (None, *migrations.known_versions())
    if newer:
        raise UserError(
            f"a later version of the program ({manifest.program}) made this backup.",
            code="backup.newer",
            where=str(backup),
            cure="Use that version, or a later one.",
        )
    return manifest


def check(backup: Path, progress: Progress | None = None) -> Backup:
    """Read a backup to the end and compare the hash of every file.

    Raises:
        UserError: there is none, or it can't be read.
        MachineError: a file is missing or isn't what was written.
    """
    manifest = read_manifest(backup)
    _read_all(backup, manifest, None, progress)
    return _told(backup, manifest, whole=True)


def unpack(backup: Path, into: Path, progress: Progress | None = None) -> Manifest:
    """Copy every file of a backup into a folder; what isn't what was written is refused.

    Raises:
        UserError, MachineError: as `check`.
    """
    manifest = read_manifest(backup)
    into.mkdir(parents=True)
    _read_all(backup, manifest, into, progress)
    return manifest


def _read_all(backup: Path, manifest: Manifest, into: Path | None, progress: Progress | None) -> None:
    total, done = sum(file.bytes for file in manifest.files), 0
    with opened(backup) as file_of:
        for wanted in manifest.files:
            if ".." in Path(wanted.path).parts or Path(wanted.path).is_absolute():
                raise unreadable(backup, f"{wanted.path} lies outside it")
            try:
                with file_of(wanted.path) as file:
                    found = hashed(file, wanted.path) if into is None else copied(file, into / wanted.path, wanted.path)
            except (KeyError, FileNotFoundError, tarfile.TarError):
                raise _damaged(backup, wanted.path, "is missing") from None
            if found != wanted:
                raise _damaged(backup, wanted.path, "isn't what was written")
            done += wanted.bytes
            if progress is not None:
                progress(done, total)


def _damaged(backup: Path, path: str, what: str) -> MachineError:
    return MachineError(
        f"the backup is damaged: {path} {what}.", code="backup.damaged", where=str(backup), cure="Use another backup."
    )
