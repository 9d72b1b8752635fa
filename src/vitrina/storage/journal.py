"""Append-only journals of the store: what came in, in the order in which it was committed.

Numbers are given inside the write transaction, so a reader never sees a row before one with a smaller number, and a
number is never given twice. With `dedupe` a second row with the same 16-byte id is dropped: the ids of rows that are
still here are held in memory (`recent`), those of deleted rows in a table of sealed ids. Ids are sealed in their own
order, many at a time, when rows are deleted, so that a page of the large tree is written once for many ids and not once
for each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    delete,
    func,
    select,
)
from sqlalchemy.dialects import sqlite

from vitrina.core.clock import DAY, Micros
from vitrina.storage.declared import declare, declared_tables
from vitrina.storage.insert import insert_many
from vitrina.storage.tables import consumer_offset, journal_head

if TYPE_CHECKING:
    from vitrina.storage.store import Store

__all__ = ["CommittedRow", "Journal", "JournalRow", "declare_journal"]

_BIG = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")  # so that SQLite takes it as the row id
_FOR_EVER = 1 << 24  # a day that never comes
_SEAL_ROWS = 1_000
_SEAL_SLICES = 100_000
_SCAN_IDS = 20_000
_DELETE_ROWS = 2_000


class JournalRow(msgspec.Struct, frozen=True, gc=False):
    """A row to append: 16-byte id, instant, subject key, stored bytes; `item` is the decoded thing, not stored."""

    id16: bytes
    at: Micros
    subject: str
    body: bytes
    item: Any = None


class CommittedRow(msgspec.Struct, frozen=True, gc=False):
    """A row as committed, with its number; `item` is None when it was read back from the store."""

    seq: int
    id16: bytes
    at: Micros
    subject: str
    body: bytes
    item: Any = None


def declare_journal(name: str, *, dedupe: bool) -> tuple[Table, Table | None]:
    """The tables of a journal: its rows and, with `dedupe`, its sealed ids. Declared once a name."""
    known = declared_tables()
    if f"{name}_journal" in known:
        return known[f"{name}_journal"], known.get(f"{name}_sealed_id")
    rows = declare(
        f"{name}_journal",
        Column("seq", _BIG, primary_key=True, autoincrement=False),
        Column("id", LargeBinary(16), nullable=False, index=not dedupe),
        Column("at", BigInteger, nullable=False),
        Column("subject", String, nullable=False, index=not dedupe),
        Column("lasting", SmallInteger, nullable=False),
        Column("body", LargeBinary, nullable=False),
        subject="subject",
        purpose="essential",
        retention="until every reader has dealt with it" if dedupe else "as long as the setting of the journal says",
        eraser="delete",
        exporter="rows",
        columns={
            "seq": "number in order of commit",
            "id": "16 bytes of the hash of the sender's id",
            "at": "when it was received, microseconds UTC",
            "subject": "subject key of the person",
            "lasting": "1 when its id never expires (imports)",
            "body": "the row itself, as its owner encoded it",
        },
    )
    return rows, _declare_sealed(name) if dedupe else None


def _declare_sealed(name: str) -> Table:
    return declare(
        f"{name}_sealed_id",
        Column("id", LargeBinary(16), primary_key=True),
        Column("day", Integer, nullable=False),
        subject=None,
        purpose="essential",
        retention="as long as repeats are recognised",
        eraser="none",
        exporter="none",
        columns={
            "id": "16 bytes of the hash of the sender's id",
            "day": "day it was received, days since 1970-01-01 UTC; a day that never comes for imports",
        },
        options={"sqlite_with_rowid": False},
    )


class Journal:
    """One append-only table of a store; made by `Store.attach`.

    Args:
        name: prefix of its tables.
        dedupe: drop rows whose id was seen within `keep`.
        keep: how long ids (with `dedupe`) or rows (without) are kept.
        waiting_rows: rows waiting for the writer above which an append is refused.
        waiting_bytes: the same for bytes.

    Attributes:
        after_commit: called in the writer's thread after each commit, with the rows that were not dropped, in order.
        table, sealed: its rows, and its sealed ids (None without `dedupe`).
        recent, known: ids of the rows that are here and the last number they cover (the writer's, not for others).
    """

    def __init__(
        self,
        name: str,
        *,
        dedupe: bool,
        keep: timedelta,
        waiting_rows: int = 20_000,
        waiting_bytes: int = 16_000_000,
    ) -> None:
        self.name = name
        self.dedupe = dedupe
        self.keep = keep
        self.waiting_rows = waiting_rows
        self.waiting_bytes = waiting_bytes
        self.after_commit: list[Callable[[list[CommittedRow]], None]] = []
        self.table, self.sealed = declare_journal(name, dedupe=dedupe)
        self.recent: set[bytes] = set()
        self.known = -1
        self._readers: set[str] = set()
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """The store it is attached to."""
        if self._store is None:
            raise RuntimeError(f"the journal {self.name} isn't attached: store.attach(journal)")
        return self._store

    def bind(self, store: Store) -> None:
        """Say where its rows lie (called by `Store.attach`)."""
        self._store = store

    # reading

    def read(self, after: int = 0, limit: int = 1_000, upto: int | None = None) -> list[CommittedRow]:
        """At most `limit` rows with a number above `after` (and at most `upto`), in order."""
        table = self.table
        query = select(table.c.seq, table.c.id, table.c.at, table.c.subject, table.c.body).where(table.c.seq > after)
        if upto is not None:
            query = query.where(table.c.seq <= upto)
        with self.store.read() as connection:
            found = connection.execute(query.order_by(table.c.seq).limit(limit)).all()
        return [CommittedRow(*row) for row in found]

    def find(self, id16: bytes) -> CommittedRow | None:
        """The row with this id, or None. Fast without `dedupe` (the id is indexed), a scan of the journal with it."""
        table = self.table
        query = select(table.c.seq, table.c.id, table.c.at, table.c.subject, table.c.body).where(table.c.id == id16)
        with self.store.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else CommittedRow(*row)

    def of_subject(self, subjects: Sequence[str]) -> list[CommittedRow]:
        """Every row of these subject keys, in order (a scan with `dedupe`, whose journal is short)."""
        table = self.table
        query = select(table.c.seq, table.c.id, table.c.at, table.c.subject, table.c.body)
        query = query.where(table.c.subject.in_(list(subjects))).order_by(table.c.seq)
        with self.store.read() as connection:
            return [CommittedRow(*row) for row in connection.execute(query)]

    def last(self) -> int:
        """The highest number given so far, 0 if none."""
        with self.store.read() as connection:
            return _head(connection, self.name)

    def count(self) -> int:
        """Rows in the journal now."""
        with self.store.read() as connection:
            return connection.execute(select(func.count()).select_from(self.table)).scalar_one()

    # readers and their offsets

    def subscribe(self, reader: str) -> int:
        """Register a reader (`lake`, `fold`): rows are not deleted before it has dealt with them. Gives its offset."""
        self._readers.add(reader)
        return self.offset(reader)

    def offset(self, reader: str) -> int:
        """The last number that this reader has dealt with, 0 if none."""
        with self.store.read() as connection:
            return self._offset(connection, reader)

    def pending(self, reader: str) -> bool:
        """True when this reader has rows to deal with, or, with `dedupe`, rows wait to be deleted."""
        with self.store.read() as connection:
            if _head(connection, self.name) > self._offset(connection, reader):
                return True
            return self.dedupe and connection.execute(select(self.table.c.seq).limit(1)).first() is not None

    def advance(self, connection: Connection, reader: str, seq: int, now: Micros) -> None:
        """Record, in the caller's transaction, that `reader` has dealt with every row up to `seq`."""
        name = f"{self.name}.{reader}"
        values = {"seq": seq, "at": now}
        done = connection.execute(consumer_offset.update().where(consumer_offset.c.consumer == name).values(values))
        if done.rowcount == 0:
            connection.execute(consumer_offset.insert().values(consumer=name, **values))

    def _offset(self, connection: Connection, reader: str) -> int:
        query = select(consumer_offset.c.seq).where(consumer_offset.c.consumer == f"{self.name}.{reader}")
        return connection.execute(query).scalar() or 0

    # deleting

    def delete(self, upto: int) -> int:
        """Delete rows up to `upto` that every subscribed reader has dealt with, a few at a time; gives how many."""
        with self.store.read() as connection:
            upto = min([upto, *(self._offset(connection, reader) for reader in self._readers)])
        total = 0
        while (end := self._end_of_slice(upto)) is not None:
            self._seal(end)
            total += self._delete_rows(end)
        return total

    def _end_of_slice(self, upto: int) -> int | None:
        """The last number of the next rows to delete, or None."""
        seq = self.table.c.seq
        size = _SEAL_SLICES if self.dedupe else _DELETE_ROWS
        window = select(seq).where(seq <= upto).order_by(seq).limit(size).subquery()
        with self.store.read() as connection:
            return connection.execute(select(func.max(window.c.seq))).scalar()

    def _delete_rows(self, upto: int) -> int:
        """Delete rows up to a number, whose ids are sealed, and forget those ids."""
        table, total = self.table, 0

        def drop(connection: Connection) -> int:
            window = (
                select(table.c.seq, table.c.id).where(table.c.seq <= upto).order_by(table.c.seq).limit(_DELETE_ROWS)
            )
            rows = connection.execute(window).all()
            if rows:
                connection.execute(delete(table).where(table.c.seq <= rows[-1].seq))
                self.recent.difference_update([row.id for row in rows])
            return len(rows)

        while gone := self.store.write(drop):
            total += gone
        return total

    def _seal(self, upto: int) -> None:
        """Put the ids of rows up to a number into the sealed table, in order of id."""
        sealed, table = self.sealed, self.table
        if sealed is None:
            return
        query = select(table.c.id, table.c.at, table.c.lasting).where(table.c.seq <= upto)
        with self.store.read() as connection:
            found = connection.execute(query).all()
        ids = sorted((row.id, _FOR_EVER if row.lasting else row.at // DAY) for row in found)
        for start in range(0, len(ids), _SEAL_ROWS):
            part = ids[start : start + _SEAL_ROWS]
            self.store.write(lambda c, part=part: insert_many(c, sealed.name, ("id", "day"), part))

    def forget_ids(self, before: Micros) -> int:
        """Forget sealed ids of days before `before`, except lasting ones; gives how many. A scan: do it once a day."""
        sealed = self.sealed
        if sealed is None:
            return 0
        total, start, day = 0, b"", before // DAY
        while True:
            with self.store.read() as connection:
                window = (
                    select(sealed.c.id).where(sealed.c.id > start).order_by(sealed.c.id).limit(_SCAN_IDS).subquery()
                )
                end = connection.execute(select(func.max(window.c.id))).scalar()
            if end is None:
                return total
            old = delete(sealed).where(sealed.c.id > start, sealed.c.id <= end, sealed.c.day < day)
            total += self.store.write(lambda c, old=old: c.execute(old).rowcount)
            start = end

    def delete_before(self, at: Micros) -> int:
        """Delete rows received before `at` that every subscribed reader has dealt with (retention). Gives how many."""
        with self.store.read() as connection:
            end = connection.execute(select(func.max(self.table.c.seq)).where(self.table.c.at < at)).scalar()
        return 0 if end is None else self.delete(end)

    def delete_subjects(self, connection: Connection, subjects: Sequence[str]) -> int:
        """Delete every row of these subject keys in the caller's transaction (erasure). Gives how many."""
        return connection.execute(delete(self.table).where(self.table.c.subject.in_(list(subjects)))).rowcount


def _head(connection: Connection, name: str) -> int:
    return connection.execute(select(journal_head.c.seq).where(journal_head.c.journal == name)).scalar() or 0
