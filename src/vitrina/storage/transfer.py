"""Moving a store to another database, SQLite or PostgreSQL: every table, row by row, then counted and compared."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, func, insert, select

from vitrina.core import config
from vitrina.core.errors import ConflictError, MachineError, UserError
from vitrina.storage.connect import parse_address, store_address
from vitrina.storage.declared import metadata
from vitrina.storage.store import Store

__all__ = ["STORE_VARIABLE", "Migration", "Moved", "move", "transfer"]

_ROWS = 1_000
STORE_VARIABLE = "VITRINA_STORAGE_URL"
"""A setting that stands above the file's, so that no command can move the store."""
Progress = Callable[[int, int | None], None]


class Moved(msgspec.Struct, frozen=True):
    """One table that was moved: its rows, and a hash of all of them that is the same on both sides."""

    table: str
    rows: int
    hash: str


class Migration(msgspec.Struct, frozen=True):
    """What `move` did: the two addresses (without passwords), where the old file lies now, and every table."""

    source: str
    target: str
    kept_as: str
    rows: int
    tables: list[Moved]


def move(source: Store, to: str, settings: Path, progress: Progress | None = None) -> Migration:
    """Move a store to the address `to` and let the workspace's settings name it from now on.

    The old store is left as it was: a SQLite file gets another name, so that moving back makes a new one. Open the
    workspace again afterwards.

    Args:
        source: the workspace's store; nobody may write to it meanwhile.
        to: where to; "" is the file in the workspace.
        settings: the workspace's `vitrina.toml`.
        progress: called with rows done and rows in all.

    Raises:
        UserError: the address can't be read, or an environment variable says where the store is.
        ConflictError: there are rows already, or it is the same store.
        MachineError: it can't be written; everything is as it was.
    """
    address = store_address(to, settings.parent)
    parsed = parse_address(address)
    if parsed == source.address:
        raise ConflictError("the store is there already.", code="store.same", where=str(parsed), cure="Nothing to do.")
    if STORE_VARIABLE in os.environ:
        raise UserError(
            f"{STORE_VARIABLE} says where the store is, whatever vitrina.toml says.",
            code="store.variable",
            where=STORE_VARIABLE,
            cure="Remove the variable, migrate, and set it again if you need it.",
        )
    if not to:
        _set_aside(Path(str(parsed.url.database)))  # of an earlier move, or of one that was killed
    target = Store.open(address, threaded=False)
    try:
        tables = transfer(source, target, progress)
    finally:
        target.close()
    text = config.stated(settings.read_text(encoding="utf-8"), "storage", "url", to)
    config.parse(text.encode(), str(settings), {})
    part = settings.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(settings)  # before the old file gets another name: killed between the two, nobody opens an empty store
    kept = ""
    if source.address.is_sqlite:
        source.close()
        kept = _set_aside(Path(str(source.address.url.database)))
    return Migration(str(source.address), str(parsed), kept, sum(table.rows for table in tables), tables)


def _set_aside(file: Path) -> str:
    """Give a SQLite store that nobody has open a name by which nobody opens it by mistake; "" when it isn't there."""
    aside = file.with_name(f"{file.name}.before-migration-{time.strftime('%Y%m%dT%H%M%S')}")
    if not file.exists():
        return ""
    for tail in ("", "-wal", "-shm"):
        found = file.with_name(file.name + tail)
        if found.exists():
            found.replace(aside.with_name(aside.name + tail))
    return str(aside)


def transfer(source: Store, target: Store, progress: Progress | None = None) -> list[Moved]:
    """Copy every row of a store into an empty one, in one transaction, and compare what arrived.

    Args:
        source: only read; nobody may write to it meanwhile.
        target: a store without rows; its tables are made here.
        progress: called with rows done and rows in all.

    Raises:
        ConflictError: the target holds rows.
        MachineError: it can't be written, or what arrived differs; the target is left empty then.
    """
    target.migrate()
    tables = [table for table in metadata.sorted_tables if table.info.get("declared") is not None]
    with source.read() as connection:
        total = sum(_count(connection, table) for table in tables)
        done = 0

        def told(rows: int) -> None:
            nonlocal done
            done += rows
            if progress is not None:
                progress(done, total)

        def copy(into: Connection) -> list[Moved]:
            _refuse_rows(into, tables, str(target.address))
            moved = [_copy_table(connection, into, table, told) for table in tables]
            for table in tables:
                _continue_numbers(into, table)
            return moved

        return target.write(copy)


def _count(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _refuse_rows(connection: Connection, tables: list[Table], where: str) -> None:
    for table in tables:
        if connection.execute(select(table).limit(1)).first() is not None:
            raise ConflictError(
                f"the store there holds rows already ({table.name}).",
                code="store.not_empty",
                where=where,
                cure="Name an empty database, another schema (?schema=NAME), or a file that isn't there.",
            )


def _copy_table(source: Connection, target: Connection, table: Table, told: Callable[[int], None]) -> Moved:
    """Copy one table; the hash of what was read must be that of what is there afterwards."""
    sent, rows = blake2b(digest_size=16), 0
    for part in _parts(source, table):
        target.execute(insert(table), [dict(row) for row in part])
        _add(sent, part)
        rows += len(part)
        told(len(part))
    arrived = blake2b(digest_size=16)
    for part in _parts(target, table):
        _add(arrived, part)
    if sent.digest() != arrived.digest():
        raise MachineError(
            f"the rows of {table.name} are not the same after they were copied.",
            code="store.transfer",
            where=table.name,
            cure="Nothing was kept of the copy. Check that nobody writes to either store, and do it again.",
        )
    return Moved(table.name, rows, sent.hexdigest())


def _parts(connection: Connection, table: Table) -> Iterator[list[Any]]:
    """The rows in an order that both databases agree on, a thousand at a time."""
    by_bytes = connection.dialect.name == "postgresql"  # which orders text by language; SQLite by its bytes
    order = [column.collate("C") if by_bytes and _is_text(column) else column for column in table.primary_key]
    query = select(table).order_by(*order).execution_options(stream_results=True)
    found = connection.execute(query)
    for part in found.mappings().partitions(_ROWS):
        yield list(part)


def _is_text(column: Any) -> bool:
    return column.type.python_type is str


def _add(digest: Any, rows: list[Any]) -> None:
    for row in rows:
        digest.update(msgspec.msgpack.encode(list(row.values())))


def _continue_numbers(connection: Connection, table: Table) -> None:
    """Let PostgreSQL number new rows behind those that were copied."""
    column = table.autoincrement_column
    if column is None or connection.dialect.name != "postgresql":
        return
    sequence = connection.exec_driver_sql("select pg_get_serial_sequence(%s, %s)", (table.name, column.name)).scalar()
    highest = connection.execute(select(func.max(column))).scalar()
    if sequence is not None and highest is not None:
        connection.exec_driver_sql("select setval(%s, %s)", (sequence, highest))
