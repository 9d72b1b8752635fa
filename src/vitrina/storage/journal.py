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
import numpy as np
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
from vitrina.storage.insert import insert_many, mark_of
from vitrina.storage.tables import consumer_offset, journal_head

if TYPE_CHECKING:
    from vitrina.storage.store import Store

__all__ = ["CommittedRow", "Journal", "JournalRow", "declare_journal"]

_BIG = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")  # so that SQLite takes it as the row id
_FOR_EVER = 1 << 24  # a day that never comes
_SEAL_ROWS = 1_000
_RETIRED_ROWS = 100_000
_SCAN_IDS = 20_000
_DELETE_ROWS = 1_000


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
            "id": "16 bytes made of the sender's id",
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
        after_failure: called in the writer's thread with rows that could not be written.
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
        self.after_failure: list[Callable[[Sequence[JournalRow]], None]] = []
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
        bounds = (after, (1 << 62) if upto is None else upto, limit)
        return [CommittedRow(*row) for row in self._fetch("seq, id, at, subject, body", bounds)]

    def _fetch(self, columns: str, bounds: tuple[int, int, int]) -> list[tuple[Any, ...]]:
        """Columns of the rows above, up to, and at most so many, over the driver (a third of the cost)."""
        with self.store.read() as connection:
            mark = mark_of(connection.dialect.paramstyle)
            text = f"select {columns} from {self.name}_journal where seq > {mark} and seq <= {mark}"
            cursor = connection.connection.cursor()
            try:
                cursor.execute(f"{text} order by seq limit {mark}", bounds)
                return list(cursor.fetchall())
            finally:
                cursor.close()

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

    def waiting(self, after: int) -> tuple[int, Micros | None]:
        """How many numbers lie above `after`, and when the first row of them came (None when there is none)."""
        query = select(self.table.c.at).where(self.table.c.seq > after).order_by(self.table.c.seq).limit(1)
        with self.store.read() as connection:
            return max(_head(connection, self.name) - after, 0), connection.execute(query).scalar()

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
        while rows := self._fetch("seq, id, at, lasting", (0, upto, _RETIRED_ROWS)):
            if self.sealed is not None:
                self._seal(self.sealed.name, rows)
            for start in range(0, len(rows), _DELETE_ROWS):
                part = rows[start : start + _DELETE_ROWS]
                self.store.write(lambda c, part=part: self._drop(c, part))
            total += len(rows)
        return total

    def _seal(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        """Put ids into the sealed table in their own order, so that each of its pages is written once for many."""
        order = _by_id(rows)
        for start in range(0, len(order), _SEAL_ROWS):
            part = [
                (id16, _FOR_EVER if lasting else at // DAY)
                for _, id16, at, lasting in [rows[place] for place in order[start : start + _SEAL_ROWS]]
            ]
            self.store.write(lambda c, part=part: insert_many(c, table, ("id", "day"), part))

    def _drop(self, connection: Connection, rows: list[tuple[Any, ...]]) -> None:
        """Delete rows, whose ids are sealed, and forget those ids."""
        connection.execute(delete(self.table).where(self.table.c.seq <= rows[-1][0]))
        self.recent.difference_update([row[1] for row in rows])

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
                end = connection.execute(select(window.c.id).order_by(window.c.id.desc()).limit(1)).scalar()
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


def _by_id(rows: list[tuple[Any, ...]]) -> list[int]:
    """Places of rows in the order of the first 8 bytes of their ids; Python's own sort holds every thread up."""
    prefixes = np.frombuffer(b"".join([row[1][:8] for row in rows]), dtype=">u8")
    return np.argsort(prefixes.astype(np.uint64)).tolist()


def _head(connection: Connection, name: str) -> int:
    return connection.execute(select(journal_head.c.seq).where(journal_head.c.journal == name)).scalar() or 0
