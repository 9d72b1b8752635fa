"""The workspace: the one place where the parts are wired together.

`open(folder)` gives a `Workspace` with the nouns as attributes. Nothing runs in the background until `start()`; with
`step()` the same work is done in the caller's thread, which is how simulations and commands use it.
"""

from __future__ import annotations

import logging
import secrets
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np
from sqlalchemy import func, select

from vitrina.collect.bots import BotCheck
from vitrina.collect.dead_letters import delete_letters, store_letters
from vitrina.collect.identifiers import erasure_key
from vitrina.collect.importers import ImportReport
from vitrina.collect.importers import import_file as import_rows
from vitrina.collect.ingest import LARGEST_EVENT, Terms, accept, event_row
from vitrina.collect.joined import joined_leaves
from vitrina.collect.leaf import Leaf
from vitrina.collect.mapping import load_mapping
from vitrina.collect.products import write_products
from vitrina.collect.profiles import ProfileBook
from vitrina.collect.segment_api import BatchBody, CallBody, read
from vitrina.collect.tables import dead_letter
from vitrina.collect.tracking_plan import Plan
from vitrina.core import config
from vitrina.core.access import INTERNAL, Caller, Source
from vitrina.core.catalogue import Placement
from vitrina.core.clock import DAY, MINUTE, Clock, Micros, SimulatedClock, SystemClock, from_datetime, month_of
from vitrina.core.consent import ConsentRecord, Purpose
from vitrina.core.decision import Answer, DecideRequest
from vitrina.core.errors import ConflictError, MachineError, NotFoundError, OverloadedError, UserError, VitrinaError
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
from vitrina.govern.access import Keys, Users
from vitrina.govern.audit import Audit
from vitrina.govern.consent import Consents, write_consents
from vitrina.govern.erasure import Receipt
from vitrina.govern.permission import ask
from vitrina.measure.people import gather
from vitrina.measure.read_out import ReadOut, read_out
from vitrina.measure.summary import Summary, summarise
from vitrina.people import People
from vitrina.storage.claim import Claim
from vitrina.storage.doctor import Health, examine
from vitrina.storage.drainer import Drainer
from vitrina.storage.engine import Engine
from vitrina.storage.journal import Journal
from vitrina.storage.lake import Lake
from vitrina.storage.store import Store
from vitrina.storage.stream import Stream
from vitrina.storage.ticket import Ticket
from vitrina.understand.audiences import compile_closure, parse, to_wire
from vitrina.understand.features import FeatureSet, Vectoriser
from vitrina.understand.features.commerce import FEATURES, NUMBER
from vitrina.understand.purchase_memory import PurchaseMemory
from vitrina.understand.refresher import Refresher

if TYPE_CHECKING:
    from vitrina.measure.replay import Replay

__all__ = [
    "BatchBody",
    "CallBody",
    "CreativeBody",
    "OfferBody",
    "OfferImportReport",
    "PlacementBody",
    "Workspace",
    "init",
    "open",
]

log = logging.getLogger(__name__)

SETTINGS = "vitrina.toml"
_ROWS_A_DRAIN = 200_000
Progress = Callable[[int, int | None], None]


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


class Workspace:
    """An open workspace. Close it, or use it as a context manager.

    Attributes:
        settings, origins: effective settings and where each came from.
        store, lake, engine: the database, the Delta lake, Ibis over both.
        profiles, consents, catalogue, decisions, outcomes, learner, decider: the loop.
        keys, users, audit, erasures: access and proof.
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
        self._mark = root / "simulated"
        if simulated:
            self._mark.touch()
        self.simulated = self._mark.exists()
        self._seed = self.settings.workspace.seed or secrets.randbits(63)
        self.rng = np.random.default_rng(self._seed)
        self._started = self._closed = False
        self._claim = Claim(root / "workspace.lock")
        self._claimed = False
        self._open_store(threaded)
        self._open_lake()
        self._wire()

    # wiring

    def _open_store(self, threaded: bool) -> None:
        storage, collect = self.settings.storage, self.settings.collect
        url = storage.url or str(self.root / "store.db")
        self.store = Store.open(url, storage.wal_autocheckpoint, threaded=threaded)
        kept = timedelta(days=collect.dedupe_days)
        self._events = self.store.attach(
            Journal(
                "events",
                dedupe=True,
                keep=kept,
                waiting_rows=collect.waiting_events,
                waiting_bytes=collect.waiting_bytes,
            )
        )
        decisions = timedelta(days=self.settings.privacy.decisions_days)
        waiting = self.settings.decide.waiting_decisions
        self._decisions = self.store.attach(Journal("decisions", dedupe=False, keep=decisions, waiting_rows=waiting))
        self._outcomes = self.store.attach(Journal("outcomes", dedupe=True, keep=decisions))
        self.store.migrate()

    def _open_lake(self) -> None:
        storage = self.settings.storage
        self.lake = Lake.open(
            self.root / storage.lake, self.store, clock=self.clock, compact_files=storage.compact_files
        )
        self._streams = _streams(
            self._events, self._decisions, self._outcomes, self._offers_of, lambda: self.profiles.saved
        )
        self._drainer = Drainer(
            self.lake,
            self._streams,
            seconds=storage.drain_seconds,
            rows=storage.drain_rows,
            daily=self.keep_to_retention,
        )
        self.engine = Engine(self.lake, self._streams)

    def _wire(self) -> None:
        privacy, decide = self.settings.privacy, self.settings.decide
        self.audit = Audit(self.store, self.clock)
        self.keys = Keys(self.store, self.clock)
        self.users = Users(self.store, self.clock)
        self.consents = Consents(self.store)
        self.features = FeatureSet(FEATURES, NUMBER)
        self.vectoriser = Vectoriser()
        self.purchases = PurchaseMemory()
        self.stock = Stock(self.store)
        self.catalogue = Catalogue(
            self.store, self.clock, self.stock, compile_closure, self.settings.workspace.currency
        )
        self.decisions = DecisionLog(self.store, self._decisions)
        self.outcomes = OutcomeLog(self.store, self._outcomes, self.decisions, self.catalogue)
        self.profiles = ProfileBook(
            self.store,
            self._events,
            steps=(self._fold_features, self._fold_outcome),
            merge=self._merge_features,
            clock=self.clock,
            write_consents=write_consents,
            repeats=self._repeats,
        )
        feature_set = self.features.number * 1000 + self.vectoriser.number
        self.learner = Learner(
            self.store,
            self.decisions,
            self.outcomes,
            self.catalogue,
            features=self.vectoriser.names,
            feature_set=feature_set,
            settings=LearnerSettings(
                draws=decide.draws, scale=decide.scale, forgetting=decide.forgetting, seed=self._seed % (1 << 32)
            ),
        )
        self.decider = self._decider(None)
        self._refresher = Refresher(
            lambda: Engine(self.lake, self._streams, threads=1),
            wanted=lambda: self.catalogue.size > decide.candidates,
            take=self.decider.use,
            may_train=self._may_train,
            memory=self.purchases,
            clock=self.clock,
        )
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
        self._terms = Terms(
            plan=Plan(),
            currency=self.settings.workspace.currency,
            erased=self.people.erased,
            bots=BotCheck(self.settings.collect.bot_clicks_per_minute),
            largest=LARGEST_EVENT,
        )
        self.explainer = Explainer(
            self.decisions, self.outcomes, self.catalogue, self.learner, self.vectoriser.names, self.consents.find
        )
        self._listing = DecisionList(self.decisions, self.outcomes, self.catalogue)
        self.adult_age = privacy.adult_age

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

    def _fold_features(self, leaf: Leaf, event: Event) -> None:
        self.features.fold(leaf.features, event)
        self.purchases.fold(leaf.features, event)

    def _merge_features(self, states: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return self.purchases.merge(self.features.merge(states), states)

    def _may_train(self, user_id: str) -> bool:
        profile = self.profiles.find(user_id, None)
        answer = ask(profile, Purpose.MODEL_TRAINING, self.clock.now(), adult_age=self.settings.privacy.adult_age)
        return isinstance(answer, Grant)

    def _fold_outcome(self, leaf: Leaf, event: Event) -> None:
        self.outcomes.join(event)
        self.stock.fold(event)

    def _repeats(self, events: Sequence[Event]) -> list[bool]:
        """Which events came before, too long ago for the journal to remember their ids: the lake does."""
        window = self.settings.collect.dedupe_days * DAY
        old = [e for e in events if e.received_at - e.occurred_at > window and not e.backfilled]
        if not old:
            return []
        months = sorted({month_of(event.occurred_at) for event in old})
        try:
            known = self.lake.present(self._streams[0], "message_id", [event.message_id for event in old], months)
        except (VitrinaError, OSError):
            log.exception("the lake can't be asked for repeats; old events are taken as new")
            return []
        asked = {id(event) for event in old}
        return [id(event) in asked and event.message_id in known for event in events]

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
        """Start the threads: folder, learner, drainer."""
        if self._started:
            return
        self.claim()
        self.profiles.start()
        self.learner.start(self.clock)
        self._drainer.start()
        self._refresher.start()
        self._started = True

    def step(self) -> None:
        """Fold and learn what waits, and renew the recommender if that is due, in the caller's thread."""
        self.claim()
        self.profiles.step()
        self.learner.step(self.clock.now())
        self._refresher.look()

    def drain(self) -> int:
        """Move what waits into the lake, now; gives how many rows."""
        if self._claimed:
            self.profiles.settle()
        return self._drainer.drain()

    def keep_to_retention(self) -> None:
        """Delete what was kept long enough: events, decisions and outcomes, refused events (30 days)."""
        now, privacy = self.clock.now(), self.settings.privacy
        events, decisions = now - privacy.events_days * DAY, now - privacy.decisions_days * DAY
        for stream in self._streams:
            self.lake.delete_before(stream, events if stream.name == "events" else decisions)
        self._decisions.delete_before(decisions)
        self._events.forget_ids(now - self.settings.collect.dedupe_days * DAY)
        self._outcomes.forget_ids(decisions)
        self.learner.forget_banks(now - self.settings.decide.banks_days * DAY)
        self.store.write(lambda connection: delete_letters(connection, now - 30 * DAY))

    def close(self) -> None:
        """Stop the threads, write what waits, close everything; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._started:
            self._refresher.stop()
            self._drainer.stop()
            self.learner.stop(self.clock.now())
            self.profiles.stop()
            self._started = False
        elif self._claimed:
            self.profiles.step()
            self.learner.stop(self.clock.now())
        self.engine.close()
        self.store.close()
        self._claim.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # collect

    def receive(self, body: bytes, kind: str, source: Source, *, gpc: bool = False) -> Ticket[Any]:
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
        if self.profiles.backlog > self.settings.collect.backlog_events:
            raise OverloadedError("Too many events wait to be folded.", code="collect.backlog")
        now = self.clock.now()
        accepted = accept(read(body, kind), source, now, self._terms, gpc=gpc)
        dead = accepted.dead
        letters = self.store.writer.call(lambda c: store_letters(c, dead, source.name, now)) if dead else None
        if not accepted.rows:
            return letters or Ticket.of(None)
        return self.store.writer.append(self._events, accepted.rows)

    def receive_events(self, events: Sequence[Event], *, lasting: bool = False) -> list[bool]:
        """Store events that are read already; for each whether it was new. `lasting` ids are remembered for ever."""
        rows = [event_row(event) for event in events]
        return [seq is not None for seq in self.store.writer.append(self._events, rows, lasting=lasting).result()]

    def dead_letters(self) -> int:
        """How many events were refused."""
        with self.store.read() as connection:
            return connection.execute(select(func.count()).select_from(dead_letter)).scalar_one()

    def import_file(
        self, file: str | Path, mapping: str | Path, *, dry_run: bool = False, progress: Progress | None = None
    ) -> ImportReport:
        """Import a CSV, Parquet or NDJSON file by a mapping file. Repeating it is harmless.

        Raises:
            UserError: file or mapping can't be read; nothing was stored then.
        """
        if not dry_run:
            self.claim()
        path, described = Path(file), load_mapping(Path(mapping))

        def sink(events: Sequence[Event]) -> list[bool]:
            fresh = self.receive_events(events, lasting=True)
            self.profiles.step()
            if self._events.last() - self._events.offset("lake") > _ROWS_A_DRAIN:
                self.drain()
            return fresh

        def told(stage: str, count: int, total: int | None) -> None:
            if progress is not None and (stage == "storing") == (not dry_run):
                progress(count, total)

        report = import_rows(
            path,
            described,
            sink,
            self.clock.now(),
            erased=lambda identifier: erasure_key(identifier) in self.people.erased,
            refusals_file=self.root / "imports" / f"{path.stem}.refused.ndjson",
            dry_run=dry_run,
            progress=told,
            on_products=lambda products: write_products(self.store, products),
        )
        if not dry_run:
            self.audit.record("import", "data.import", {"file": report.file_hash, "stored": report.stored})
            self.drain()
        return report

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
        placement = self.catalogue.placement(placement_id)
        if placement is None:
            raise NotFoundError(f"there is no placement {placement_id}.", code="placement.unknown", where="placement")
        identity = joined_leaves(self.store)
        arms = gather(self.engine, placement, identity, self._margins(placement), self._holdouts(placement_id))
        return read_out(arms, placement_id, placement.currency, simulated=self.simulated)

    def _margins(self, placement: Placement) -> dict[str, int]:
        offers = self.catalogue.offers()
        return {
            o.id: o.margin.minor for o in offers if o.margin is not None and o.margin.currency == placement.currency
        }

    def _holdouts(self, placement_id: str) -> dict[int, float]:
        history = self.catalogue.history("placement", placement_id)
        return {revision: thing.holdout for revision, _, _, thing in history if isinstance(thing, Placement)}

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

        start, end = _instant(since), None if until is None else _instant(until)
        settings = msgspec.structs.replace(self.settings, storage=config.Storage())
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
                self.adult_age,
            )
            return replay(self.engine, stage, start, end, items, progress)

    def problems(self) -> list[str]:
        """What keeps this process from serving; empty when it can."""
        found: list[str] = []
        if not self.store.writer.healthy:
            found.append("The store can't be written.")
        if not self.profiles.healthy:
            found.append("Profiles can't be saved.")
        if not self._started:
            found.append("It has not started.")
        return found

    def doctor(self) -> Health:
        """Every effective setting with its origin, and checks of disk, clock, versions, store and lake."""
        return examine(
            self.root,
            config.settings_table(self.settings, self.origins),
            self.store,
            self.lake,
            self._streams,
            self.clock,
        )


def _instant(moment: datetime) -> Micros:
    return from_datetime(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))


def _streams(
    events: Journal,
    decisions: Journal,
    outcomes: Journal,
    offers_of: Callable[[int], tuple[str, ...] | None],
    folded: Callable[[], int],
) -> list[Stream]:
    """What goes from the store to the lake. Schemas bring Arrow, so they are made where a workspace is opened."""
    from vitrina.collect import lake_events
    from vitrina.decide import tables

    return [
        Stream(
            name="events",
            journal=events,
            schema=lake_events.EVENT_SCHEMA,
            to_arrow=lake_events.to_arrow,
            ready=folded,
        ),
        Stream(
            name="decisions",
            journal=decisions,
            schema=tables.decision_schema(),
            to_arrow=lambda rows: tables.decisions_to_arrow(rows, offers_of),
            statistics=("seq", "occurred_at"),
        ),
        Stream(
            name="outcomes",
            journal=outcomes,
            schema=tables.outcome_schema(),
            to_arrow=tables.outcomes_to_arrow,
            statistics=("seq", "occurred_at"),
        ),
    ]
