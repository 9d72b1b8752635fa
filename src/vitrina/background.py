"""Work in the background: parts that run in threads of their own, or round by round in the caller's thread.

A process may run all of them or some: what is started is stopped, and nothing else is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from vitrina.collect.profiles import ProfileBook
from vitrina.core.clock import Clock
from vitrina.decide.learning import Learner
from vitrina.storage.drainer import Drainer
from vitrina.storage.lake import READER
from vitrina.storage.stream import Stream
from vitrina.understand.refresher import Refresher

__all__ = ["Background", "Part", "parts"]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that goes on in the background.

    Attributes:
        name: what it is called where it is started, and in faults and lags.
        start: begins its thread.
        stop: ends its thread, if there is one, and saves what is in hand.
        step: one round in the caller's thread; None for a part that is asked for by other means.
        fault: why its last round failed; None or "" when it didn't.
        lag: rows that wait for it; None where it can't tell.
        alive: whether its thread runs; None where it can't tell.
    """

    name: str
    start: Callable[[], None]
    stop: Callable[[], None]
    step: Callable[[], object] | None = None
    fault: Callable[[], str | None]
    lag: Callable[[], int] | None = None
    alive: Callable[[], bool] | None = None


class Background:
    """The parts, in the order in which what comes in passes through them. Call it from one thread at a time.

    Everywhere `names` are those of the parts that are meant: none means all, an unknown one is a `KeyError`.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = {part.name: part for part in parts}
        self._running: set[str] = set()

    @property
    def running(self) -> tuple[str, ...]:
        """The parts whose threads were started, in order."""
        return tuple(name for name in self._parts if name in self._running)

    def start(self, *names: str) -> None:
        """Start the threads, first to last; those that run already go on."""
        for part in self._meant(names):
            if part.name not in self._running:
                part.start()
                self._running.add(part.name)

    def step(self, *names: str) -> None:
        """One round of each part that has rounds, first to last, in the caller's thread."""
        for part in self._meant(names):
            if part.step is not None:
                part.step()

    def stop(self, *names: str) -> None:
        """Stop the threads that run, last to first; each saves what is in hand."""
        for part in reversed(self._meant(names)):
            if part.name in self._running:
                part.stop()
                self._running.discard(part.name)

    def settle(self) -> None:
        """After rounds in the caller's thread: every part deals with what waits and saves it, first to last."""
        for part in self._parts.values():
            part.stop()

    def faults(self) -> dict[str, str]:
        """Why the last round of a part failed, by name; parts that are well are left out."""
        told = {name: part.fault() for name, part in self._parts.items()}
        return {name: fault for name, fault in told.items() if fault}

    def lags(self) -> dict[str, int]:
        """Rows that wait for a part, by name; parts that can't tell are left out."""
        return {name: part.lag() for name, part in self._parts.items() if part.lag is not None}

    def dead(self) -> list[str]:
        """Parts whose threads ended though nobody stopped them."""
        return [
            name
            for name, part in self._parts.items()
            if name in self._running and part.alive is not None and not part.alive()
        ]

    @property
    def names(self) -> tuple[str, ...]:
        """Every part, running or not, in order."""
        return tuple(self._parts)

    def _meant(self, names: Sequence[str]) -> list[Part]:
        wanted = {self._parts[name].name for name in names or self._parts}
        return [part for name, part in self._parts.items() if name in wanted]


def parts(
    profiles: ProfileBook,
    learner: Learner,
    drainer: Drainer,
    refresher: Refresher,
    streams: Sequence[Stream],
    clock: Clock,
) -> list[Part]:
    """What a workspace does in the background: folder, learner, drainer, refresher."""
    return [
        Part(
            name="folder",
            start=profiles.start,
            stop=profiles.stop,
            step=profiles.step,
            fault=lambda: None if profiles.healthy else "Profiles can't be saved.",
            lag=lambda: profiles.backlog,
            alive=lambda: profiles.alive,
        ),
        Part(
            name="learner",
            start=lambda: learner.start(clock),
            stop=lambda: learner.stop(clock.now()),
            step=lambda: learner.step(clock.now()),
            fault=lambda: learner.failure,
            alive=lambda: learner.alive,
        ),
        Part(
            name="drainer",
            start=drainer.start,
            stop=drainer.stop,
            fault=lambda: drainer.fault,
            lag=lambda: sum(stream.journal.last() - stream.journal.offset(READER) for stream in streams),
            alive=lambda: drainer.alive,
        ),
        Part(
            name="refresher",
            start=refresher.start,
            stop=refresher.stop,
            step=refresher.look,
            fault=lambda: refresher.fault,
            alive=lambda: refresher.alive,
        ),
    ]
