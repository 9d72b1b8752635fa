"""The decision log: one row a decision, written through the store's writer before anybody is answered."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import select

from vitrina.core.clock import Micros
from vitrina.core.decision import DecisionRow
from vitrina.core.ids import hash16
from vitrina.core.meter import OTHER, Tally
from vitrina.decide.tables import REQUEST, read_decision
from vitrina.storage.journal import CommittedRow, Journal, JournalRow
from vitrina.storage.store import Store
from vitrina.storage.ticket import Ticket

__all__ = ["Counted", "DecisionLog", "decision_key"]

_RECENT = 5_000
_LATEST = 100_000
_encode = msgspec.msgpack.Encoder().encode


class Counted(NamedTuple):
    """What decisions are counted by: placement; held out, with personal data, with nothing to show."""

    placement: str
    holdout: bool
    personalised: bool
    empty: bool


class DecisionLog:
    """The journal `decisions`, read and written as `DecisionRow`s.

    Attributes:
        counted: decisions that this process logged since it began.
    """

    def __init__(self, store: Store, journal: Journal) -> None:
        self.store = store
        self.journal = journal
        self._recent: OrderedDict[str, DecisionRow] = OrderedDict()
        self._lock = threading.Lock()
        self.counted: Tally[Counted] = Tally(most=400, other=Counted(OTHER, False, False, False))
        journal.after_commit.append(self._count)

    def append(self, row: DecisionRow, request_key: bytes | None = None) -> Ticket[list[int | None]]:
        """Queue a row; the ticket is done when it is on disk.

        Args:
            request_key: 16 bytes under which `of_request` finds the row again.

        Raises:
            OverloadedError: too many rows wait to be written.
        """
        rows = [JournalRow(decision_key(row.id), row.at, row.subject, _encode(row), row)]
        if request_key is not None:
            rows.append(JournalRow(request_key, row.at, row.subject, REQUEST + row.id.encode()))
        ticket = self.store.writer.append(self.journal, rows)
        with self._lock:
            self._recent[row.id] = row
            if len(self._recent) > _RECENT:
                self._recent.popitem(last=False)
        return ticket

    def _count(self, rows: list[CommittedRow]) -> None:
        for committed in rows:
            row = committed.item
            if isinstance(row, DecisionRow):
                self.counted.add(Counted(row.placement, row.holdout, row.personalised, not row.items))

    def find(self, decision_id: str) -> DecisionRow | None:
        """The row with this id, or None."""
        row = self._recent.get(decision_id)
        if row is not None:
            return row
        committed = self.journal.find(decision_key(decision_id))
        return None if committed is None else read_decision(committed)

    def of_request(self, request_key: bytes) -> DecisionRow | None:
        """The row that answered a request id (see `append`), or None."""
        pointer = self.journal.find(request_key)
        if pointer is None or not pointer.body.startswith(REQUEST):
            return None
        return self.find(pointer.body[len(REQUEST) :].decode())

    def read(self, after: int = 0, limit: int = 1_000) -> list[tuple[int, DecisionRow]]:
        """Rows with a number above `after`, in order: at most `limit` of the journal's rows are looked at."""
        return list(_decisions(self.journal.read(after, limit)))

    def latest(self, span: Micros) -> list[DecisionRow]:
        """The decisions of the last `span` microseconds before the newest one, oldest first."""
        table = self.journal.table
        with self.store.read() as connection:
            newest = connection.execute(select(table.c.at).order_by(table.c.seq.desc()).limit(1)).scalar()
            if newest is None:
                return []
            before = select(table.c.seq).where(table.c.at < newest - span).order_by(table.c.seq.desc()).limit(1)
            start = connection.execute(before).scalar() or 0
        return [row for _, row in _decisions(self.journal.read(start, _LATEST))]

    def of_subject(self, subjects: list[str]) -> list[DecisionRow]:
        """Every row of these subject keys, oldest first."""
        return [row for _, row in _decisions(self.journal.of_subject(subjects))]

    def forget(self, subjects: set[str]) -> None:
        """Drop these people's rows from memory (the store's are deleted by their subject)."""
        with self._lock:
            gone = [
                key for key, row in self._recent.items() if row.subject in subjects or row.other_subject in subjects
            ]
            for key in gone:
                del self._recent[key]


def decision_key(decision_id: str) -> bytes:
    """The journal's id of a decision: the time in its id (see `new_id`), then 6 bytes of its hash.

    So rows come in the order of their index, and a commit writes its last page, not a page a row: three tenths of
    the writer's time and of the bytes it writes.
    """
    hashed = hash16(decision_id, b"decision")
    moment = decision_id[2:12].encode("utf-8", "replace")
    return moment + hashed[:6] if len(moment) == 10 else hashed


def _decisions(rows: list[CommittedRow]) -> Iterator[tuple[int, Any]]:
    for committed in rows:
        row = read_decision(committed)
        if row is not None:
            yield committed.seq, row
