"""Writes that nobody waits for, and that must not be lost: those that failed are queued again.

A crash can't lose them: they are queued before the offset of what caused them. A write that fails could, for the offset
may be written later, when the disk has room again. So the save of that offset asks here first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from vitrina.core.errors import VitrinaError
from vitrina.storage.ticket import Ticket

__all__ = ["Owed"]

Queue = Callable[[], Ticket[Any]]
"""Queues a write; doing it twice must change nothing."""


class Owed:
    """Queued writes until they are stored. `renew` before the save of an offset, `check` in its transaction."""

    def __init__(self) -> None:
        self._writes: list[tuple[Queue, Ticket[Any]]] = []
        self._lock = threading.Lock()

    def queue(self, write: Queue) -> None:
        """Queue a write, and see to it that it is stored in the end.

        Raises:
            OverloadedError: too much waits already.
        """
        ticket = write()
        with self._lock:
            self._writes.append((write, ticket))

    def renew(self) -> None:
        """Forget what is stored, and queue again what failed."""
        with self._lock:
            held, self._writes = self._writes, []
        failed = [write for write, ticket in held if ticket.done and _fault(ticket) is not None]
        with self._lock:
            self._writes = [(write, ticket) for write, ticket in held if not ticket.done] + self._writes
        for write in failed:
            self.queue(write)

    def check(self, _connection: Connection) -> None:
        """Refuse the transaction while a write queued before it has failed; what is in the same one shares its fate.

        Raises:
            VitrinaError: why the write failed.
        """
        with self._lock:
            faults = [fault for _, ticket in self._writes if ticket.done and (fault := _fault(ticket)) is not None]
        if faults:
            raise faults[0]


def _fault(ticket: Ticket[Any]) -> VitrinaError | None:
    try:
        ticket.result()
    except VitrinaError as error:
        return error
    return None
