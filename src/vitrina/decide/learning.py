"""The learner: reads decisions and outcomes in order, teaches the models, publishes numbered banks of draws.

It works off the request path: `step(now)` does all that is due, in bursts of a few milliseconds; `start` calls it
from a thread of its own. What was read so far is a part of the state, so that after a crash nothing is learned twice
and nothing is left out: the state is written as a whole, and what came after it is read again.

A "yes" is learned at once. A "no" is booked in thirds, when a decision is as old as 30, 65 and 90 % of the outcomes
that do come (see `vitrina.decide.delays`); so a late "yes" finds at most that much booked against it. If the placement
was no longer young when the decision was made, its "no" is booked whole at one of the three ages.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, func, insert, select

from vitrina.core.clock import HOUR, SECOND, Clock, Micros
from vitrina.core.decision import DecisionRow
from vitrina.core.errors import NotFoundError
from vitrina.core.ids import hash16
from vitrina.core.meter import OTHER, Tally
from vitrina.core.outcome import Outcome
from vitrina.decide.arrays import Arrays, hash_arrays, pack_arrays, unpack_arrays
from vitrina.decide.bank import Bank
from vitrina.decide.candidates import ATTRIBUTES
from vitrina.decide.delays import AGES, SHARE, Delays
from vitrina.decide.lessons import Example, HeadName, Known, Lessons, Listed, Lists, has_clicks
from vitrina.decide.log import DecisionLog
from vitrina.decide.model import Layout, offer_subset
from vitrina.decide.outcomes import OutcomeLog
from vitrina.decide.placement_model import PlacementModel
from vitrina.decide.tables import bank as bank_table
from vitrina.decide.tables import learner as learner_table
from vitrina.storage.store import Store

__all__ = ["Learner", "LearnerSettings"]

log = logging.getLogger(__name__)

_BURST = 50
_KEPT_BANKS = 8
_READER = "learner"
_CLICK, _SALE_AFTER_CLICK, _SALE = "click", "sale_after_click", "sale"
_PRIOR_DELAYS: dict[str, Micros] = {_CLICK: 30 * SECOND, _SALE_AFTER_CLICK: HOUR, _SALE: 24 * HOUR}
_STAGES = range(len(AGES))


class LearnerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to learn.

    Attributes:
        draws: M, draws in a bank.
        scale: v, multiplier of the posterior deviation.
        forgetting: q, share of the prior variance added back per 1,000 outcomes.
        seed: seed of the draws; with the same events it gives the same banks.
        save_seconds: longest time between two writes of the state, on the machine's clock; 0 writes after every step.
        poll_seconds: how often the thread looks for something new.
    """

    draws: int = 64
    scale: float = 0.2
    forgetting: float = 0.002
    seed: int = 0
    save_seconds: float = 10.0
    poll_seconds: float = 0.2


class Learner:
    """One life a workspace. `current` and `numbered` may be called from any thread, at any time.

    Args:
        store: where banks and the state lie.
        decisions, outcomes, lists: what is read.
        features: names of the entries of the vectors that decisions log.
        feature_set: number of those vectors, as decisions log it.
        personal: places of the entries that come from a person.
        may_train: whether what is known of a subject may train models, now; asked about personalised decisions only.

    Attributes:
        skipped: examples left out since the start because their vector or list of candidates is no longer understood.
        personalised: examples of personalised decisions so far.
        unpermitted: those of them that were learned with the personal entries left out, for want of permission.
        failure: why the thread's last step failed, "" when it didn't.
        examples: examples learned since the start.
        published: banks published since the start, by placement.
    """

    def __init__(
        self,
        store: Store,
        decisions: DecisionLog,
        outcomes: OutcomeLog,
        lists: Lists,
        *,
        features: tuple[str, ...],
        feature_set: int,
        personal: Sequence[int] = (),
        may_train: Callable[[str], bool] = lambda subject: True,
        settings: LearnerSettings | None = None,
    ) -> None:
        self.settings = settings or LearnerSettings()
        self.skipped = 0
        self.personalised = self.unpermitted = 0
        self._personal = list(personal)
        self._may_train = may_train
        self.failure = ""
        self.examples = 0
        self.published: Tally[str] = Tally(most=100, other=OTHER)
        self._store = store
        self._outcome_journal = outcomes.journal
        self._lists = lists
        self._lessons = Lessons(decisions, outcomes, lists, feature_set)
        self._feature_set = feature_set
        self._layout = Layout(features, ATTRIBUTES, offer_subset(len(features)))
        self._lock = threading.Lock()
        self._bank_lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._cursors = {"outcomes": 0} | {f"{kind}{stage}": 0 for kind in _PRIOR_DELAYS for stage in _STAGES}
        self._delays = {kind: Delays(mean) for kind, mean in _PRIOR_DELAYS.items()}
        self._models: dict[str, PlacementModel] = {}
        self._changed: set[str] = set()
        self._waiting: dict[tuple[str, HeadName], list[Example]] = {}
        self._torn = False  # a step broke off: what it learned is thrown away and read again
        self._learned = 0
        self._saved_at = time.monotonic()
        self._banks: dict[str, Bank] = {}
        self._kept: dict[int, Bank] = {}
        outcomes.journal.subscribe(_READER)
        self._restore()

    # banks

    def current(self, placement_id: str) -> Bank:
        """The newest bank of a placement; the first one is drawn from the prior and stored.

        Raises:
            NotFoundError: there is no such placement.
        """
        bank = self._banks.get(placement_id)
        if bank is None:
            clicks = has_clicks(self._lists.candidates(placement_id).placement)
            with self._bank_lock:
                bank = self._banks.get(placement_id)
                if bank is None:
                    model = PlacementModel(placement_id, self._layout, self.settings.forgetting, clicks=clicks)
                    bank = self._publish(model, 0)
        return bank

    def numbered(self, number: int) -> Bank | None:
        """The bank with this number, or None when it is gone."""
        bank = self._kept.get(number) or next((each for each in self._banks.values() if each.number == number), None)
        if bank is None:
            with self._store.read() as connection:
                body = connection.execute(select(bank_table.c.body).where(bank_table.c.number == number)).scalar()
            if body is None:
                return None
            bank = Bank.unpack(body)
            self._kept = dict([*self._kept.items(), (number, bank)][-_KEPT_BANKS:])
        return bank

    def forget_banks(self, before: Micros) -> int:
        """Delete banks drawn before an instant, except the newest of each placement; gives how many."""
        newest = [bank.number for bank in self._banks.values()]
        where = (bank_table.c.at < before) & bank_table.c.number.not_in(newest)
        return self._store.write(lambda connection: connection.execute(delete(bank_table).where(where)).rowcount)

    def _publish(self, model: PlacementModel, now: Micros) -> Bank:
        """Draw, store, and only then use (called with `_bank_lock` held)."""
        number = self._next_number
        rng = np.random.default_rng([self.settings.seed, int.from_bytes(hash16(model.placement, b"bank")[:8]), number])
        candidates = self._candidates(model.placement)
        bank = model.draw(
            number,
            feature_set=self._feature_set,
            draws=self.settings.draws,
            scale=self.settings.scale,
            rng=rng,
            offers=0 if candidates is None else len(candidates.offer_ids),
        )
        row = {"number": number, "placement": model.placement, "at": now, "body": bank.pack()}
        self._store.write(lambda connection: connection.execute(insert(bank_table).values(row)))
        if candidates is not None:
            bank.bind(candidates)  # now, so that no decision has to wait for it
        model.published(now)
        self._next_number = number + 1
        self._banks[model.placement] = bank
        self.published.add(model.placement)
        return bank

    def _candidates(self, placement: str) -> Listed | None:
        try:
            return self._lists.candidates(placement)
        except NotFoundError:
            return None

    # learning

    def step(self, now: Micros) -> int:
        """Learn what is due at `now`, publish the banks that are due, save the state; gives how many examples.

        Raises:
            MachineError: the store can't be read or written; what was not saved will be read again.
        """
        with self._lock:
            if self._torn:
                self._restore()
            self._torn, self._learned = True, 0
            self._learn(now)
            self._publish_due(now)
            if self._changed and time.monotonic() - self._saved_at >= self.settings.save_seconds:
                self._save(now)
            self._torn = False
            return self._learned

    def _learn(self, now: Micros) -> None:
        self._learn_outcomes(now)
        for stage in _STAGES:
            self._book_no_clicks(stage, now)
            self._book_no_sales(stage, now)
            self._book_no_sales_after_clicks(stage, now)

    def _publish_due(self, now: Micros) -> None:
        for placement in sorted(self._models):
            model = self._models[placement]
            if model.wants_bank(now):
                with self._bank_lock:
                    self._publish(model, now)
                self._changed.add(placement)

    def _learn_outcomes(self, now: Micros) -> None:
        while rows := self._lessons.outcomes_after(self._cursors["outcomes"]):
            known = self._lessons.known([outcome.decision_id for _, outcome in rows])
            for _, outcome in rows:
                if outcome.trusted:
                    self._take(outcome, known.get((outcome.decision_id, outcome.offer_id), Known()))
            self._cursors["outcomes"] = rows[-1][0]
            self._changed.add("")
            self._teach_all()

    def _take(self, outcome: Outcome, known: Known) -> None:
        row = self._lessons.decision(outcome.decision_id)
        listed = None if row is None else self._lessons.listed(row)
        if row is None or listed is None:
            self.skipped += 1
            return
        model, k = self._model(listed), row.items[outcome.position]
        if outcome.kind == "reversal":
            margin = float(listed.margin[k])
            model.count_refund(outcome.offer_id, abs(outcome.value or 0) / margin if margin > 0 else 1.0)
        elif outcome.kind == "conversion":
            model.count_sale(outcome.offer_id)
            if known.sale is not None and _same(known.sale, outcome):
                self._take_sale(model, row, k, outcome, known)
        elif model.clicks and not _after_sale(known):
            self._delays[_CLICK].add(outcome.at - row.at)
            self._teach(row, k, "click", 1.0, 1.0)
        self._changed.add(model.placement)

    def _take_sale(self, model: PlacementModel, row: DecisionRow, k: int, outcome: Outcome, known: Known) -> None:
        """The first sale of an item; where no click came before it, the click is taken as given."""
        if not model.clicks:
            self._delays[_SALE].add(outcome.at - row.at)
        elif known.clicked_at is None or _after_sale(known):
            self._teach(row, k, "click", 1.0, 1.0)
        else:
            self._delays[_SALE_AFTER_CLICK].add(outcome.at - known.clicked_at)
        self._teach(row, k, "buy", 1.0, 1.0)

    def _book_no_clicks(self, stage: int, now: Micros) -> None:
        for row, model, k, known, share in self._shown(_CLICK, stage, now, clicks=True):
            if known is None or (known.clicked_at is None and known.sale is None and not known.robot):
                self._teach(row, k, "click", 0.0, share)
                self._changed.add(model.placement)

    def _book_no_sales(self, stage: int, now: Micros) -> None:
        cursor = f"{_SALE}{stage}"
        if all(model.clicks for model in self._models.values()):
            # Every decision that was looked at belongs to a placement with clicks: there is nothing to wait for.
            self._cursors[cursor] = max(self._cursors[cursor], self._cursors[f"{_CLICK}0"])
            return
        for row, model, k, known, share in self._shown(_SALE, stage, now, clicks=False):
            if known is None or known.sale is None:
                self._teach(row, k, "buy", 0.0, share)
                self._changed.add(model.placement)

    def _book_no_sales_after_clicks(self, stage: int, now: Micros) -> None:
        cursor = f"{_SALE_AFTER_CLICK}{stage}"
        before = now - self._delays[_SALE_AFTER_CLICK].ages()[stage]
        while rows := self._lessons.outcomes_after(
            self._cursors[cursor], upto=self._cursors["outcomes"], before=before
        ):
            clicks = [outcome for _, outcome in rows if outcome.kind == "click" and outcome.trusted]
            known = self._lessons.known([outcome.decision_id for outcome in clicks])
            for outcome in clicks:
                row = self._lessons.decision(outcome.decision_id)
                listed = None if row is None else self._lessons.listed(row)
                sold = known.get((outcome.decision_id, outcome.offer_id), Known()).sale
                if row is not None and listed is not None and sold is None and self._model(listed).clicks:
                    self._teach(row, row.items[outcome.position], "buy", 0.0, SHARE)
                    self._changed.add(row.placement)
            self._cursors[cursor] = rows[-1][0]
            self._changed.add("")
            self._teach_all()

    def _shown(
        self, kind: str, stage: int, now: Micros, *, clicks: bool
    ) -> Iterator[tuple[DecisionRow, PlacementModel, int, Known | None, float]]:
        """Items of decisions that have become old enough for this stage: what is known, and how much to book."""
        cursor = f"{kind}{stage}"
        # Never before the decision was counted, which the first look for clicks does.
        before = now - max(self._delays[kind].ages()[stage], self._delays[_CLICK].ages()[0])
        while rows := self._lessons.decisions_after(self._cursors[cursor], before):
            due = [
                found
                for seq, row in rows
                if row is not None
                for found in self._due(seq, row, kind, stage, clicks=clicks)
            ]
            known = self._lessons.known([row.id for row, *_ in due])
            for row, listed, model, share in due:
                for k in row.items:
                    yield row, model, k, known.get((row.id, listed.offer_ids[k])), share
            self._cursors[cursor] = rows[-1][0]
            self._changed.add("")
            self._teach_all()

    def _due(
        self, seq: int, row: DecisionRow, kind: str, stage: int, *, clicks: bool
    ) -> Iterator[tuple[DecisionRow, Listed, PlacementModel, float]]:
        """The decision with the share of a "no" to book at this stage, where there is one.

        A third at each age if it was made while the placement was young; later the whole at one of the three ages,
        which follows from the decision's id: the same in the mean for a third of the work. Either way the shares of
        a decision add up to 1.
        """
        listed = self._lessons.listed(row)
        if listed is None:
            self.skipped += 1
            return
        model = self._model(listed)
        if kind == _CLICK and stage == 0:
            model.visit(seq)
        if model.clicks is not clicks:
            return
        if model.booked_in_parts(seq):
            yield row, listed, model, SHARE
        elif hash16(row.id, b"stage")[0] % len(AGES) == stage:
            yield row, listed, model, 1.0

    def _model(self, listed: Listed) -> PlacementModel:
        placement = listed.placement.id
        with contextlib.suppress(NotFoundError):
            listed = self._lists.candidates(placement)
        clicks = has_clicks(listed.placement)
        model = self._models.get(placement)
        if model is None or model.clicks is not clicks:
            model = PlacementModel(placement, self._layout, self.settings.forgetting, clicks=clicks)
            self._models[placement] = model
            self._waiting.pop((placement, "click"), None)
            self._waiting.pop((placement, "buy"), None)
        return model

    def _teach(self, row: DecisionRow, k: int, head: HeadName, y: float, weight: float) -> None:
        example = self._lessons.example(row, k, head, y, weight)
        if example is None:
            return
        if row.personalised:
            self.personalised += 1
            if not self._may_train(row.subject):
                self.unpermitted += 1
                example = msgspec.structs.replace(example, x=self._of_the_page(example.x))
        batch = self._waiting.setdefault((example.placement, head), [])
        batch.append(example)
        if len(batch) >= _BURST:
            self._teach_batch(example.placement, head)

    def _of_the_page(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The vector as it would have been on this page for nobody in particular."""
        x = x.copy()
        x[self._personal] = 0.0
        return x

    def _teach_all(self) -> None:
        for placement, head in sorted(self._waiting):
            self._teach_batch(placement, head)

    def _teach_batch(self, placement: str, head: HeadName) -> None:
        examples = self._waiting.pop((placement, head))
        self._models[placement].learn(head, examples)
        self._learned += len(examples)
        self.examples += len(examples)
        if self._thread is not None:
            time.sleep(0.0005)  # between bursts, so that a decision never waits for more than one

    def weights(self, placement_id: str) -> dict[str, float]:
        """How much each head of a placement has learned: the sum of the weights of its examples, by head."""
        model = self._models.get(placement_id)
        return {} if model is None else {name: head.weight for name, head in model.heads.items()}

    def permission_said(self) -> str:
        """What the model may learn of people, in a sentence, from everything that was learned so far."""
        if not self.unpermitted:
            return f"{self.personalised:,} examples of personalised decisions, all permitted"
        return (
            f"{self.unpermitted:,} of {self.personalised:,} examples of personalised decisions were learned without "
            "anything personal: the people did not permit model_training; ask for it where you ask for personalisation"
        )

    def bank_times(self) -> dict[str, Micros]:
        """When the newest bank of each placement was drawn from what was learned; one that learned nothing has none."""
        return {name: model.published_at for name, model in list(self._models.items()) if model.published_at}

    def behind(self) -> tuple[int, Micros | None]:
        """How many outcomes it has not read yet, and when the first of them was received."""
        return self._outcome_journal.waiting(self._cursors["outcomes"])

    def losses(self, placement_id: str) -> dict[str, float]:
        """Share of the margin that refunds take back, by offer; "" stands for offers that never sold."""
        model = self._models.get(placement_id)
        return {} if model is None else model.losses()

    def ages(self) -> dict[str, tuple[Micros, ...]]:
        """At which ages the parts of a "no" are booked, by kind: click, sale_after_click, sale."""
        return {kind: delays.ages() for kind, delays in self._delays.items()}

    # state

    def state_hash(self) -> str:
        """32 digits that name everything learned and how far was read; the same events and steps give the same."""
        with self._lock:
            parts = {"": self._own_arrays()} | {name: model.arrays() for name, model in self._models.items()}
            return hash_arrays(
                {f"{place}/{name}": array for place, arrays in parts.items() for name, array in arrays.items()}
            )

    def save(self, now: Micros) -> None:
        """Write the state now."""
        with self._lock:
            self._save(now)

    def _own_arrays(self) -> Arrays:
        out: Arrays = {
            "cursors": np.array([self._cursors[name] for name in sorted(self._cursors)], dtype=np.int64),
            "permission": np.array([self.personalised, self.unpermitted], dtype=np.int64),
        }
        return out | {f"delays_{kind}": delays.counts for kind, delays in self._delays.items()}

    def _blank(self) -> Arrays:
        out: Arrays = {"cursors": np.zeros(len(self._cursors), dtype=np.int64)}
        return out | {f"delays_{kind}": np.zeros_like(delays.counts) for kind, delays in self._delays.items()}

    def _save(self, now: Micros) -> None:
        """State and offset in one transaction."""
        states = {"": self._own_arrays()}
        states |= {name: self._models[name].arrays() for name in sorted(self._changed & self._models.keys())}
        rows = [{"name": name, "at": now, "body": pack_arrays(arrays)} for name, arrays in states.items()]
        read = min(
            seq for name, seq in self._cursors.items() if name == "outcomes" or name.startswith(_SALE_AFTER_CLICK)
        )

        def write(connection: Connection) -> None:
            connection.execute(delete(learner_table).where(learner_table.c.name.in_(list(states))))
            connection.execute(insert(learner_table), rows)
            self._outcome_journal.advance(connection, _READER, read, now)

        self._store.write(write)
        self._changed.clear()
        self._saved_at = time.monotonic()

    def _restore(self) -> None:
        with self._store.read() as connection:
            states: dict[str, Any] = {row.name: row.body for row in connection.execute(select(learner_table))}
            self._next_number = 1 + (connection.execute(select(func.max(bank_table.c.number))).scalar() or 0)
            newest = select(func.max(bank_table.c.number)).group_by(bank_table.c.placement)
            bodies = (
                connection.execute(select(bank_table.c.body).where(bank_table.c.number.in_(newest))).scalars().all()
            )
        self._models, self._waiting = {}, {}
        self._changed.clear()
        own = unpack_arrays(states.pop("")) if "" in states else self._blank()
        for cursor, seq in zip(sorted(self._cursors), own["cursors"].tolist(), strict=True):
            self._cursors[cursor] = seq
        self.personalised, self.unpermitted = (int(count) for count in own.get("permission", (0, 0)))
        for kind, delays in self._delays.items():
            delays.restore(own[f"delays_{kind}"])
        for name, body in states.items():
            self._models[name] = PlacementModel.restored(
                name, unpack_arrays(body), self._layout, self.settings.forgetting
            )
        for bank in map(Bank.unpack, bodies):
            if bank.feature_set == self._feature_set and bank.layout == self._layout:
                self._banks[bank.placement] = bank

    # its own thread

    def start(self, clock: Clock) -> None:
        """Learn in a thread of its own, by `clock`, until `stop`."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, args=(clock,), name="learner", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self, now: Micros) -> None:
        """End the thread, if there is one, and save."""
        thread = self._thread
        if thread is not None:
            self._stopping.set()
            thread.join()
            self._thread = None
        self.save(now)

    def _run(self, clock: Clock) -> None:
        while not self._stopping.wait(self.settings.poll_seconds):
            try:
                self.step(clock.now())
                self.failure = ""
            except Exception as error:  # the thread must outlive a full disk or a database that is away
                if not self.failure:
                    log.exception("learning pauses; it goes on from its last saved state")
                self.failure = str(error) or type(error).__name__


def _same(one: Outcome, other: Outcome) -> bool:
    return (one.order_id, one.message_id) == (other.order_id, other.message_id)


def _after_sale(known: Known) -> bool:
    """The click came after the sale, so it says nothing new."""
    return known.sale is not None and known.clicked_at is not None and known.clicked_at > known.sale.at
