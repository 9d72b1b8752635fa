"""The vital signs of a running workspace: what waits, what was done, what is unwell. Reading them changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from vitrina.background import Background
from vitrina.collect.intake import IntakeMeter
from vitrina.collect.profiles import ProfileBook
from vitrina.core.clock import SECOND, Clock, Micros
from vitrina.core.meter import Distribution
from vitrina.decide.catalogue import Catalogue
from vitrina.decide.learning import Learner
from vitrina.decide.log import Counted, DecisionLog
from vitrina.decide.outcomes import OutcomeLog
from vitrina.storage.journal import Journal
from vitrina.storage.lake import READER
from vitrina.storage.store import Store
from vitrina.storage.stream import Stream

__all__ = ["Events", "Lag", "Learning", "Obstacle", "PartSigns", "Queue", "Signs", "StoreSigns", "Vitals"]


class Obstacle(msgspec.Struct, frozen=True):
    """What keeps a process from serving: a stable code, and the same as a sentence."""

    code: str
    detail: str


class Lag(msgspec.Struct, frozen=True):
    """What a reader of a journal still has to read: rows, and how many seconds ago the first of them came."""

    reader: str
    journal: str
    rows: int
    seconds: float


class Queue(msgspec.Struct, frozen=True):
    """What waits to be stored in a journal, and the bounds above which a request is refused."""

    journal: str
    rows: int
    size: int
    most_rows: int
    most_bytes: int


class StoreSigns(msgspec.Struct, frozen=True, kw_only=True):
    """The store and its writer, since the process began. Sizes in bytes; `size` is None on a database server."""

    kind: str
    healthy: bool
    failures: int
    groups: Distribution
    commits: Distribution
    rows: dict[str, int]
    repeats: dict[str, int]
    size: int | None
    disk_free: int


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """What came in since the process began."""

    trusted: int
    untrusted: int
    suspected: int
    erased: int
    dead_letters: dict[str, int]
    fold_faults: int


class Learning(msgspec.Struct, frozen=True, kw_only=True):
    """What was learned since the process began; `bank_seconds` is the age of the newest bank, by placement."""

    examples: int
    skipped: int
    published: dict[str, int]
    bank_seconds: dict[str, float]
    outcomes_refused: dict[str, int]


class PartSigns(msgspec.Struct, frozen=True):
    """A part that works in the background."""

    name: str
    running: bool
    fault: bool


class Signs(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one moment.

    Attributes:
        decisions: decisions that this process logged, by what they are counted by.
        holdouts: share of people that each placement holds out, as set.
    """

    lags: list[Lag]
    queues: list[Queue]
    store: StoreSigns
    events: Events
    decisions: dict[Counted, int]
    holdouts: dict[str, float]
    learning: Learning
    background: list[PartSigns]


class Vitals:
    """Reads the signs of the parts that it is given. Wired by the workspace.

    Args:
        root: folder of the workspace.
        behind: microseconds that an event may wait to be folded before the process counts as behind.
    """

    def __init__(
        self,
        *,
        root: Path,
        store: Store,
        streams: Sequence[Stream],
        profiles: ProfileBook,
        intake: IntakeMeter,
        catalogue: Catalogue,
        decisions: DecisionLog,
        outcomes: OutcomeLog,
        learner: Learner,
        background: Background,
        clock: Clock,
        behind: Micros,
    ) -> None:
        self._root = root
        self._store = store
        self._streams = tuple(streams)
        self._profiles = profiles
        self._intake = intake
        self._catalogue = catalogue
        self._decisions = decisions
        self._outcomes = outcomes
        self._learner = learner
        self._background = background
        self._clock = clock
        self._behind = behind

    def obstacles(self) -> list[Obstacle]:
        """What keeps this process from serving, from memory alone; empty when it can."""
        found: list[Obstacle] = []
        if self._store.writer.in_doubt():
            found.append(Obstacle("store.unwritable", "The store can't be written."))
        if "folder" in self._background.faults():
            found.append(Obstacle("folder.fault", "Profiles can't be saved."))
        since = self._profiles.waiting_since
        if since is not None and self._clock.now() - since > self._behind:
            seconds = (self._clock.now() - since) // SECOND
            found.append(Obstacle("folder.behind", f"An event has waited for {seconds} s to be folded."))
        if not self._background.running:
            found.append(Obstacle("not.started", "It has not started."))
        return found

    def dead(self) -> list[str]:
        """Threads that ended though nobody stopped them: only a new process brings them back."""
        return ([] if self._store.writer.alive else ["writer"]) + self._background.dead()

    def read(self) -> Signs:
        """The signs now. Asks the store a few indexed questions, so not on an event loop."""
        meter, learner = self._intake, self._learner
        now = self._clock.now()
        return Signs(
            lags=self.lags(),
            queues=[self._queue(journal) for journal in self._store.journals.values()],
            store=self._store_signs(),
            events=Events(
                trusted=meter.trusted,
                untrusted=meter.untrusted,
                suspected=meter.suspected,
                erased=meter.erased,
                dead_letters=meter.dead.read(),
                fold_faults=self._profiles.faults,
            ),
            decisions=self._decisions.counted.read(),
            holdouts={placement.id: placement.holdout for placement in self._catalogue.placements()},
            learning=Learning(
                examples=learner.examples,
                skipped=learner.skipped,
                published=learner.published.read(),
                bank_seconds={name: (now - at) / SECOND for name, at in learner.bank_times().items()},
                outcomes_refused=dict(self._outcomes.refused),
            ),
            background=self.parts(),
        )

    def lags(self) -> list[Lag]:
        """What each reader of the journals still has to read."""
        found = [self._lag("fold", "events", self._profiles.backlog, self._profiles.waiting_since)]
        for stream in self._streams:
            journal = stream.journal
            found.append(self._lag("lake", stream.name, *journal.waiting(journal.offset(READER))))
        found.append(self._lag("learner", "outcomes", *self._learner.behind()))
        return found

    def parts(self) -> list[PartSigns]:
        """What goes on in the background."""
        running, faults = self._background.running, self._background.faults()
        return [PartSigns(name, name in running, name in faults) for name in self._background.names]

    def _lag(self, reader: str, journal: str, rows: int, since: Micros | None) -> Lag:
        seconds = 0.0 if since is None else max(self._clock.now() - since, 0) / SECOND
        return Lag(reader, journal, max(rows, 0), seconds)

    def _queue(self, journal: Journal) -> Queue:
        rows, size = self._store.writer.waiting(journal)
        return Queue(journal.name, rows, size, journal.waiting_rows, journal.waiting_bytes)

    def _store_signs(self) -> StoreSigns:
        writer, address = self._store.writer, self._store.address
        meter = writer.meter
        return StoreSigns(
            kind=address.url.get_backend_name(),
            healthy=writer.healthy,
            failures=meter.failures,
            groups=meter.groups.read(),
            commits=meter.commits.read(),
            rows=meter.rows.read(),
            repeats=meter.repeats.read(),
            size=_size_of(Path(address.url.database or "")) if address.is_sqlite else None,
            disk_free=shutil.disk_usage(self._root).free,
        )


def _size_of(file: Path) -> int:
    """Bytes of a SQLite file and its log."""
    parts = (file, file.with_name(f"{file.name}-wal"))
    return sum(part.stat().st_size for part in parts if part.exists())
