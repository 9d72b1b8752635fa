"""Erasure: everything about a person goes, from every declared place, and a receipt says how much.

The order makes it safe to stop and repeat: first the tombstones, so that nothing new comes in; then store, lake and
memory; last the receipt. Tombstones are keyed hashes of the person's identifiers, and keep late events from bringing
them back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from sqlalchemy import BigInteger, Column, Connection, LargeBinary, String, Text, delete, select

from vitrina.core.clock import Clock, Micros, instant_of, iso
from vitrina.core.errors import UserError
from vitrina.storage.declared import declaration, declare, declared_tables
from vitrina.storage.insert import insert_many
from vitrina.storage.store import Store

__all__ = [
    "Erasure",
    "Ledger",
    "Receipt",
    "Tombstone",
    "erasure_receipt",
    "erasure_tombstone",
    "read_ledger",
    "subjects_in_store",
    "write_ledger",
]

_KEY_BYTES = 16

erasure_tombstone = declare(
    "erasure_tombstone",
    Column("key", LargeBinary(16), primary_key=True),
    Column("at", BigInteger, nullable=False),
    subject=None,
    purpose="obligation: an erased person must not come back",
    retention="as long as the workspace",
    eraser="none",
    exporter="none",
    columns={"key": "keyed hash of an identifier of an erased person", "at": "when it was erased, microseconds UTC"},
)

erasure_receipt = declare(
    "erasure_receipt",
    Column("id", String(64), primary_key=True),
    Column("asked_at", BigInteger, nullable=False),
    Column("done_at", BigInteger, nullable=True),
    Column("counts", Text, nullable=False),
    subject=None,
    purpose="obligation: proof of an erasure",
    retention="three years",
    eraser="none",
    exporter="none",
    columns={
        "id": "id of the erasure",
        "asked_at": "when it was asked for, microseconds UTC",
        "done_at": "when it was done, microseconds UTC, or null",
        "counts": "JSON: rows erased by table; names nobody",
    },
)


class Receipt(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Proof of an erasure: rows by table, without a word about whose they were. `done_at` None: not finished yet."""

    id: str
    asked_at: Micros
    done_at: Micros | None
    counts: dict[str, int]


class Tombstone(msgspec.Struct, frozen=True):
    """An identifier of somebody who was erased: its hash in hex, and when, ISO 8601."""

    key: str
    at: str


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """Everybody who was erased from a workspace, as hashes: what a restored backup has to be cleared of.

    Attributes:
        format: 1.
        made_at: when it was read, ISO 8601.
        tombstones: oldest first.
    """

    format: int
    made_at: str
    tombstones: list[Tombstone]


def write_ledger(ledger: Ledger, file: Path) -> None:
    """Write a ledger as JSON, whole or not at all."""
    part = file.with_name(f"{file.name}.part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(ledger), indent=1) + b"\n")
    part.replace(file)


def read_ledger(file: Path) -> Ledger:
    """The ledger of a file.

    Raises:
        UserError: it is none.
    """
    try:
        ledger = msgspec.json.decode(file.read_bytes(), type=Ledger)
        for tombstone in ledger.tombstones:
            if len(bytes.fromhex(tombstone.key)) != _KEY_BYTES:
                raise ValueError(f"{tombstone.key} has another length")
            datetime.fromisoformat(tombstone.at)
    except (msgspec.DecodeError, ValueError) as error:
        raise UserError(
            f"this is no ledger of erasures: {error}.",
            code="erasure.ledger",
            where=str(file),
            cure="Name what `vitrina erasures export` wrote, or the folder of a workspace.",
        ) from None
    return ledger


def subjects_in_store(store: Store, wanted: Callable[[str], bool]) -> set[str]:
    """Every subject key in a table about people that `wanted` says yes to."""
    found: set[str] = set()
    with store.read() as connection:
        for table in declared_tables().values():
            subject = declaration(table).subject
            for name in {subject, "high"} & set(table.c.keys()) if subject is not None else ():
                query = select(table.c[name]).distinct().execution_options(stream_results=True)
                found.update(key for key in connection.execute(query).scalars() if key is not None and wanted(key))
    return found


OwnEraser = Callable[[Sequence[str]], Mapping[str, int]]
"""Erases what a room keeps outside plain tables (lake, memory); takes leaf identifiers, gives rows by table."""


class Erasure:
    """Erases people from a workspace.

    Args:
        own: erasers of rooms, run in order after the tables of the store.
        key_of: identifier (`u:…`, `a:…`, `e:…`, `p:…`) → 16-byte tombstone.
        on_tombstones: called with new tombstones once they are committed.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        key_of: Callable[[str], bytes],
        own: Sequence[OwnEraser] = (),
        on_tombstones: Callable[[Sequence[bytes]], None] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._key_of = key_of
        self._own = tuple(own)
        self._on_tombstones = on_tombstones

    def tombstones(self) -> set[bytes]:
        """Keys of everybody who was erased."""
        with self._store.read() as connection:
            return {bytes(key) for key in connection.execute(select(erasure_tombstone.c.key)).scalars()}

    def ledger(self) -> Ledger:
        """Everybody who was erased, to be kept where the workspace can't be lost with it."""
        query = select(erasure_tombstone).order_by(erasure_tombstone.c.at, erasure_tombstone.c.key)
        with self._store.read() as connection:
            rows = [Tombstone(bytes(row.key).hex(), iso(row.at)) for row in connection.execute(query)]
        return Ledger(format=1, made_at=iso(self._clock.now()), tombstones=rows)

    def take_over(self, ledger: Ledger) -> int:
        """Add the tombstones of another workspace; gives how many were new. Those whom they name are still here."""
        rows = [(bytes.fromhex(each.key), instant_of(datetime.fromisoformat(each.at))) for each in ledger.tombstones]
        known = self.tombstones()
        fresh = {key: at for key, at in rows if key not in known}
        self._store.write(
            lambda connection: insert_many(connection, "erasure_tombstone", ("key", "at"), list(fresh.items()))
        )
        if self._on_tombstones is not None and fresh:
            self._on_tombstones(list(fresh))
        return len(fresh)

    def unfinished(self) -> list[str]:
        """Receipts of erasures that were begun and not finished."""
        with self._store.read() as connection:
            query = select(erasure_receipt.c.id).where(erasure_receipt.c.done_at.is_(None))
            return list(connection.execute(query).scalars())

    def begin(self, erasure_id: str, identifiers: Sequence[str]) -> tuple[Micros, list[bytes]]:
        """Lay the tombstones and open the receipt: from now on the erasure will be finished, whatever happens.

        Args:
            erasure_id: id of the receipt; one that is open already stays so.
            identifiers: everything that the person is known by.

        Returns:
            When it was asked for, and the tombstones.
        """
        asked_at = self._clock.now()
        tombstones = [self._key_of(name) for name in identifiers]
        self._store.write(lambda connection: self._begin(connection, erasure_id, tombstones, asked_at))
        return asked_at, tombstones

    def erase(self, erasure_id: str, identifiers: Sequence[str], *, keys: Sequence[str] | None = None) -> Receipt:
        """Erase everything under these leaf identifiers, and keep them from coming back.

        Args:
            erasure_id: id of the receipt; one that was begun before is finished.
            identifiers: leaves (`u:…`, `a:…`) whose rows go.
            keys: further identifiers (`e:…`, `p:…`, `x:…`) that get a tombstone too.
        """
        asked_at, tombstones = self.begin(erasure_id, [*identifiers, *(keys or ())])
        if self._on_tombstones is not None:
            self._on_tombstones(tombstones)
        counts = self._store.write(lambda connection: _delete_rows(connection, identifiers))
        for own in self._own:
            for table, rows in own(identifiers).items():
                counts[table] = counts.get(table, 0) + rows
        done_at = self._clock.now()
        text = msgspec.json.encode(counts, order="sorted").decode()
        self._store.write(
            lambda connection: connection.execute(
                erasure_receipt.update().where(erasure_receipt.c.id == erasure_id).values(done_at=done_at, counts=text)
            )
        )
        return Receipt(id=erasure_id, asked_at=asked_at, done_at=done_at, counts=counts)

    def _begin(self, connection: Connection, erasure_id: str, tombstones: Sequence[bytes], now: Micros) -> None:
        known = set(
            map(
                bytes,
                connection.execute(
                    select(erasure_tombstone.c.key).where(erasure_tombstone.c.key.in_(tombstones))
                ).scalars(),
            )
        )
        fresh = [{"key": key, "at": now} for key in dict.fromkeys(tombstones) if key not in known]
        if fresh:
            connection.execute(erasure_tombstone.insert(), fresh)
        begun = connection.execute(select(erasure_receipt.c.id).where(erasure_receipt.c.id == erasure_id)).first()
        if begun is None:
            connection.execute(erasure_receipt.insert().values(id=erasure_id, asked_at=now, done_at=None, counts="{}"))

    def receipt(self, erasure_id: str) -> Receipt | None:
        """The receipt with this id, or None."""
        with self._store.read() as connection:
            row = connection.execute(select(erasure_receipt).where(erasure_receipt.c.id == erasure_id)).first()
        if row is None:
            return None
        return Receipt(id=row.id, asked_at=row.asked_at, done_at=row.done_at, counts=msgspec.json.decode(row.counts))


def _delete_rows(connection: Connection, subjects: Sequence[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, table in declared_tables().items():
        declared = declaration(table)
        if declared.subject is None or declared.eraser != "delete":
            continue
        column = table.c[declared.subject]
        rows = connection.execute(delete(table).where(column.in_(list(subjects)))).rowcount
        counts[name] = rows
    return counts
