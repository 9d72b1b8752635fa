"""The one writer of a store: one thread, one connection, one queue, one commit for all that waits.

Linger is zero: the commit in flight is the wait in which the next group gathers. When the disk or the database fails,
the group is rolled back, everybody in it is told, and the writer is not `healthy` until a write works again.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, update

from vitrina.core.errors import MachineError, OverloadedError
from vitrina.core.meter import Histogram, Tally
from vitrina.storage.journal import CommittedRow, Journal, JournalRow
from vitrina.storage.tables import consumer_offset
from vitrina.storage.ticket import Ticket, settle
from vitrina.storage.transaction import (
    Alone,
    Append,
    Call,
    Job,
    Outcome,
    Transactions,
    as_machine_error,
    is_machine_fault,
)

__all__ = ["GROUP_ROWS", "Writer", "WriterMeter"]

T = TypeVar("T")
log = logging.getLogger("vitrina.storage")

GROUP_ROWS = 1_000
_PROBE_SECONDS = 1.0
_DOUBT_SECONDS = 2.0
_STOP: Any = object()


class WriterMeter:
    """What a writer did since it was opened.

    Attributes:
        groups: rows a group (calls are not rows).
        commits: seconds a group took, from its first statement to the end of its commit.
        failures: groups that could not be written.
        rows, repeats: rows stored, and dropped because they were there, by journal.
        committed_at: when a group was last written, on the monotonic clock.
    """

    def __init__(self) -> None:
        self.groups = Histogram((1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000))
        self.commits = Histogram((0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0))
        self.failures = 0
        self.rows: Tally[str] = Tally(most=20, other="other")
        self.repeats: Tally[str] = Tally(most=20, other="other")
        self.committed_at = time.monotonic()

    def note(self, group: Sequence[Job], outcomes: Sequence[Outcome], seconds: float) -> None:
        """Count a group that was written."""
        total = 0
        for job, (numbers, error) in zip(group, outcomes, strict=True):
            if isinstance(job, Append) and error is None:
                repeated = numbers.count(None)
                self.rows.add(job.journal.name, len(numbers) - repeated)
                if repeated:
                    self.repeats.add(job.journal.name, repeated)
                total += len(numbers)
        self.groups.observe(total)
        self.commits.observe(seconds)
        self.committed_at = time.monotonic()


class Writer:
    """Writes groups in order. Made by `Store.open`.

    Args:
        engine: makes the connection.
        threaded: False commits in the caller's thread, at once.

    Attributes:
        healthy: False after a failed group until a write works again.
        cause: why it is not healthy, or None.
        failed_at: when a group failed last, by `time.monotonic`; −inf when none did.
        meter: what it did.
    """

    def __init__(self, engine: Engine, *, threaded: bool) -> None:
        self.healthy = True
        self.failed_at = float("-inf")
        self.cause: MachineError | None = None
        self.meter = WriterMeter()
        self._transactions = Transactions(engine)
        self._queue: queue.SimpleQueue[Job] = queue.SimpleQueue()
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
            MachineError: the store is closed.
        """
        job = Append(journal, rows, lasting=lasting)
        if self._thread is None:
            self._work_here(job)
            return job.ticket
        with self._lock:
            self._check_open()
            self._admit(job)
            self._queue.put(job)
        return job.ticket

    def call(self, fn: Callable[[Connection], T]) -> Ticket[T]:
        """Queue `fn` for the next transaction, in a savepoint of its own; the ticket gives what it returns."""
        job = Call(fn)
        if self._thread is None:
            self._work_here(job)
            return job.ticket
        with self._lock:
            self._check_open()
            self._queue.put(job)
        return job.ticket

    def alone(self, statements: Sequence[str]) -> None:
        """Run statements that can't be in a transaction (`vacuum`), between two groups, and wait for them.

        Raises:
            MachineError: the disk or the database failed.
        """
        self.check_caller()
        job = Alone(statements)
        if self._thread is None:
            self._work_here(job)
        else:
            with self._lock:
                self._check_open()
                self._queue.put(job)
        job.ticket.result()

    def check_caller(self) -> None:
        """A `RuntimeError` in the writer's own thread, where waiting for a commit would never end."""
        if self._thread is threading.current_thread():
            raise RuntimeError("the writer can't wait for itself: use the connection you were given")

    def waiting(self, journal: Journal) -> tuple[int, int]:
        """Rows and bytes of a journal that wait to be stored."""
        rows, size = self._waiting.get(journal.name, (0, 0))
        return rows, size

    @property
    def alive(self) -> bool:
        """False when its thread ended though nobody closed it: nothing will be written any more."""
        return self._closed or self._thread is None or self._thread.is_alive()

    def in_doubt(self) -> bool:
        """Whether a group failed just now: that a small one fits into a full disk doesn't say that the next will."""
        return not self.healthy or time.monotonic() - self.failed_at < _DOUBT_SECONDS

    def probe(self, seconds: float) -> Ticket[None] | None:
        """A small write that shows whether the store can be written; None when one was within the last `seconds`."""
        if self.healthy and time.monotonic() - self.meter.committed_at < seconds:
            return None
        return self.call(_touch)

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
        self._transactions.close()

    def _check_open(self) -> None:
        if self._closed:
            raise MachineError("the store is closed.", code="store.closed", cure="Open the workspace again.")

    def _admit(self, job: Append) -> None:
        """Count a job as waiting, unless too much waits; an empty queue takes a job of any size."""
        journal, more = job.journal, len(job.rows)
        waiting = self._waiting.setdefault(journal.name, [0, 0])
        rows, size = waiting
        if rows and (rows + more > journal.waiting_rows or size + job.size > journal.waiting_bytes):
            raise OverloadedError(
                f"{rows} rows of {journal.name} wait to be stored.", code=f"{journal.name}.overloaded"
            )
        waiting[0] = rows + more
        waiting[1] = size + job.size

    # the thread

    def _run(self) -> None:
        held: Job | None = None
        while True:
            job = held if held is not None else self._next()
            if job is _STOP:
                return
            group, held = self._gather(job)
            self._work(group)

    def _next(self) -> Job:
        """The next job; while the disk is at fault, a small write a second, so that health comes back by itself."""
        while True:
            try:
                return self._queue.get(timeout=None if self.healthy else _PROBE_SECONDS)
            except queue.Empty:
                self._work([Call(_touch)])

    def _gather(self, first: Job) -> tuple[list[Job], Job | None]:
        """All that waits, up to `GROUP_ROWS` rows, and the job that did not fit any more."""
        group, rows = [first], _weight(first)
        while rows < GROUP_ROWS:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                break
            if job is _STOP or rows + _weight(job) > GROUP_ROWS:
                return group, job
            group.append(job)
            rows += _weight(job)
        return group, None

    # a group

    def _work_here(self, job: Job) -> None:
        with self._lock:
            self._check_open()
            self._work([job])

    def _work(self, group: list[Job]) -> None:
        """One transaction: do it, tell who listens, wake who waits."""
        outcomes = self.commit(group)
        if self._thread is not None:
            self._release(group)
        self._announce(group, outcomes)
        settle((job.ticket, value, error) for job, (value, error) in zip(group, outcomes, strict=True))

    def commit(self, group: list[Job]) -> list[Outcome]:
        """Write a group in one transaction; the outcome of each job. The writer's own, not for others to call."""
        began = time.perf_counter()
        try:
            outcomes = self._transactions.commit(group)
        except Exception as error:  # whatever it was, nobody may be left waiting
            fault = as_machine_error(error)
            if self.healthy and is_machine_fault(error):
                log.error("%s", fault.message)  # where it was noticed says nothing about a full disk
            elif self.healthy:
                log.exception("the store could not be written")
            self._transactions.reset()
            self.healthy, self.cause, self.failed_at = False, fault, time.monotonic()
            self.meter.failures += 1
            return [(None, fault) for _ in group]
        self.healthy, self.cause = True, None
        self.meter.note(group, outcomes, time.perf_counter() - began)
        return outcomes

    def _release(self, group: list[Job]) -> None:
        with self._lock:
            for job in group:
                if isinstance(job, Append):
                    waiting = self._waiting[job.journal.name]
                    waiting[0] -= len(job.rows)
                    waiting[1] -= job.size

    def _announce(self, group: list[Job], outcomes: list[Outcome]) -> None:
        committed: dict[Journal, list[CommittedRow]] = {}
        for job, (numbers, error) in zip(group, outcomes, strict=True):
            if isinstance(job, Append) and error is not None:
                for listener in job.journal.after_failure:
                    listener(job.rows)
            if isinstance(job, Append) and error is None and job.journal.after_commit:
                committed.setdefault(job.journal, []).extend(
                    [
                        CommittedRow(seq, row.id16, row.at, row.subject, row.body, row.item)
                        for seq, row in zip(numbers, job.rows, strict=True)
                        if seq is not None
                    ]
                )
        for journal, rows in committed.items():
            for listener in journal.after_commit if rows else ():
                try:
                    listener(rows)
                except Exception:
                    log.exception("a listener of the journal %s failed; its rows are stored", journal.name)


def _touch(connection: Connection) -> None:
    """A write that leaves everything as it was."""
    connection.execute(update(consumer_offset).values(seq=consumer_offset.c.seq))


def _weight(job: Job) -> int:
    """Rows that a job counts for; one that must be alone fills a group."""
    if isinstance(job, Append):
        return len(job.rows)
    return GROUP_ROWS if isinstance(job, Alone) else 1
