"""The book of profiles: events are folded into it after they are stored, and decisions read it from memory.

One folder thread takes committed events in order, folds them, and every 250 ms (less often when saves take long) saves
the changed leaves, links and the offset in one transaction; after a crash the journal is replayed from that offset.
Decisions read under `lock`, which the folder gives up every few events, so that nobody reads half an event.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Connection, delete

from vitrina.collect.graph import Graph
from vitrina.collect.identity import CALL, Limits, Link, links, order_pair
from vitrina.collect.ingest import decode_event, event_key
from vitrina.collect.leaf import Leaf, encode_leaf, fold_facts, note_shown, take_consent
from vitrina.collect.profile import MergeFeatures, Personal, Profile
from vitrina.collect.profile_store import (
    Snapshot,
    Unsaved,
    links_of,
    load_clusters,
    load_deferred,
    load_devices,
    write,
)
from vitrina.core.clock import Clock, Micros, SystemClock
from vitrina.core.consent import ConsentRecord
from vitrina.core.errors import MachineError, NotFoundError
from vitrina.core.event import Event
from vitrina.storage.journal import CommittedRow, Journal
from vitrina.storage.store import Store

__all__ = ["FoldStep", "Personal", "Profile", "ProfileBook"]

log = logging.getLogger("vitrina.collect")

FoldStep = Callable[[Leaf, Event], None]
"""Something else that every event does to its leaf: features, outcomes."""

READER = "fold"
_CHUNK = 50
_GROUP = 1_000
_SAVE_SECONDS = 0.25
_SAVE_SHARE = 40  # a save may take a fortieth of the time: with many people at once, waiting lets their pages coalesce
_LONGEST_SAVE_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_LINGER_SECONDS = 0.005


def _first_state(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return next((state for state in states if state), {})


class ProfileBook:
    """Profiles in memory, over a store.

    Args:
        store: where leaves and links are kept.
        journal: the journal of events.
        steps: further steps of the fold, called with the leaf and the event, in this order. One that asks the store
            comes before those that change the leaf: when the store fails, the event is folded again as a whole.
        merge: the feature set's merge of the states of several leaves.
        clock: for `available_at` and the log.
        limits: what one person and one shared identifier may hold.
        capacity: identifiers kept in memory; those used longest ago are let go.
        write_consents: writes consent records in the transaction of a save; writing one again must change nothing.

        repeats: tells which events came before, longer ago than the journal remembers (empty when none did).

    Attributes:
        lock: held while a leaf is changed; hold it (`reading`) from `find` until the features have been read.
        before_save: called before each save, outside its transaction.
        in_save: called in the transaction of each save, with its connection; called again when that save failed.
        after_save: called once a save is committed.
        faults: events of which a step failed (they are logged; the rest of the event counts).
        healthy: False while the last save failed.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        steps: Sequence[FoldStep] = (),
        *,
        merge: MergeFeatures = _first_state,
        clock: Clock | None = None,
        limits: Limits | None = None,
        capacity: int = 60_000,
        write_consents: Callable[[Connection, Sequence[ConsentRecord]], None] | None = None,
        repeats: Callable[[Sequence[Event]], Sequence[bool]] | None = None,
    ) -> None:
        self.store = store
        self.journal = journal
        self.steps = tuple(steps)
        self.capacity = capacity
        self.lock = threading.RLock()
        self.before_save: list[Callable[[], None]] = []
        self.in_save: list[Callable[[Connection], None]] = []
        self.after_save: list[Callable[[], None]] = []
        self.faults = 0
        self.healthy = True
        self._clock = clock or SystemClock()
        self._graph = Graph(limits or Limits(), merge)
        self._write_consents = write_consents
        self._repeats = repeats
        self._serial = threading.RLock()  # one fold or save at a time
        self._folded = 0
        self._saved = 0
        self._dirty: dict[str, Leaf] = {}
        self._consents: list[ConsentRecord] = []
        self._unsaved = Unsaved()
        self._later: list[tuple[Micros, int, Event]] = []  # a heap of what is kept back
        self._queue: deque[list[CommittedRow]] = deque()
        self._received = 0  # counted by the writer's thread alone
        self._taken = 0  # counted by the folder alone
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    # life

    def recover(self) -> int:
        """Take up where the last save left off: replay the journal from there. Gives the number of events folded.

        Call it once, before events are received; it also makes the journal keep what was not folded yet.
        """
        with self._serial:
            self._folded = self._saved = self.journal.subscribe(READER)
            with self.store.read() as connection:
                self._graph.devices |= load_devices(connection)
                for at, seq, body in load_deferred(connection):
                    heapq.heappush(self._later, (at, seq, decode_event(body)))
            self.journal.after_commit.append(self.receive)
            count = 0
            while rows := self.journal.read(self._folded, _GROUP):
                count += len(rows)
                self.fold(rows)
                self.save()
            return count

    def start(self) -> None:
        """Start the folder thread."""
        if self._thread is None:
            self._stopping = False
            self._thread = threading.Thread(target=self._run, name="vitrina-folder", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Fold what waits, save, and end the folder thread."""
        if self._thread is not None:
            self._stopping = True
            self._wake.set()
            self._thread.join()
            self._thread = None
        self.step()

    def receive(self, rows: list[CommittedRow]) -> None:
        """Queue committed events for the folder (called by the writer after each commit)."""
        self._received += len(rows)
        self._queue.append(rows)
        self._wake.set()

    def step(self) -> int:
        """Fold what waits and save, in the caller's thread. Gives the number of events folded."""
        count = self._fold_waiting(float("inf"))
        self.save()
        return count

    def settle(self, timeout: float = 30.0) -> None:
        """Wait until everything that is stored by now is folded and saved, whoever folds.

        Raises:
            MachineError: it took longer than `timeout` seconds, or could not be saved.
        """
        self.store.write(lambda _: None)  # what was queued before is committed, and handed on, by then
        if self._thread is None:
            self.step()
            return
        until = time.monotonic() + timeout
        while self.backlog:
            if time.monotonic() > until:
                raise MachineError("events wait too long to be folded.", code="profiles.behind", cure="Try again.")
            time.sleep(0.005)
        self.save()

    @property
    def backlog(self) -> int:
        """Stored events that wait to be folded."""
        return self._received - self._taken

    @property
    def waiting_since(self) -> Micros | None:
        """When the first of the events that wait to be folded was received; None when none waits."""
        try:
            return self._queue[0][0].at
        except IndexError:
            return None

    @property
    def alive(self) -> bool:
        """Whether the folder thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def folded(self) -> int:
        """Number of the last event that was folded."""
        return self._folded

    @property
    def saved(self) -> int:
        """Number of the last event whose effects are saved."""
        return self._saved

    def _run(self) -> None:
        due = time.monotonic() + _SAVE_SECONDS
        while not self._stopping:
            wait = due - time.monotonic()
            if not self._queue and wait > 0 and self._wake.wait(wait):
                time.sleep(_LINGER_SECONDS)  # what is committed meanwhile is folded in one go
            self._wake.clear()
            try:
                self._fold_waiting(due)
                begun = time.monotonic()
                if begun >= due:
                    self.save()
                    ended = time.monotonic()
                    due = ended + min(max(_SAVE_SECONDS, _SAVE_SHARE * (ended - begun)), _LONGEST_SAVE_SECONDS)
            except MachineError as error:
                log.warning("folding or saving profiles waits for the store: %s", error.message)
                time.sleep(_RETRY_SECONDS)
            except Exception:
                log.exception("folding or saving profiles failed; nothing is lost, it is tried again")
                time.sleep(_RETRY_SECONDS)

    def _fold_waiting(self, until: float) -> int:
        count = self._fold_due()
        while self._queue:
            groups = self._first_groups()  # they stay in the queue until they are folded
            rows = groups[0] if len(groups) == 1 else [row for group in groups for row in group]
            count += self.fold(rows)
            for _ in groups:
                self._queue.popleft()
            self._taken += len(rows)
            if time.monotonic() >= until:
                break
        return count

    def _first_groups(self) -> list[list[CommittedRow]]:
        """The groups at the head of the queue, at least one, together about `_GROUP` rows at most."""
        groups = [self._queue[0]]
        size = len(groups[0])
        for place in range(1, len(self._queue)):
            size += len(self._queue[place])
            if size > _GROUP:
                break
            groups.append(self._queue[place])
        return groups

    # folding

    def fold(self, rows: Sequence[CommittedRow]) -> int:
        """Fold committed events, in order of their numbers; those folded before are passed over. Gives how many."""
        with self._serial:
            fresh = [
                (row.seq, row.item if isinstance(row.item, Event) else decode_event(row.body), row)
                for row in rows
                if row.seq > self._folded
            ]
            if not fresh:
                return 0
            fresh = self._without_repeats(fresh)
            now = self._clock.now()
            self._load_for([event for _, event, _ in fresh])
            for start in range(0, len(fresh), _CHUNK):
                with self.lock:
                    for seq, event, row in fresh[start : start + _CHUNK]:
                        if event.available_at > now:
                            self._defer(seq, event, row.body)
                        else:
                            self._fold_one(event, now)
                        self._folded = seq
                time.sleep(0)  # so that whoever waits for the lock gets it
            self._folded = max(self._folded, rows[-1].seq)
            return len(fresh)

    def _without_repeats(self, fresh: list[tuple[int, Event, CommittedRow]]) -> list[tuple[int, Event, CommittedRow]]:
        """The events less those that came before, longer ago than the journal remembers; these leave the journal."""
        if self._repeats is None:
            return fresh
        repeated = self._repeats([event for _, event, _ in fresh])
        if not repeated:
            return fresh
        gone = [seq for (seq, _, _), again in zip(fresh, repeated, strict=True) if again]
        table = self.journal.table
        self.store.write(lambda connection: connection.execute(delete(table).where(table.c.seq.in_(gone))))
        return [item for item, again in zip(fresh, repeated, strict=True) if not again]

    def _defer(self, seq: int, event: Event, body: bytes) -> None:
        heapq.heappush(self._later, (event.available_at, seq, event))
        self._unsaved.deferred.append((seq, event.available_at, event.subject, body))

    def _fold_due(self) -> int:
        """Fold the events that were kept back until now."""
        now = self._clock.now()
        if not self._later or self._later[0][0] > now:
            return 0
        with self._serial:
            due = sorted(entry for entry in self._later if entry[0] <= now)
            self._load_for([event for _, _, event in due])
            with self.lock:
                for _, seq, event in due:
                    self._fold_one(event, now)
                    heapq.heappop(self._later)  # only now: a store that fails must not take an event with it
                    self._unsaved.undeferred.append(seq)
            return len(due)

    def _fold_one(self, event: Event, now: Micros) -> None:
        user, anonymous = event.user_id, event.anonymous_id
        subject = f"u:{user}" if user else f"a:{anonymous}"
        graph = self._graph
        leaf = graph.leaf(subject, event.occurred_at)
        try:
            if (user and anonymous) or event.type != "track" or "externalIds" in event.context:
                for low, high, kind in links(event):
                    public = not (event.trusted or (event.proven and kind == CALL))
                    strength = (public, kind, event.occurred_at, event.message_id)
                    changes = graph.link(low, high, strength, event.source)
                    if changes:
                        self._unsaved.note(changes, now)
            records = fold_facts(leaf, event)
            if records is not None:
                self._consents += records
            for step in self.steps:
                step(leaf, event)
        except Exception as error:
            if isinstance(error, MachineError):
                raise  # the event is folded again when the store is back
            self.faults += 1
            log.exception("the event with the id %s could not be folded wholly", event_key(event).hex())
        self._dirty[subject] = leaf
        graph.changed(subject)

    # loading

    def _load_for(self, events: Iterable[Event]) -> None:
        """Have at hand whatever these events can touch, with one round of queries for all of them."""
        clusters = self._graph.clusters
        missing: set[str] = set()
        for event in events:
            user, anonymous = event.user_id, event.anonymous_id
            if user and f"u:{user}" not in clusters:
                missing.add(f"u:{user}")
            if anonymous and f"a:{anonymous}" not in clusters:
                missing.add(f"a:{anonymous}")
            if event.type != "track" or "externalIds" in event.context:
                for low, high, _ in links(event):
                    missing.update(key for key in (low, high) if key not in clusters)
        if missing:
            self._load(missing)

    def _load(self, identifiers: Collection[str]) -> None:
        with self.store.read() as connection:
            met, found, leaves = load_clusters(connection, identifiers, self._graph.devices)
        with self.lock:
            fresh = {identifier for identifier in met if identifier not in self._graph.clusters}
            self._graph.load(
                fresh,
                [link for link in found if link.low in fresh and link.high in fresh],
                [leaf for leaf in leaves if leaf.key in fresh],
            )

    # reading

    def reading(self) -> AbstractContextManager[Any]:
        """Hold the folder off, from `find` until the features have been read."""
        return self.lock

    def find(self, user_id: str | None, anonymous_id: str | None) -> Profile | None:
        """The profile of the userId, else of the anonymousId; None when nothing is known.

        An anonymousId that belongs to another known user is not this user's, so it isn't answered with.
        """
        if user_id:
            profile = self.of(f"u:{user_id}")
            if profile is not None:
                return profile
        if anonymous_id:
            profile = self.of(f"a:{anonymous_id}")
            if profile is not None and (not user_id or profile.user_id in (None, user_id)):
                return profile
        return None

    def of(self, identifier: str) -> Profile | None:
        """The profile of one identifier (`u:…`, `a:…`, `e:…`, `p:…`, `x:…`), or None."""
        with self.lock:
            if identifier not in self._graph.clusters:
                self._load({identifier})
            return self._graph.profile(identifier)

    def links(self, identifier: str) -> list[Link]:
        """The links of everything this person is known by, with what became of each, in their order."""
        self.save()
        profile = self.of(identifier)
        names = profile.identifiers if profile is not None else (identifier,)
        with self.store.read() as connection:
            return links_of(connection, names)

    # changing

    def touch_decision(self, subject: str, now: Micros, assignment_key: str, offers: Sequence[str]) -> None:
        """Note that somebody was decided for and shown `offers`, so that caps and the holdout hold from now on.

        Doing it again changes nothing, so decisions may be replayed after a crash.
        """
        with self.lock:
            if subject not in self._graph.clusters:
                self._load({subject})
            leaf = self._graph.leaf(subject, now)
            if leaf.decided_at is None or (now, assignment_key) < (leaf.decided_at, leaf.assignment_key or ""):
                leaf.decided_at, leaf.assignment_key = now, assignment_key
            note_shown(leaf, offers, now)
            self._dirty[subject] = leaf
            self._graph.shown(subject)

    def untouch_decision(self, subject: str, now: Micros) -> None:
        """Take back `touch_decision`: the decision could not be logged, so nobody was answered."""
        with self.lock:
            if subject not in self._graph.clusters:
                self._load({subject})
            leaf = self._graph.leaf(subject, now)
            left = {offer: [at for at in times if at != now] for offer, times in leaf.shown.items()}
            leaf.shown = {offer: times for offer, times in left.items() if times}
            if leaf.decided_at == now:
                leaf.decided_at = min((times[0] for times in leaf.shown.values()), default=None)
            self._dirty[subject] = leaf
            self._graph.shown(subject)

    def apply_consent(self, record: ConsentRecord) -> None:
        """Let an answer count from the next decision on. Its record is written with the next save, if it isn't yet."""
        with self.lock:
            if record.subject not in self._graph.clusters:
                self._load({record.subject})
            leaf = self._graph.leaf(record.subject, record.at)
            self._consents += take_consent(leaf, record)
            self._dirty[record.subject] = leaf
            self._graph.changed(record.subject)

    def suppress(self, one: str, other: str, *, by: str, suppressed: bool = True) -> None:
        """Undo the link of two identifiers, or restore it, and save; `by` says who did it.

        Raises:
            NotFoundError: there is no such link.
        """
        low, high = order_pair(one, other)
        with self._serial:
            with self.lock:
                if low not in self._graph.clusters:
                    self._load({low})
                changes = self._graph.suppress(low, high, suppressed)
                if changes is None:
                    raise NotFoundError(
                        f"{one} and {other} are not linked.",
                        code="identity.link",
                        cure="Look at the links of this profile.",
                    )
                self._unsaved.links[low, high] = self._graph.clusters[low].links[low, high]
                self._unsaved.note(changes, self._clock.now(), by)
            self.save()

    def forget(self, identifiers: Collection[str]) -> None:
        """Drop identifiers, their leaves and links from memory and from the next save (erasure).

        Delete them from the store first (`profile_store.erase_links` and the tables with the eraser `delete`), then
        call this, both while nothing new of them is accepted any more.
        """
        names = set(identifiers)
        with self._serial, self.lock:
            self._graph.forget(names)
            for name in names:
                self._dirty.pop(name, None)
            self._unsaved.forget(names)
            self._consents = [record for record in self._consents if record.subject not in names]
            self._later = [entry for entry in self._later if entry[2].subject not in names]
            heapq.heapify(self._later)

    # saving

    def save(self) -> None:
        """Write what changed and how far the journal is folded, in one transaction; nothing when nothing changed.

        Raises:
            MachineError: the store could not be written; everything is kept for the next save.
        """
        with self._serial:
            with self.lock:
                dirty, self._dirty = self._dirty, {}
                consents, self._consents = self._consents, []
                snapshot = self._unsaved.snapshot(self._encode(dirty), self._graph.removed)
                folded = self._folded
            if snapshot.empty and not consents and folded == self._saved:
                return
            try:
                for listener in self.before_save:
                    listener()
                self.store.write(lambda connection: self._write(connection, snapshot, consents, folded))
            except BaseException:
                self.healthy = False
                with self.lock:
                    self._dirty = {**dirty, **self._dirty}
                    self._consents = [*consents, *self._consents]
                raise
            self.healthy, self._saved, self._unsaved = True, folded, Unsaved()
            self._graph.removed.difference_update(snapshot.removed)
            for listener in self.after_save:
                listener()
            with self.lock:
                self._graph.tick += 1
                if len(self._graph.clusters) > self.capacity:
                    self._graph.evict(self.capacity * 9 // 10, self._dirty)

    def _encode(self, leaves: dict[str, Leaf]) -> list[tuple[str, Micros, bytes]]:
        encoded: list[tuple[str, Micros, bytes]] = []
        for key in sorted(leaves):  # neighbours share pages of the store
            leaf = leaves[key]
            try:
                encoded.append((key, leaf.last_at, encode_leaf(leaf)))
            except (TypeError, OverflowError, UnicodeEncodeError):
                self.faults += 1
                log.exception("the leaf of one person can't be stored; what is stored of it stays as it was")
        return encoded

    def _write(
        self, connection: Connection, snapshot: Snapshot, consents: Sequence[ConsentRecord], folded: int
    ) -> None:
        write(connection, snapshot)
        if consents and self._write_consents is not None:
            self._write_consents(connection, consents)
        for listener in self.in_save:
            listener(connection)
        if folded != self._saved:
            self.journal.advance(connection, READER, folded, self._clock.now())
