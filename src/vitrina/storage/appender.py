"""Appending to one journal inside the writer's transaction: which rows are new, their numbers, the inserts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vitrina.storage.insert import ROWS_A_STATEMENT, values_text
from vitrina.storage.journal import Journal, JournalRow

__all__ = ["Appender"]

_ARRAYS = "%s::bigint[], %s::bytea[], %s::bigint[], %s::text[], %s::smallint[], %s::bytea[]"


class Appender:
    """Many-row inserts of one journal over a raw driver connection (the hot path). Nothing here commits.

    Rows of other processes are noticed by the journal's head, which moves inside every append: then the ids that they
    brought are read before anything is called new. Rows go in as several lists of values (SQLite), or as one array a
    column (PostgreSQL, where the head is a row that is locked first, for it has no lock on the whole).

    Args:
        journal: what is appended to.
        mark: how the driver writes a parameter.
        arrays: the database is PostgreSQL.
    """

    def __init__(self, journal: Journal, mark: str, *, arrays: bool) -> None:
        self._journal = journal
        self._mark = mark
        self._arrays = arrays
        self._columns = f"{journal.name}_journal (seq, id, at, subject, lasting, body)"
        self._sealed = f"select id from {journal.name}_sealed_id where id in "
        self._read_head = f"select seq from journal_head where journal = {mark}" + (" for update" if arrays else "")
        self._move_head = f"update journal_head set seq = {mark} where journal = {mark}"
        self._first_head = f"insert into journal_head (journal, seq) values ({mark}, 0) on conflict do nothing"
        self._new_ids = f"select id from {journal.name}_journal where seq > {mark}"
        journal.recent.clear()  # after a failed group memory may hold ids that were never stored
        journal.known = -1

    def append(self, cursor: Any, rows: Sequence[JournalRow], lasting: bool) -> list[int | None]:
        """Insert rows; the number of each, or None for one that was there already."""
        head = self._head(cursor)
        fresh = self._fresh(cursor, head, rows) if self._journal.dedupe else None
        if fresh is None:
            self._insert(cursor, head, rows, lasting)
            return list(range(head + 1, head + len(rows) + 1))
        new = [row for row, is_new in zip(rows, fresh, strict=True) if is_new]
        self._insert(cursor, head, new, lasting)
        numbers = iter(range(head + 1, head + len(new) + 1))
        return [next(numbers) if is_new else None for is_new in fresh]

    def _head(self, cursor: Any) -> int:
        name = (self._journal.name,)
        cursor.execute(self._read_head, name)
        found = cursor.fetchone()
        if found is None:
            cursor.execute(self._first_head, name)  # another process may have been first
            cursor.execute(self._read_head, name)
            found = cursor.fetchone()
        return found[0]

    def _fresh(self, cursor: Any, head: int, rows: Sequence[JournalRow]) -> list[bool] | None:
        """Which rows are new (the first of two alike is), or None when all are, the common case."""
        journal = self._journal
        recent = journal.recent
        if journal.known != head:
            cursor.execute(self._new_ids, (journal.known,))
            recent.update([bytes(found[0]) for found in cursor.fetchall()])
        ids = [row.id16 for row in rows]
        given = set(ids)
        sealed = self._sealed_among(cursor, ids)
        if not sealed and len(given) == len(ids) and recent.isdisjoint(given):
            recent |= given
            return None
        fresh: list[bool] = []
        for id16 in ids:
            fresh.append(id16 not in recent and id16 not in sealed)
            recent.add(id16)
        return fresh

    def _sealed_among(self, cursor: Any, ids: list[bytes]) -> set[bytes]:
        if self._arrays:
            cursor.execute(f"select id from {self._journal.name}_sealed_id where id = any(%s)", (ids,))
            return {row[0] for row in cursor.fetchall()}
        found: set[bytes] = set()
        for start in range(0, len(ids), ROWS_A_STATEMENT):
            part = ids[start : start + ROWS_A_STATEMENT]
            cursor.execute(self._sealed + values_text(self._mark, len(part), 1), part)
            found.update([bytes(row[0]) for row in cursor.fetchall()])
        return found

    def _insert(self, cursor: Any, head: int, rows: Sequence[JournalRow], lasting: bool) -> None:
        if not rows:
            return
        if self._arrays:
            self._insert_arrays(cursor, head, rows, lasting)
        else:
            self._insert_values(cursor, head, rows, lasting)
        seq = head + len(rows)
        cursor.execute(self._move_head, (seq, self._journal.name))
        self._journal.known = seq

    def _insert_values(self, cursor: Any, head: int, rows: Sequence[JournalRow], lasting: bool) -> None:
        seq, flag = head, int(lasting)
        for start in range(0, len(rows), ROWS_A_STATEMENT):
            part = rows[start : start + ROWS_A_STATEMENT]
            values: list[Any] = []
            for row in part:
                seq += 1
                values += (seq, row.id16, row.at, row.subject, flag, row.body)
            cursor.execute(f"insert into {self._columns} values {values_text(self._mark, 6, len(part))}", values)

    def _insert_arrays(self, cursor: Any, head: int, rows: Sequence[JournalRow], lasting: bool) -> None:
        columns = (
            list(range(head + 1, head + len(rows) + 1)),
            [row.id16 for row in rows],
            [row.at for row in rows],
            [row.subject for row in rows],
            [int(lasting)] * len(rows),
            [row.body for row in rows],
        )
        cursor.execute(f"insert into {self._columns} select * from unnest({_ARRAYS})", columns)
