"""The workspace: the one place where the parts are wired together.

`open(folder)` gives a `Workspace` with the nouns as attributes. Nothing runs in the background until `start()`; with
`step()` the same work is done in the caller's thread, which is how simulations and commands use it.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np

import vitrina
from vitrina.background import Background, parts
from vitrina.collect.bots import BotCheck
from vitrina.collect.importers import ImportReport
from vitrina.collect.ingest import LARGEST_EVENT, Terms
from vitrina.collect.intake import Intake, Progress
from vitrina.collect.leaf import Leaf
from vitrina.collect.letterbox import Letterbox
from vitrina.collect.profiles import ProfileBook
from vitrina.collect.repeats import came_before
from vitrina.collect.segment_api import BatchBody, CallBody
from vitrina.collect.tracking_plan import Plan, PlannedEvent, describe, load_plan
from vitrina.core import config
from vitrina.core.access import INTERNAL, Caller, Source
from vitrina.core.clock import DAY, MINUTE, SECOND, Clock, SimulatedClock, SystemClock, instant_of
from vitrina.core.consent import ConsentRecord, Purpose
from vitrina.core.dead_letter import Violation
from vitrina.core.decision import Answer, DecideRequest
from vitrina.core.errors import ConflictError, MachineError, UserError
from vitrina.core.event import Event
from vitrina.core.explanation import DecisionFilter, DecisionPage, Explanation
from vitrina.core.grant import Grant
from vitrina.core.predicate import Predicate
from vitrina.decide.bodies import Body, get_body, import_offers, put_body
from vitrina.decide.bodies import ImportReport as OfferImportReport
from vitrina.decide.catalogue import Catalogue
from vitrina.decide.engine import Engine as DecisionEngine
from vitrina.decide.explain import Explainer
from vitrina.decide.learning import Learner, LearnerSettings
from vitrina.decide.listing import DecisionList
from vitrina.decide.log import DecisionLog
from vitrina.decide.neighbours import Recommender
from vitrina.decide.outcomes import OutcomeLog
from vitrina.decide.stock import Stock
from vitrina.decide.wire.creative import CreativeBody
from vitrina.decide.wire.offer import OfferBody
from vitrina.decide.wire.placement import PlacementBody
from vitrina.govern.audit import Audit
from vitrina.govern.consent import Consents, write_consents
from vitrina.govern.erasure import Ledger, Receipt, read_ledger, write_ledger
from vitrina.govern.keys import Keys
from vitrina.govern.permission import ask
from vitrina.govern.users import Users
from vitrina.measure.placement import read_out_of
from vitrina.measure.read_out import ReadOut
from vitrina.measure.summary import Summary, summarise
from vitrina.measure.violations import count_violations
from vitrina.people import People, TakenOver
from vitrina.retention import Retention
from vitrina.storage import backup
from vitrina.storage import restore as restoring
from vitrina.storage.backup import Backup
from vitrina.storage.backup import check as check_backup
from vitrina.storage.claim import Claim
from vitrina.storage.connect import parse_address, store_address
from vitrina.storage.doctor import Check, Health, examine
from vitrina.storage.drainer import Drainer
from vitrina.storage.engine import Engine
from vitrina.storage.journal import JournalRow
from vitrina.storage.lake import Lake
from vitrina.storage.store import Store
from vitrina.storage.ticket import Ticket, Tickets
from vitrina.storage.transfer import Migration, move
from vitrina.streams import attach_journals, streams
from vitrina.understand.audiences import compile_closure, parse, to_wire
from vitrina.understand.features import FeatureSet, Vectoriser
from vitrina.understand.features.commerce import FEATURES, NUMBER
from vitrina.understand.purchase_memory import PurchaseMemory
from vitrina.understand.refresher import Refresher
from vitrina.vitals import Obstacle, Signs, Vitals

if TYPE_CHECKING:
    from vitrina.measure.replay import Replay
    from vitrina.tracing import Tracing as Tracing

__all__ = [
    "BatchBody",
    "CallBody",
    "CreativeBody",
    "Obstacle",
    "OfferBody",
    "OfferImportReport",
    "PlacementBody",
    "Restored",
    "Signs",
    "Workspace",
    "check_backup",
    "check_plan",
    "init",
    "open",
    "restore",
]

SETTINGS = "vitrina.toml"
KEYS_CHANGED = "keys.changed"
"""A file that grows with every change of a key, so that a running server knows of it at the next request."""


def init(
    folder: str | Path, *, name: str | None = None, currency: str | None = None, timezone: str | None = None
) -> Workspace:
    """Make a workspace: settings with comments, store and lake; and open it.

    Raises:
        ConflictError: there is a workspace already.
        UserError: the currency is no ISO 4217 code, or the time zone isn't known.
    """
    root = Path(folder)
    settings = root / SETTINGS
    if settings.exists():
        raise ConflictError(
            "there is a workspace already.",
            code="workspace.exists",
            where=str(settings),
            cure="Open it, or choose another folder.",
        )
    text = config.template(name or root.resolve().name, currency, timezone).encode()
    config.parse(text, str(settings), {})
    try:
        root.mkdir(parents=True, exist_ok=True)
        (root / "lake").mkdir(exist_ok=True)
        part = settings.with_suffix(".part")
        part.write_bytes(text)
        part.replace(settings)
    except OSError as error:
        raise MachineError(
            f"the folder can't be written: {error.strerror}.",
            code="workspace.folder",
            where=str(root),
            cure="Choose another folder, or make this one writable.",
        ) from None
    return open(root)


def open(  # noqa: A001 - the public door is vitrina.open
    folder: str | Path, *, clock: Clock | None = None, threaded: bool = True, simulated: bool = False
) -> Workspace:
    """Open the workspace in `folder`.

    Args:
        clock: the machine's clock when None.
        threaded: False writes in the caller's thread, for simulations.
        simulated: what happens in it is simulated, and is said to be wherever it is shown.

    Raises:
        UserError: there is no workspace, or its settings are wrong.
    """
    root = Path(folder)
    if not (root / SETTINGS).exists():
        raise UserError(
            "there is no workspace here.",
            code="workspace.missing",
            where=str(root),
            cure=f"Make one with: vitrina init {root}",
        )
    return Workspace(root, clock=clock, threaded=threaded, simulated=simulated)


def check_plan(file: Path) -> list[PlannedEvent]:
    """The events of a tracking plan's file, which is read and not used.

    Raises:
        UserError: the file can't be read, or what it says can't be; `where` says where.
    """
    return [event for event in describe(load_plan(file)) if event.group == "own"]


class Restored(msgspec.Struct, frozen=True):
    """What `restore` did: the workspace, the moment it is back at, its events, and what became of erased people."""

    workspace: str
    made_at: str
    files: int
    events: int
    erasures: TakenOver | None


def restore(
    source: str | Path,
    folder: str | Path,
    *,
    erasures: str | Path | None = None,
    store_url: str = "",
    progress: Progress | None = None,
) -> Restored:
    """Make a workspace of a backup, in a folder that is empty or not there.

    Args:
        source: what `Workspace.back_up` wrote.
        erasures: the ledger of erasures (a file, or the folder of the living workspace): whoever was erased after the
            backup was made is erased from it before the folder gets its name. None leaves them in.
        store_url: where the store is to lie; "" is a file in the folder.
        progress: called with bytes done and bytes in all.

    Raises:
        ConflictError: the folder or the named store isn't empty.
        UserError: it is no backup, or no ledger.
        MachineError: the backup is damaged, or the disk failed.
    """
    taken: list[TakenOver] = []
    events: list[int] = []

    def ready(part: Path) -> None:
        with open(part, threaded=False) as workspace:
            workspace.claim()
            if erasures is not None:
                taken.append(workspace.take_over_erasures(erasures))
            events.append(workspace.summary().events)

    manifest = restoring.restore(Path(source), Path(folder), store_url, ready, progress)
    whole = str(Path(folder).resolve())
    return Restored(whole, manifest.made_at, len(manifest.files), events[0], taken[0] if taken else None)


class Workspace:
    """An open workspace. Close it, or use it as a context manager.

    Attributes:
        settings, origins: effective settings and where each came from.
        store, lake, engine: the database, the Delta lake, Ibis over both.
        intake, letters, profiles, consents, people: what comes in or is refused, and whom it is about.
        catalogue, decisions, outcomes, learner, decider, explainer: the loop.
        keys, users, audit, retention: access, proof, and what is not kept.
        background: what runs in threads of its own: folder, learner, drainer, refresher.
        vitals: what waits, what was done, what is unwell.
        tracing: traces of the work, while the workspace is started and traces are asked for; else None.
        simulated: what is in it was simulated, and is said to be wherever it is shown.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Clock | None = None,
        threaded: bool = True,
        simulated: bool = False,
        settings: config.Settings | None = None,
    ) -> None:
        self.root = root
        self.settings, self.origins = config.load(root / SETTINGS) if settings is None else (settings, {})
        self.clock: Clock = clock or SystemClock()
        mark = root / "simulated"
        if simulated:
            mark.touch()
        self.simulated = mark.exists()
        self._seed = self.settings.workspace.seed or secrets.randbits(63)
        self.rng = np.random.default_rng(self._seed)
        self._claim = Claim(root / "workspace.lock")
        self._claimed = self._closed = False
        self._wire(threaded)

    # wiring

    def _wire(self, threaded: bool) -> None:
        """Every part, in the order in which they need one another."""
        self._open_store(threaded)
        self._wire_govern()
        self._wire_loop()
        self._wire_people()
        self._wire_background()
        self._wire_intake()
        self._wire_watch()

    def _open_store(self, threaded: bool) -> None:
        storage = self.settings.storage
        self.store = Store.open(store_address(storage.url, self.root), storage.wal_autocheckpoint, threaded=threaded)
        self._journals = attach_journals(self.store, self.settings)
        self.store.migrate()
        self.lake = Lake.open(
            self.root / storage.lake, self.store, clock=self.clock, compact_files=storage.compact_files
        )
        self._streams = streams(self._journals, self._offers_of, lambda: self.profiles.saved)
        self.engine = Engine(self.lake, self._streams)

    def _wire_govern(self) -> None:
        self.audit = Audit(self.store, self.clock)
        self.keys = Keys(self.store, self.clock, self.root / KEYS_CHANGED)
        self.users = Users(self.store, self.clock)
        self.consents = Consents(self.store)

    def _wire_loop(self) -> None:
        decide, journals = self.settings.decide, self._journals
        self.features = FeatureSet(FEATURES, NUMBER)
        self.vectoriser = Vectoriser()
        self.purchases = PurchaseMemory()
        self.stock = Stock(self.store)
        self.catalogue = Catalogue(
            self.store, self.clock, self.stock, compile_closure, self.settings.workspace.currency
        )
        self.decisions = DecisionLog(self.store, journals.decisions)
        self.outcomes = OutcomeLog(self.store, journals.outcomes, self.decisions, self.catalogue)
        window = self.settings.collect.dedupe_days * DAY
        self.profiles = ProfileBook(
            self.store,
            journals.events,
            steps=(self._fold_outcome, self._fold_features),
            merge=self._merge_features,
            clock=self.clock,
            write_consents=write_consents,
            repeats=lambda events: came_before(events, self.lake, self._streams[0], window),
        )
        journals.decisions.after_failure.append(self._untouch)
        for owed in (self.outcomes.owed, self.stock.owed):
            self.profiles.before_save.append(owed.renew)
            self.profiles.in_save.append(owed.check)
        self.learner = Learner(
            self.store,
            self.decisions,
            self.outcomes,
            self.catalogue,
            features=self.vectoriser.names,
            feature_set=self.features.number * 1000 + self.vectoriser.number,
            personal=self.vectoriser.personal,
            may_train=self._may_train,
            settings=LearnerSettings(
                draws=decide.draws, scale=decide.scale, forgetting=decide.forgetting, seed=self._seed % (1 << 32)
            ),
        )
        self.decider = self._decider(None)
        self.explainer = Explainer(
            self.decisions, self.outcomes, self.catalogue, self.learner, self.vectoriser.names, self.consents.find
        )
        self._listing = DecisionList(self.decisions, self.outcomes, self.catalogue)

    def _decider(self, recommender: Recommender | None) -> DecisionEngine:
        decide = self.settings.decide
        return DecisionEngine(
            catalogue=self.catalogue,
            profiles=self.profiles,
            features=self.features,
            vectoriser=self.vectoriser,
            banks=self.learner,
            log=self.decisions,
            stock=self.stock,
            clock=self.clock,
            rng=self.rng,
            recommender=recommender,
            shortlist_above=decide.candidates,
            expires_seconds=decide.expires_seconds,
            adult_age=self.settings.privacy.adult_age,
        )

    def _wire_people(self) -> None:
        self.people = People(
            store=self.store,
            lake=self.lake,
            engine=self.engine,
            streams=self._streams,
            profiles=self.profiles,
            features=self.features,
            consents=self.consents,
            decisions=self.decisions,
            outcomes=self.outcomes,
            audit=self.audit,
            clock=self.clock,
            rng=self.rng,
        )

    def _wire_background(self) -> None:
        storage = self.settings.storage
        self.retention = Retention(
            store=self.store,
            lake=self.lake,
            journals=self._journals,
            streams=self._streams,
            learner=self.learner,
            settings=self.settings,
            clock=self.clock,
        )
        self._drainer = Drainer(
            self.lake,
            self._streams,
            seconds=storage.drain_seconds,
            rows=storage.drain_rows,
            daily=self.retention.keep,
        )
        self._refresher = Refresher(
            lambda: Engine(self.lake, self._streams, threads=1),
            wanted=lambda: self.catalogue.size > self.settings.decide.candidates,
            take=self.decider.use,
            may_train=lambda user_id: self._may_train(f"u:{user_id}"),
            memory=self.purchases,
            clock=self.clock,
        )
        self.background = Background(
            parts(self.profiles, self.learner, self._drainer, self._refresher, self._streams, self.clock)
        )

    def _wire_intake(self) -> None:
        collect = self.settings.collect
        plan = load_plan(self.root / collect.plan, collect.plan_mode) if collect.plan else Plan(mode=collect.plan_mode)
        self._terms = Terms(
            plan=plan,
            currency=self.settings.workspace.currency,
            erased=self.people.erased,
            bots=BotCheck(collect.bot_clicks_per_minute),
            proves=self.keys.proves,
            largest=LARGEST_EVENT,
        )
        self.letters = Letterbox(self.store, self._journals.events, self._terms, self.audit, self.clock)
        self.intake = Intake(
            store=self.store,
            journal=self._journals.events,
            profiles=self.profiles,
            terms=self._terms,
            backlog=collect.backlog_events,
            refusals=self.root / "imports",
            drain=self.drain,
            audit=self.audit,
            clock=self.clock,
        )

    def _wire_watch(self) -> None:
        self.vitals = Vitals(
            root=self.root,
            store=self.store,
            streams=self._streams,
            profiles=self.profiles,
            intake=self.intake.meter,
            catalogue=self.catalogue,
            decisions=self.decisions,
            outcomes=self.outcomes,
            learner=self.learner,
            background=self.background,
            clock=self.clock,
            behind=round(self.settings.service.behind_seconds * SECOND),
        )
        self.tracing: Tracing | None = None

    def _fold_features(self, leaf: Leaf, event: Event) -> None:
        if event.set_aside:
            return
        self.features.fold(leaf.features, event)
        self.purchases.fold(leaf.features, event)

    def _merge_features(self, states: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return self.purchases.merge(self.features.merge(states), states)

    def _fold_outcome(self, leaf: Leaf, event: Event) -> None:
        if event.set_aside:
            return
        self.outcomes.join(event)
        self.stock.fold(event)

    def _untouch(self, rows: Sequence[JournalRow]) -> None:
        """Decisions that could not be logged were shown to nobody."""
        for row in rows:
            self.profiles.untouch_decision(row.subject, row.at)

    def _may_train(self, subject: str) -> bool:
        adult_age = self.settings.privacy.adult_age
        with self.profiles.reading():
            answer = ask(self.profiles.of(subject), Purpose.MODEL_TRAINING, self.clock.now(), adult_age=adult_age)
        return isinstance(answer, Grant)

    def _offers_of(self, number: int) -> tuple[str, ...] | None:
        candidates = self.catalogue.numbered(number)
        return None if candidates is None else candidates.offer_ids

    # life

    def claim(self) -> None:
        """Be the one process that folds events of this workspace, and take up where the last one left off.

        Raises:
            ConflictError: another process does.
        """
        if self._claimed:
            return
        self._claim.acquire()
        self._claimed = True
        self.profiles.recover()
        self._touch_again()
        self.profiles.step()

    def _touch_again(self) -> None:
        """Caps and holdouts of the last decisions before a crash: their effect on profiles is saved a moment later."""
        for row in self.decisions.latest(MINUTE):
            if not row.replayed and not row.preview:
                offers = self._offers_of(row.catalogue) or ()
                shown = [offers[k] for k in row.items if k < len(offers)]
                self.profiles.touch_decision(row.subject, row.at, row.assignment_key, shown)

    def start(self) -> None:
        """Start the threads (folder, learner, drainer, refresher) and traces; finish erasures that were begun.

        Raises:
            MissingExtraError: traces are asked for, and the extra isn't installed.
        """
        self._start_tracing()
        self.claim()
        self.background.start()
        self.people.finish_erasures()

    def _start_tracing(self) -> None:
        service = self.settings.service
        if not service.traces or self.tracing is not None:
            return
        from vitrina.tracing import start_tracing

        self.tracing = start_tracing(
            service.traces,
            service.traces_share,
            decider=self.decider,
            intake=self.intake,
            profiles=self.profiles,
            writer=self.store.writer,
            lake=self.lake,
            learner=self.learner,
        )

    def step(self) -> None:
        """Fold and learn what waits, and renew the recommender if that is due, in the caller's thread."""
        self.claim()
        self.background.step()

    def migrate(self, to: str, progress: Progress | None = None) -> Migration:
        """Move the store to another database, and close: open the workspace again afterwards.

        The arguments and the errors are those of `vitrina.storage.transfer.move`.
        """
        self.claim()
        self.background.settle()
        self.audit.record("migrate", "store.migrate", {"to": str(parse_address(store_address(to, self.root)))})
        moved = move(self.store, to, self.root / SETTINGS, progress)
        self._closed = True
        self.engine.close()
        self.store.close()
        self._claim.release()
        return moved

    def back_up(self, target: str | Path, progress: Progress | None = None) -> Backup:
        """Write a backup, which others need not stop for; see `vitrina.storage.backup.make`."""
        plan = self.settings.collect.plan
        made = backup.make(
            self.store,
            self.lake,
            self._streams,
            self.root / SETTINGS,
            [self.root / name for name in ("imports", "simulated", *([plan] if plan else []))],
            Path(target),
            self.clock,
            vitrina.__version__,
            progress,
        )
        self.audit.record("backup", "store.backup", {"made_at": made.made_at, "bytes": made.bytes})
        return made

    def drain(self) -> int:
        """Move what waits into the lake, now; gives how many rows."""
        if self._claimed:
            self.profiles.settle()
        return self._drainer.drain()

    def keep_to_retention(self) -> None:
        """Delete what was kept long enough: events, decisions and outcomes, refused events (30 days)."""
        self.retention.keep()

    def close(self) -> None:
        """Stop the threads, write what waits, close everything; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        if self.background.running:
            self.background.stop()
        elif self._claimed:
            self.background.settle()
        self.engine.close()
        self.store.close()
        self._claim.release()
        if self.tracing is not None:
            self.tracing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # collect

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
        return self.intake.receive(body, kind, source, gpc=gpc)

    def receive_events(self, events: Sequence[Event], *, lasting: bool = False) -> list[bool]:
        """Store events that are read already; for each whether it was new. `lasting` ids are remembered for ever."""
        return self.intake.receive_events(events, lasting=lasting)

    def dead_letters(self) -> int:
        """How many events were refused and wait to be corrected or discarded; see `letters`."""
        return self.letters.waiting()

    def plan(self) -> list[PlannedEvent]:
        """The tracking plan that events are checked by, the shop's own events first."""
        return describe(self._terms.plan)

    def violations(self) -> list[Violation]:
        """How often events contradict the tracking plan, by event and reason, most often first."""
        return count_violations(self.engine, self.store)

    def import_file(
        self, file: str | Path, mapping: str | Path, *, dry_run: bool = False, progress: Progress | None = None
    ) -> ImportReport:
        """Import a CSV, Parquet or NDJSON file by a mapping file. Repeating it is harmless.

        Raises:
            UserError: file or mapping can't be read; nothing was stored then.
        """
        if not dry_run:
            self.claim()
        return self.intake.import_file(Path(file), Path(mapping), dry_run=dry_run, progress=progress)

    # decide

    def decide_soon(self, request: DecideRequest, caller: Caller) -> tuple[Answer, Ticket[Any] | None]:
        """Decide; the answer may be given once the ticket (if any) is done."""
        decided = self.decider.decide(request, caller)
        return decided.answer, decided.ticket

    def decide(self, request: DecideRequest, caller: Caller = INTERNAL) -> Answer:
        """Decide, and wait until the decision is in the log."""
        self.claim()
        answer, ticket = self.decide_soon(request, caller)
        if ticket is not None:
            ticket.result()
        return answer

    def explain(self, decision_id: str) -> Explanation:
        """Everything about one decision.

        Raises:
            NotFoundError: there is no such decision.
        """
        return self.explainer.explain(decision_id)

    def recent_decisions(self, wanted: DecisionFilter, limit: int = 20) -> DecisionPage:
        """A page of decisions that match, newest first."""
        return self._listing.recent(wanted, limit)

    # catalogue, as it goes over the wire

    def put_body(self, kind: str, thing_id: str, body: bytes, by: str = "") -> Body:
        """Add or replace an offer, creative or placement from its JSON body; gives the body as stored.

        Raises:
            UserError: the body can't be read or can't be; `where` names the field.
        """
        return put_body(self.catalogue, kind, thing_id, body, by, self.features.names)

    def get_body(self, kind: str, thing_id: str) -> Body:
        """The body of an offer, creative or placement as it stands now; a `NotFoundError` when it isn't there."""
        return get_body(self.catalogue, kind, thing_id)

    def import_offers(self, data: bytes, form: str, by: str = "") -> OfferImportReport:
        """Add or replace offers from a CSV or NDJSON file, row by row.

        Raises:
            UserError: the file as a whole can't be read.
        """
        return import_offers(self.catalogue, data, form, by, self.features.names)

    def parse_rule(self, rule: object) -> Predicate:
        """A rule of the wire as a predicate; see `vitrina.core.predicate`."""
        return parse(rule)

    def write_rule(self, rule: Predicate) -> Any:
        """A predicate in its wire form."""
        return to_wire(rule)

    # people

    def person(self, identifier: str) -> dict[str, Any]:
        """What is known about a person; see `vitrina.people.People.person`."""
        return self.people.person(identifier)

    def export(self, identifier: str) -> dict[str, Any]:
        """Every row about a person, store and lake; see `vitrina.people.People.export`."""
        return self.people.export(identifier)

    def put_consent(self, identifier: str, purpose: Purpose, given: dict[str, Any]) -> ConsentRecord:
        """Append a consent record; see `vitrina.people.People.put_consent`."""
        self.claim()
        return self.people.put_consent(identifier, purpose, given)

    def erase(self, identifier: str) -> Receipt:
        """Erase a person everywhere, and keep them from coming back with late events."""
        self.claim()
        return self.people.erase(identifier)

    def erase_soon(self, identifier: str) -> str:
        """Begin to erase a person in the background; gives the id to ask for with `erasure`."""
        self.claim()
        return self.people.erase_soon(identifier)

    def export_erasures(self, file: str | Path) -> Ledger:
        """Write the ledger of erasures, as hashes, into a file; a restored backup is cleared of them by it."""
        ledger = self.people.erasures.ledger()
        write_ledger(ledger, Path(file))
        return ledger

    def take_over_erasures(self, ledger: str | Path) -> TakenOver:
        """Erase everybody whom the ledger of another workspace (a file, or its folder) names.

        Raises:
            UserError: it is neither.
        """
        source = Path(ledger)
        if source.is_dir():
            with open(source) as living:
                found = living.people.erasures.ledger()
        else:
            found = read_ledger(source)
        self.claim()
        return self.people.take_over(found)

    def erasure(self, erasure_id: str) -> dict[str, Any]:
        """The receipt of an erasure; see `vitrina.people.People.erasure`."""
        return self.people.erasure(erasure_id)

    # figures

    def summary(self) -> Summary:
        """What the workspace holds."""
        return summarise(self.engine, self.settings.workspace.currency, self.dead_letters())

    def read_out(self, placement_id: str) -> ReadOut:
        """Incremental margin of a placement against its holdout, or why nothing can be said yet.

        Raises:
            NotFoundError: there is no such placement.
        """
        return read_out_of(
            placement_id, store=self.store, engine=self.engine, catalogue=self.catalogue, simulated=self.simulated
        )

    def replay(
        self,
        since: datetime,
        until: datetime | None = None,
        items: int = 10,
        progress: Callable[[int, int], None] | None = None,
    ) -> Replay:
        """Walk the imported history through the decision path, in a workspace made for it; this one is only read.

        Args:
            since, until: orders placed in [since, until) are asked about; a time without a zone is UTC, and None goes
                to the last order.
            items: products asked for before each order, 1-20.
            progress: called with orders done and orders in all.

        Raises:
            UserError: no order of a known customer lies in the period.
        """
        from vitrina.measure.replay import Stage, replay
        from vitrina.understand.next_order import NextOrder

        start, end = instant_of(since), None if until is None else instant_of(until)
        collect = msgspec.structs.replace(self.settings.collect, plan="")  # its file isn't there, and nothing comes in
        settings = msgspec.structs.replace(self.settings, storage=config.Storage(), collect=collect)
        clock = SimulatedClock(0)
        with (
            tempfile.TemporaryDirectory(prefix="vitrina-replay-") as folder,
            Workspace(Path(folder), clock=clock, threaded=False, settings=settings) as scratch,
        ):
            scratch.claim()
            recommender = NextOrder(memory=scratch.purchases)
            stage = Stage(
                clock,
                scratch.profiles,
                scratch.catalogue,
                scratch._decider(recommender),
                recommender,
                settings.workspace.currency,
                settings.privacy.adult_age,
            )
            return replay(self.engine, stage, start, end, items, progress)

    def problems(self) -> list[Obstacle]:
        """What keeps this process from serving; empty when it can."""
        return self.vitals.obstacles()

    def probe(self, seconds: float) -> Ticket[None] | None:
        """A small write that shows whether the store can be written; None when one was within the last `seconds`."""
        return self.store.writer.probe(seconds)

    def doctor(self) -> Health:
        """Every setting with its origin; checks of disk, clock, versions, store and lake; what may be learned."""
        health = examine(
            self.root,
            config.settings_table(self.settings, self.origins),
            self.store,
            self.lake,
            self._streams,
            self.clock,
        )
        learning = Check("learning", True, self.learner.permission_said())
        return msgspec.structs.replace(health, checks=[*health.checks, learning])
