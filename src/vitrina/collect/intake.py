"""The way in: events over HTTP, events that are read already, and files of history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vitrina.collect.dead_letters import DeadLetter, letter_rows, store_letters
from vitrina.collect.identifiers import erasure_key
from vitrina.collect.importers import ImportReport, import_file
from vitrina.collect.ingest import Terms, accept, event_row
from vitrina.collect.mapping import load_mapping
from vitrina.collect.products import write_products
from vitrina.collect.profiles import ProfileBook
from vitrina.collect.segment_api import read
from vitrina.core.access import Source
from vitrina.core.clock import Clock
from vitrina.core.errors import OverloadedError
from vitrina.core.event import Event
from vitrina.core.meter import OTHER, Tally
from vitrina.govern.audit import Audit
from vitrina.storage.journal import CommittedRow, Journal
from vitrina.storage.lake import READER
from vitrina.storage.store import Store
from vitrina.storage.ticket import Ticket, Tickets

__all__ = ["Intake", "IntakeMeter", "Progress"]

Progress = Callable[[int, int | None], None]
"""Called with rows done and rows in all, if known."""

_ROWS_A_DRAIN = 200_000


class IntakeMeter:
    """What came in since the process began.

    Attributes:
        trusted, untrusted: events stored by secret key or import, and by write key.
        suspected: events stored that look like a robot's and teach nothing.
        dead: dead letters by code.
        erased: calls dropped because their person was erased.
    """

    def __init__(self) -> None:
        self.trusted = self.untrusted = self.suspected = self.erased = 0
        self.dead: Tally[str] = Tally(most=100, other=OTHER)

    def note(self, rows: Sequence[CommittedRow]) -> None:
        """Count events that were stored (called by the writer, after each commit)."""
        trusted = 0
        for row in rows:
            event = row.item
            if isinstance(event, Event):
                trusted += event.trusted
                self.suspected += event.quarantined
        self.trusted += trusted
        self.untrusted += len(rows) - trusted

    def note_refused(self, dead: Sequence[DeadLetter], erased: int) -> None:
        """Count what was not taken."""
        self.erased += erased
        for letter in dead:
            self.dead.add(letter.code)


class Intake:
    """Everything that comes in is accepted here and stored in the journal of events. Wired by the workspace.

    Args:
        store, journal: where events go.
        profiles: the book that they are folded into.
        terms: what is accepted, and as what.
        backlog: stored events that wait to be folded above which a request is refused.
        refusals: folder for the refused rows of files.
        drain: moves what waits into the lake.
        audit, clock: of the workspace.

    Attributes:
        meter: what came in.
    """

    def __init__(
        self,
        *,
        store: Store,
        journal: Journal,
        profiles: ProfileBook,
        terms: Terms,
        backlog: int,
        refusals: Path,
        drain: Callable[[], object],
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._store = store
        self._journal = journal
        self._profiles = profiles
        self._terms = terms
        self._backlog = backlog
        self._refusals = refusals
        self._drain = drain
        self._audit = audit
        self._clock = clock
        self.meter = IntakeMeter()
        journal.after_commit.append(self.meter.note)

    def receive(self, body: bytes, kind: str, source: Source, *, gpc: bool = False) -> Ticket[Any] | Tickets:
        """Take a request of the tracking API; its events are stored when the ticket is done.

        Args:
            body: JSON, inflated.
            kind: batch | track | identify | page | screen | group | alias.
            source: whose key it came by.
            gpc: the request carried `Sec-GPC: 1`.

        Raises:
            UserError: the body can't be read, or names nobody.
            OverloadedError: too much waits already.
        """
        if self._profiles.backlog > self._backlog:
            raise OverloadedError("Too many events wait to be folded.", code="collect.backlog")
        now = self._clock.now()
        delivery = read(body, kind)
        accepted = accept(delivery, source, now, self._terms, gpc=gpc)
        if accepted.dead or accepted.erased:
            self.meter.note_refused(accepted.dead, accepted.erased)
        events = self._store.writer.append(self._journal, accepted.rows) if accepted.rows else Ticket.of(None)
        if not accepted.dead:
            return events
        dead = letter_rows(accepted.dead, delivery, source, now, gpc=gpc)
        return Tickets(events, self._store.writer.call(lambda c: store_letters(c, dead)))

    def receive_events(self, events: Sequence[Event], *, lasting: bool = False) -> list[bool]:
        """Store events that are read already; for each whether it was new. `lasting` ids are remembered for ever."""
        rows = [event_row(event) for event in events]
        return [seq is not None for seq in self._store.writer.append(self._journal, rows, lasting=lasting).result()]

    def import_file(
        self, file: Path, mapping: Path, *, dry_run: bool = False, progress: Progress | None = None
    ) -> ImportReport:
        """Import a CSV, Parquet or NDJSON file by a mapping file. Repeating it is harmless.

        Args:
            file, mapping: where they lie.
            dry_run: read and check everything, store nothing.
            progress: told of rows stored (in a dry run: read).

        Raises:
            UserError: file or mapping can't be read; nothing was stored then.
        """

        def told(stage: str, count: int, total: int | None) -> None:
            if progress is not None and (stage == "storing") == (not dry_run):
                progress(count, total)

        report = import_file(
            file,
            load_mapping(mapping),
            self._take_rows,
            self._clock.now(),
            erased=lambda identifier: erasure_key(identifier) in self._terms.erased,
            refusals_file=self._refusals / f"{file.stem}.refused.ndjson",
            dry_run=dry_run,
            progress=told,
            on_products=lambda products: write_products(self._store, products),
        )
        if not dry_run:
            self._audit.record("import", "data.import", {"file": report.file_hash, "stored": report.stored})
            self._drain()
        return report

    def _take_rows(self, events: Sequence[Event]) -> list[bool]:
        fresh = self.receive_events(events, lasting=True)
        self._profiles.step()
        if self._journal.last() - self._journal.offset(READER) > _ROWS_A_DRAIN:
            self._drain()
        return fresh
