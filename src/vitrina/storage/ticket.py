"""A promise of a commit: block on it, or await it on an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator, Iterable
from typing import Any, Generic, TypeVar

__all__ = ["Ticket", "Tickets", "settle"]

T = TypeVar("T")

_gate = threading.Lock()  # guards the moment a ticket becomes done against someone who starts to wait
_WAITING: Any = object()


class Ticket(Generic[T]):
    """What a write will answer once it is committed."""

    __slots__ = ("_error", "_value", "_waiters")

    def __init__(self) -> None:
        self._value: T = _WAITING
        self._error: BaseException | None = None
        self._waiters: list[asyncio.Future[None] | threading.Event] | None = None

    @classmethod
    def of(cls, value: T) -> Ticket[T]:
        """A ticket of something that is done already."""
        ticket = cls()
        ticket._value = value
        return ticket

    @property
    def done(self) -> bool:
        """True once the write is committed or has failed."""
        return self._value is not _WAITING or self._error is not None

    def result(self, timeout: float | None = None) -> T:
        """Wait for the commit and give its answer.

        Args:
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            TimeoutError: it took longer.
            VitrinaError: the write failed (`MachineError` when the disk or the database did).
        """
        event = self._register(threading.Event)
        if event is not None and not event.wait(timeout):
            raise TimeoutError(f"the commit took longer than {timeout} s")
        return self._answer()

    def __await__(self) -> Generator[Any, None, T]:
        future = self._register(asyncio.get_running_loop().create_future)
        if future is not None:
            yield from future
        return self._answer()

    def _register(self, make: Any) -> Any:
        """A new waiter, or None if there is nothing to wait for."""
        if self.done:
            return None
        waiter = make()
        with _gate:
            if self.done:
                return None
            if self._waiters is None:
                self._waiters = [waiter]
            else:
                self._waiters.append(waiter)
        return waiter

    def _answer(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value

    def _finish(self, value: T, error: BaseException | None) -> list[asyncio.Future[None] | threading.Event] | None:
        with _gate:
            self._error = error
            if error is None:
                self._value = value
            return self._waiters


class Tickets:
    """Several promises as one: done when all of them are."""

    __slots__ = ("_tickets",)

    def __init__(self, *tickets: Ticket[Any]) -> None:
        self._tickets = tickets

    def result(self, timeout: float | None = None) -> None:
        """Wait for every commit; raises what the first of them raises (see `Ticket.result`)."""
        for ticket in self._tickets:
            ticket.result(timeout)

    def __await__(self) -> Generator[Any, None, None]:
        for ticket in self._tickets:
            yield from ticket.__await__()


def _wake(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def settle(done: Iterable[tuple[Ticket[Any], Any, BaseException | None]]) -> None:
    """Give tickets their values or errors and wake who waits: once a group and event loop, not once a ticket."""
    loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for ticket, value, error in done:
        for waiter in ticket._finish(value, error) or ():  # pyright: ignore[reportPrivateUsage]
            if isinstance(waiter, threading.Event):
                waiter.set()
            else:
                loops.setdefault(waiter.get_loop(), []).append(waiter)
    for loop, futures in loops.items():
        try:
            loop.call_soon_threadsafe(_wake, futures)
        except RuntimeError:  # the loop was closed while its request waited: nobody is left to tell
            continue
