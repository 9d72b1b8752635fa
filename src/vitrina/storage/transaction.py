"""One transaction for a group of jobs: rows for journals, and calls in savepoints of their own."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from vitrina.core.errors import MachineError
from vitrina.storage.appender import Appender
from vitrina.storage.insert import mark_of
from vitrina.storage.journal import Journal, JournalRow
from vitrina.storage.ticket import Ticket

__all__ = ["Alone", "Append", "Call", "Job", "Outcome", "Transactions", "as_machine_error", "is_machine_fault"]

log = logging.getLogger("vitrina.storage")

_FAULTS = frozenset(
    getattr(sqlite3, f"SQLITE_{name}")
    for name in ("FULL", "IOERR", "CORRUPT", "READONLY", "NOMEM", "CANTOPEN", "BUSY", "LOCKED", "NOTADB", "INTERRUPT")
)


class Append:
    """Rows for a journal, all or none of them; `size` in bytes."""

    __slots__ = ("journal", "lasting", "rows", "size", "ticket")

    def __init__(self, journal: Journal, rows: Sequence[JournalRow], *, lasting: bool) -> None:
        self.journal = journal
        self.rows = rows
        self.lasting = lasting
        self.size = sum([len(row.body) for row in rows])
        self.ticket: Ticket[list[int | None]] = Ticket()


class Call:
    """A function to run in the transaction."""

    __slots__ = ("fn", "ticket")

    def __init__(self, fn: Callable[[Connection], Any]) -> None:
        self.fn = fn
        self.ticket: Ticket[Any] = Ticket()


class Alone:
    """Statements that can't be in a transaction; a group of its own."""

    __slots__ = ("statements", "ticket")

    def __init__(self, statements: Sequence[str]) -> None:
        self.statements = statements
        self.ticket: Ticket[None] = Ticket()


Job = Append | Call | Alone
Outcome = tuple[Any, BaseException | None]


_FAULT_CLASSES = ("08", "25", "40", "53", "55", "57", "58", "XX")
"""Classes of SQLSTATE (PostgreSQL, appendix A) that speak of the connection, the transaction or the server."""


def is_machine_fault(error: BaseException) -> bool:
    """True when the disk or the server failed, not the statement."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return (getattr(cause, "sqlite_errorcode", 0) & 0xFF) in _FAULTS
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if not isinstance(error, DBAPIError) and not hasattr(cause, "sqlstate"):  # psycopg's own errors have it
        return False
    state: str | None = getattr(cause, "sqlstate", None)
    return (state or "08").startswith(_FAULT_CLASSES)


def as_machine_error(error: BaseException, *, reading: bool = False) -> MachineError:
    """What the waiters of a failed group are told, or who could not read."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if reading:
        cure = "Check that the disk or the database is there, and ask again."
        return MachineError(f"the store could not be read: {cause}.", code="store.read", cure=cure)
    return MachineError(
        f"the store could not be written: {cause}.",
        code="store.write",
        cure="Check the free space and the state of the disk; nothing of this write was kept, so it can be sent again.",
    )


class Transactions:
    """The writer's connection. Used by one thread at a time.

    Args:
        engine: makes the connection, and again after a fault.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._raw: Any = None
        self._appenders: dict[str, Appender] = {}
        self._begin = "begin immediate" if engine.dialect.name == "sqlite" else None

    def commit(self, group: Sequence[Job]) -> list[Outcome]:
        """Do a group of jobs and commit it; the outcome of each, in order.

        Raises:
            Exception: the group could not be written; nothing of it is kept. Call `reset` before the next one.
        """
        connection = self._connect()
        if isinstance(group[0], Alone):
            return [(None, self._alone(group[0].statements))]
        if any(isinstance(job, Call) for job in group):
            with connection.begin():
                return self._apply(connection, self._raw, group)
        raw = self._raw  # without calls nothing needs SQLAlchemy's own bookkeeping, which costs as much as three rows
        try:
            if self._begin is not None:
                raw.execute(self._begin)
            outcomes = self._apply(connection, raw, group)
            raw.commit()
        except BaseException:
            with contextlib.suppress(Exception):  # a connection that is gone can't be told
                raw.rollback()
            raise
        return outcomes

    def _alone(self, statements: Sequence[str]) -> MachineError | None:
        """Run statements outside a transaction; what went wrong, or None."""
        sqlite = self._engine.dialect.name == "sqlite"
        if not sqlite:
            self._raw.rollback()
            self._raw.autocommit = True
        try:
            for statement in statements:
                cursor = self._raw.execute(statement)
                row = cursor.fetchone() if cursor.description else None
                if row is not None and row[0] == 1:  # how a checkpoint says that it was kept from finishing
                    return as_machine_error(sqlite3.OperationalError("a long read kept the log from being emptied"))
        except self._engine.dialect.loaded_dbapi.Error as error:
            return as_machine_error(error)
        finally:
            if not sqlite:
                self._raw.autocommit = False
        return None

    def reset(self) -> None:
        """Drop the connection and what memory knows of it."""
        connection, self._connection, self._raw = self._connection, None, None
        self._appenders.clear()
        if connection is None:
            return
        try:
            connection.invalidate()  # not back to the pool: the next one is a new one
            connection.close()
        except Exception:
            log.warning("the writer's connection did not close cleanly", exc_info=True)

    def close(self) -> None:
        """Close for good."""
        self.reset()
        self._engine.dispose()

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
            self._raw = self._connection.connection.dbapi_connection
        return self._connection

    def _apply(self, connection: Connection, raw: Any, group: Sequence[Job]) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        batches: dict[tuple[str, bool], list[Append]] = {}
        for job in group:
            if isinstance(job, Append):
                batches.setdefault((job.journal.name, job.lasting), []).append(job)
        if batches:
            cursor = raw.cursor()
            try:
                for jobs in batches.values():
                    self._append(cursor, jobs, outcomes)
            finally:
                cursor.close()
        for job in group:
            if isinstance(job, Call):
                outcomes[id(job)] = self._call(connection, job)
        return [outcomes[id(job)] for job in group]

    def _append(self, cursor: Any, jobs: list[Append], outcomes: dict[int, Outcome]) -> None:
        appender = self._appender(jobs[0].journal)
        rows = jobs[0].rows if len(jobs) == 1 else [row for job in jobs for row in job.rows]
        numbers = appender.append(cursor, rows, jobs[0].lasting)
        start = 0
        for job in jobs:
            end = start + len(job.rows)
            outcomes[id(job)] = (numbers[start:end], None)
            start = end

    def _call(self, connection: Connection, job: Call) -> Outcome:
        savepoint = connection.begin_nested()
        try:
            value = job.fn(connection)
            savepoint.commit()
        except Exception as error:
            if is_machine_fault(error):
                raise
            savepoint.rollback()
            return None, error
        return value, None

    def _appender(self, journal: Journal) -> Appender:
        found = self._appenders.get(journal.name)
        if found is None:
            dialect = self._engine.dialect
            found = Appender(journal, mark_of(dialect.paramstyle), arrays=dialect.name != "sqlite")
            self._appenders[journal.name] = found
        return found
