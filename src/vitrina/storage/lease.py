"""A lease: what only one process may do at a time, such as writing the lake."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Connection, delete, or_, select, update

from vitrina.core.clock import HOUR, SECOND, Micros
from vitrina.core.errors import MachineError
from vitrina.storage.store import Store
from vitrina.storage.tables import lease

__all__ = ["Lease"]

_LONGEST = HOUR
"""Nobody asks for a longer lease."""


def _now() -> Micros:
    """The machine's time: a lease is about processes, never about simulated days."""
    return time.time_ns() // 1_000


_ours: set[str] = set()
"""Holders of this process: where every process has the same number, as in a container, the others are dead."""


def _is_dead(holder: str) -> bool:
    """True when the holder is a process of this machine that no longer runs."""
    host, _, rest = holder.rpartition("/")[0].rpartition("/")
    if host != socket.gethostname() or not rest.isdigit():
        return False
    if int(rest) == os.getpid():
        return holder not in _ours
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


class Lease:
    """The right to be the only one, for `seconds` at a time.

    Args:
        store: where leases are kept.
        name: what is leased.
        seconds: how long it lasts unless renewed.

    A lease of a dead process of the same machine is taken over at once, any other one when it has run out, and one that
    would still run for more than an hour too: the clock was set back since it was given.
    """

    def __init__(self, store: Store, name: str, seconds: float = 60.0) -> None:
        self.name = name
        self.holder = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        _ours.add(self.holder)
        self._store = store
        self._length = round(seconds * SECOND)

    def acquire(self) -> bool:
        """Take the lease, or renew it; False while somebody else has it."""
        return self._store.write(self._take)

    def renew(self) -> None:
        """Make it last longer.

        Raises:
            MachineError: it was lost meanwhile (this process stood still for longer than the lease).
        """
        if not self.acquire():
            raise MachineError(
                f"the lease on {self.name} was lost to another process.",
                code="lease.lost",
                cure="Nothing is damaged; the work is done again by whoever holds the lease.",
            )

    def release(self) -> None:
        """Give it back, if it is ours."""
        self._store.write(
            lambda c: c.execute(delete(lease).where(lease.c.name == self.name, lease.c.holder == self.holder)).rowcount
        )

    @contextmanager
    def held(self, wait: float = 30.0) -> Generator[None]:
        """Hold the lease for the length of a block.

        Args:
            wait: seconds to wait for it at most.

        Raises:
            MachineError: somebody else still has it after that time.
        """
        end = time.monotonic() + wait
        while not self.acquire():
            if time.monotonic() >= end:
                raise MachineError(
                    f"another process ({self.owner()}) has held the lease on {self.name} for longer than {wait:g} s.",
                    code="lease.taken",
                    cure="Wait for it to finish, or stop it.",
                )
            time.sleep(0.05)
        try:
            yield
        finally:
            self.release()

    def owner(self) -> str:
        """Who has it now, or ""."""
        with self._store.read() as connection:
            found = connection.execute(select(lease.c.holder).where(lease.c.name == self.name)).scalar()
        return found or ""

    def _take(self, connection: Connection) -> bool:
        now = _now()
        row = connection.execute(select(lease.c.holder, lease.c.until).where(lease.c.name == self.name)).first()
        if row is None:
            connection.execute(lease.insert().values(name=self.name, holder=self.holder, until=now + self._length))
            return True
        runs = now < row.until <= now + _LONGEST  # one that runs longer was given before the clock was set back
        if row.holder != self.holder and runs and not _is_dead(row.holder):
            return False
        mine = or_(lease.c.holder == row.holder, lease.c.until <= now)
        change = update(lease).where(lease.c.name == self.name, mine)
        return connection.execute(change.values(holder=self.holder, until=now + self._length)).rowcount == 1
