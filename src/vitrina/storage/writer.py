"""The one writer of a store: one thread, one connection, one queue, one commit for all that waits.

Linger is zero: the commit in flight is the wait in which the next group gathers. A group holds rows of journals and
calls; calls run in savepoints of their own, so one that fails takes nothing else with it. When the disk or the database
fails, the group is rolled back, everybody in it is told, and the writer is not `healthy` until a write works again.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError

from vitrina.core.errors import ConflictError, MachineError, OverloadedError
from vitrina.storage.appender import Appender
from vitrina.storage.insert import mark_of
from vitrina.storage.journal import CommittedRow, Journal, JournalRow
from vitrina.storage.ticket import Ticket, settle

__all__ = ["Writer"]

T = TypeVar("T")
log = logging.getLogger("vitrina.storage")

GROUP_ROWS = 1_000
_PROBE_SECONDS = 1.0
_SQLITE_FAULTS = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_INTERRUPT,
}


class _Append:
    __slots__ = ("journal", "lasting", "rows", "size", "ticket")

    def __init__(self, journal: Journal, rows: Sequence[JournalRow], lasting: bool, size: int) -> None:
        self.journal = journal
        self.rows = rows
        self.lasting = lasting
        self.size = size
        self.ticket: Ticket[list[int | None]] = Ticket()


class _Call:
    __slots__ = ("fn", "ticket")

    def __init__(self, fn: Callable[[Connection], Any]) -> None:
        self.fn = fn
        self.ticket: Ticket[Any] = Ticket()


_Job = _Append | _Call
_Outcome = tuple[Any, BaseException | None]
_STOP: Any = object()


def _is_machine_fault(error: BaseException) -> bool:
    """True when the disk or the server failed, not the statement."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return (getattr(cause, "sqlite_errorcode", 0) & 0xFF) in _SQLITE_FAULTS
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _as_machine_error(error: BaseException) -> MachineError:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return MachineError(
        f"the store could not be written: {cause}.",
        code="store.write",
        cure="Check the free space and the state of the disk; nothing of this write was kept, so it can be sent again.",
    )


class Writer:
    """Writes groups in order. Made by `Store.open`.

    Attributes:
        healthy: False after a failed group until a write works again.
        cause: why it is not healthy, or None.
    """

    def __init__(self, engine: Engine, *, threaded: bool) -> None:
        self.healthy = True
        self.cause: MachineError | None = None
        self._engine = engine
        self._connection: Connection | None = None
        self._appenders: dict[str, Appender] = {}
        self._queue: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._waiting: dict[str, list[int]] = {}
        self._lock = threading.RLock()
        self._closed = False
        self._thread: threading.Thread | None = None
        if threaded:
            self._thread = threading.Thread(target=self._run, name="vitrina-writer", daemon=True)
            self._thread.start()

    def append(
        self, journal: Journal, rows: Sequence[JournalRow], *, lasting: bool = False
    ) -> Ticket[list[int | None]]:
        """Queue rows for a journal, all or none of them.

        Args:
            journal: an attached journal.
            rows: what to append; must not change afterwards.
            lasting: their ids never expire (imports, which may be repeated after years).

        Returns:
            A ticket for the number of each row, None for one whose id was there already.

        Raises:
            OverloadedError: too many rows or bytes of this journal wait already.
        """
        size = sum([len(row.body) for row in rows])
        job = _Append(journal, rows, lasting, size)
        if self._thread is None:
            self._work([job])
            return job.ticket
        with self._lock:
            self._check_open()
            waiting = self._waiting.setdefault(journal.name, [0, 0])
            if waiting[0] and (
                waiting[0] + len(rows) > journal.waiting_rows or waiting[1] + size > journal.waiting_bytes
            ):
                raise OverloadedError(
                    f"{waiting[0]} rows of {journal.name} wait to be stored already.", code=f"{journal.name}.overloaded"
                )
            waiting[0] += len(rows)
            waiting[1] += size
            self._queue.put(job)
        return job.ticket

    def call(self, fn: Callable[[Connection], T]) -> Ticket[T]:
        """Queue `fn` for the next transaction, in a savepoint of its own; the ticket gives what it returns."""
        job = _Call(fn)
        if self._thread is None:
            self._work([job])
            return job.ticket
        with self._lock:
            self._check_open()
            self._queue.put(job)
        return job.ticket

    def check_caller(self) -> None:
        """A `RuntimeError` in the writer's own thread, where waiting for a commit would never end."""
        if self._thread is threading.current_thread():
            raise RuntimeError("the writer can't wait for itself: use the connection you were given")

    def waiting(self, journal: Journal) -> tuple[int, int]:
        """Rows and bytes of a journal that wait to be stored."""
        rows, size = self._waiting.get(journal.name, (0, 0))
        return rows, size

    def close(self) -> None:
        """Write what waits, then stop. Appending afterwards is a `MachineError`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._thread is not None:
                self._queue.put(_STOP)
        if self._thread is not None:
            self._thread.join()
        self._disconnect()
        self._engine.dispose()

    def _check_open(self) -> None:
        if self._closed:
            raise MachineError("the store is closed.", code="store.closed")

    # the thread

    def _run(self) -> None:
        held: _Job | None = None
        while True:
            job = held if held is not None else self._next()
            held = None
            if job is _STOP:
                return
            group, rows = [job], _rows(job)
            while rows < GROUP_ROWS:
                try:
                    job = self._queue.get_nowait()
                except queue.Empty:
                    break
                if job is _STOP or rows + _rows(job) > GROUP_ROWS:
                    held = job
                    break
                group.append(job)
                rows += _rows(job)
            self._work(group)

    def _next(self) -> _Job:
        while True:
            try:
                return self._queue.get(timeout=None if self.healthy else _PROBE_SECONDS)
            except queue.Empty:
                self._probe()

    def _work(self, group: list[_Job]) -> None:
        """One transaction: do it, tell who listens, wake who waits."""
        with self._lock if self._thread is None else _NO_LOCK:
            self._check_open() if self._thread is None else None
            outcomes: list[_Outcome]
            try:
                outcomes = self._commit(group)
            except Exception as error:
                fault = self._failed(error)
                outcomes = [(None, fault) for _ in group]
            else:
                self.healthy, self.cause = True, None
        if self._thread is not None:
            self._release(group)
        self._announce(group, outcomes)
        settle((job.ticket, value, error) for job, (value, error) in zip(group, outcomes, strict=True))

    def _release(self, group: list[_Job]) -> None:
        with self._lock:
            for job in group:
                if isinstance(job, _Append):
                    waiting = self._waiting[job.journal.name]
                    waiting[0] -= len(job.rows)
                    waiting[1] -= job.size

    def _announce(self, group: list[_Job], outcomes: list[_Outcome]) -> None:
        rows: dict[Journal, list[CommittedRow]] = {}
        for job, (value, error) in zip(group, outcomes, strict=True):
            if isinstance(job, _Append) and error is None and job.journal.after_commit:
                rows.setdefault(job.journal, []).extend(
                    CommittedRow(seq, row.id16, row.at, row.subject, row.body, row.item)
                    for seq, row in zip(value, job.rows, strict=True)
                    if seq is not None
                )
        for journal, committed in rows.items():
            for listener in journal.after_commit if committed else ():
                try:
                    listener(committed)
                except Exception:
                    log.exception("a listener of the journal %s failed; its rows are stored", journal.name)

    # the transaction

    def _commit(self, group: list[_Job]) -> list[_Outcome]:
        connection = self._connect()
        outcomes: list[_Outcome] = []
        with connection.begin():
            cursor = connection.connection.cursor()
            try:
                outcomes = self._apply(connection, cursor, group)
            finally:
                cursor.close()
        return outcomes

    def _apply(self, connection: Connection, cursor: Any, group: list[_Job]) -> list[_Outcome]:
        results: dict[int, _Outcome] = {}
        batches: dict[tuple[str, bool], list[_Append]] = {}
        for job in group:
            if isinstance(job, _Append):
                batches.setdefault((job.journal.name, job.lasting), []).append(job)
        for jobs in batches.values():
            self._append_all(cursor, jobs, results)
        for job in group:
            if isinstance(job, _Call):
                results[id(job)] = self._call_one(connection, job)
        return [results[id(job)] for job in group]

    def _append_all(self, cursor: Any, jobs: list[_Append], results: dict[int, _Outcome]) -> None:
        appender = self._appender(jobs[0].journal)
        if len(jobs) == 1:
            results[id(jobs[0])] = (appender.append(cursor, jobs[0].rows, jobs[0].lasting), None)
            return
        rows = [row for job in jobs for row in job.rows]
        numbers = appender.append(cursor, rows, jobs[0].lasting)
        start = 0
        for job in jobs:
            end = start + len(job.rows)
            results[id(job)] = (numbers[start:end], None)
            start = end

    def _call_one(self, connection: Connection, job: _Call) -> _Outcome:
        savepoint = connection.begin_nested()
        try:
            value = job.fn(connection)
            savepoint.commit()
        except Exception as error:
            if _is_machine_fault(error):
                raise
            savepoint.rollback()
            return None, error
        return value, None

    def _appender(self, journal: Journal) -> Appender:
        found = self._appenders.get(journal.name)
        if found is None:
            dialect = self._engine.dialect
            found = Appender(journal, mark_of(dialect.paramstyle), locks=dialect.name != "sqlite")
            self._appenders[journal.name] = found
        return found

    # the connection

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception:
                log.warning("the writer's connection did not close cleanly", exc_info=True)

    def _failed(self, error: BaseException) -> BaseException:
        """Drop the connection, remember why, and give the error that the waiters get."""
        self._disconnect()
        self._appenders.clear()
        if isinstance(error, IntegrityError):
            return ConflictError(f"it contradicts what is stored: {error.orig}.", code="store.conflict")
        fault = _as_machine_error(error)
        self.healthy, self.cause = False, fault
        log.error("the store could not be written: %s", error)
        return fault

    def _probe(self) -> None:
        """While unhealthy and idle: try a small write, so that readiness comes back by itself."""
        self._work([_Call(_touch)])


def _touch(connection: Connection) -> None:
    """A write of one row that changes nothing."""
    connection.exec_driver_sql("update consumer_offset set seq = seq where consumer = 'probe'")


def _rows(job: _Job) -> int:
    return len(job.rows) if isinstance(job, _Append) else 1


class _NoLock:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


_NO_LOCK = _NoLock()
