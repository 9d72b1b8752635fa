"""Append-only journals of the store: what came in, in the order in which it was committed.

Numbers are given inside the write transaction, so a reader never sees a row before one with a smaller number, and a
number is never given twice. With `dedupe` a second row with the same 16-byte id is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Integer, LargeBinary, String, Table, delete, func, select
from sqlalchemy.dialects import sqlite

from vitrina.core.clock import DAY, Micros
from vitrina.storage.declared import declare, declared_tables
from vitrina.storage.tables import consumer_offset, journal_head

if TYPE_CHECKING:
    from vitrina.storage.store import Store

__all__ = ["CommittedRow", "Journal", "JournalRow", "declare_journal"]

_BIG = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")  # so that SQLite takes it as the row id
ROWS_A_STATEMENT = 100
FOR_EVER = 1 << 24
HOT_IDS = 50_000
SLICE = 4_000


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


def declare_journal(name: str, *, dedupe: bool) -> tuple[Table, ...]:
    """The tables of a journal: its rows and, with `dedupe`, its hot and sealed ids. Declared once a name."""
    known = declared_tables()
    if f"{name}_journal" in known:
        names = [f"{name}_journal", f"{name}_id_hot", f"{name}_id_sealed"]
        return tuple(known[n] for n in names if n in known)
    rows = declare(
        f"{name}_journal",
        Column("seq", _BIG, primary_key=True, autoincrement=False),
        Column("id", LargeBinary(16), nullable=False, index=not dedupe, unique=None if dedupe else True),
        Column("at", BigInteger, nullable=False),
        Column("subject", String, nullable=False, index=not dedupe),
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
            "body": "the row itself, as its owner encoded it",
        },
    )
    if not dedupe:
        return (rows,)
    return (rows, *(_declare_ids(f"{name}_id_{kind}") for kind in ("hot", "sealed")))


def _declare_ids(name: str) -> Table:
    return declare(
        name,
        Column("id", LargeBinary(16), primary_key=True),
        Column("day", Integer, nullable=False),
        subject=None,
        purpose="essential",
        retention="as long as repeats are recognised",
        eraser="none",
        exporter="none",
        columns={
            "id": "16 bytes of the hash of the sender's id",
            "day": "day it was received, days since 1970-01-01 UTC; a far day for imports, which never expire",
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
        self.tables = declare_journal(name, dedupe=dedupe)
        self.table = self.tables[0]
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
        table, total = self.table, 0
        while True:
            with self.store.read() as connection:
                window = select(table.c.seq).where(table.c.seq <= upto).order_by(table.c.seq).limit(SLICE).subquery()
                end = connection.execute(select(func.max(window.c.seq))).scalar()
            if end is None:
                return total
            total += self.store.write(lambda c, end=end: c.execute(delete(table).where(table.c.seq <= end)).rowcount)

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


class Inserter:
    """Multi-row inserts of one journal over a raw driver connection (the hot path).

    Statement texts are kept by row count, so that the driver finds them prepared. Nothing here commits.
    """

    def __init__(self, journal: Journal, mark: str) -> None:
        self._name = journal.name
        self._dedupe = journal.dedupe
        self._mark = mark
        self._rows_sql: dict[int, str] = {}
        self._ids_sql: dict[int, str] = {}
        self._hot = 0
        self._keep_days = max(1, journal.keep // timedelta(days=1))
        self._next_head = f"update journal_head set seq = seq + {mark} where journal = {mark} returning seq"
        self._savepoint = "savepoint ids"

    def append(self, cursor: Any, rows: Sequence[JournalRow], lasting: bool) -> list[int | None]:
        """Insert rows; the number of each, or None for one that was there already."""
        if not self._dedupe:
            return list(self._insert(cursor, rows))
        fresh = self._fresh(cursor, rows, lasting)
        if fresh is None:
            return list(self._insert(cursor, rows))
        numbers = iter(self._insert(cursor, [row for row, new in zip(rows, fresh, strict=True) if new]))
        return [next(numbers) if new else None for new in fresh]

    def _insert(self, cursor: Any, rows: Sequence[JournalRow]) -> range:
        if not rows:
            return range(0)
        count = len(rows)
        cursor.execute(self._next_head, (count, self._name))
        found = cursor.fetchone()
        if found is None:
            cursor.execute(
                f"insert into journal_head (journal, seq) values ({self._mark}, {self._mark})", (self._name, count)
            )
            found = (count,)
        first = found[0] - count + 1
        seq = first
        for start in range(0, count, ROWS_A_STATEMENT):
            part = rows[start : start + ROWS_A_STATEMENT]
            values: list[Any] = []
            for row in part:
                values += (seq, row.id16, row.at, row.subject, row.body)
                seq += 1
            cursor.execute(self._rows_text(len(part)), values)
        return range(first, first + count)

    def _fresh(self, cursor: Any, rows: Sequence[JournalRow], lasting: bool) -> list[bool] | None:
        """Enter the ids; which rows are new, or None when all are (the common case)."""
        cursor.execute("savepoint ids")
        if self._enter(cursor, rows, lasting):
            cursor.execute("release savepoint ids")
            return None
        cursor.execute("rollback to savepoint ids")
        new: set[bytes] = set()
        for start in range(0, len(rows), ROWS_A_STATEMENT):
            part = rows[start : start + ROWS_A_STATEMENT]
            cursor.execute(self._ids_text(len(part)) + " returning id", self._ids_values(part, lasting))
            new.update(bytes(found[0]) for found in cursor.fetchall())
        cursor.execute("release savepoint ids")
        self._hot += len(new)
        fresh: list[bool] = []
        for row in rows:
            fresh.append(row.id16 in new)
            new.discard(row.id16)
        return fresh

    def _enter(self, cursor: Any, rows: Sequence[JournalRow], lasting: bool) -> bool:
        for start in range(0, len(rows), ROWS_A_STATEMENT):
            part = rows[start : start + ROWS_A_STATEMENT]
            cursor.execute(self._ids_text(len(part)), self._ids_values(part, lasting))
            if cursor.rowcount != len(part):
                return False
        self._hot += len(rows)
        return True

    def _ids_values(self, rows: Sequence[JournalRow], lasting: bool) -> list[Any]:
        day = FOR_EVER if lasting else rows[0].at // DAY
        values: list[Any] = []
        for row in rows:
            values += (row.id16, day)
        return values

    def _rows_text(self, count: int) -> str:
        text = self._rows_sql.get(count)
        if text is None:
            one = "(" + ", ".join([self._mark] * 5) + ")"
            text = f"insert into {self._name}_journal (seq, id, at, subject, body) values " + ", ".join([one] * count)
            self._rows_sql[count] = text
        return text

    def _ids_text(self, count: int) -> str:
        text = self._ids_sql.get(count)
        if text is None:
            values = ", ".join([f"({self._mark}, {self._mark})"] * count)
            text = (
                f"with given (id, day) as (values {values}) "
                f"insert into {self._name}_id_hot (id, day) select id, day from given "
                f"where not exists (select 1 from {self._name}_id_sealed s where s.id = given.id) "
                "on conflict do nothing"
            )
            self._ids_sql[count] = text
        return text
