"""Replay: what would the decision path have shown just before each order of the past?

The walk goes forward in time. Just before each order of a known customer it asks the real `Engine.decide` of a
placement with the deterministic `ranking` policy, twice: among everything, and among what this customer never bought.
What may be known is what became available strictly before that moment: profiles and consents are folded from the same
events, offers are the products that orders had named by then, and the item-item models are fitted again every two weeks
from people who allow their data to train models. Nothing is learned from the answers; everything happens in a workspace
made for the walk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitrina.collect.profiles import ProfileBook
from vitrina.core.access import INTERNAL
from vitrina.core.catalogue import Offer, Placement, PolicySettings
from vitrina.core.clock import DAY, Micros, SimulatedClock, iso
from vitrina.core.consent import Purpose
from vitrina.core.decision import Answer, DecideRequest
from vitrina.core.errors import UserError
from vitrina.core.event import Event
from vitrina.core.grant import Grant
from vitrina.decide.catalogue import Catalogue
from vitrina.decide.engine import Engine as DecisionEngine
from vitrina.govern.permission import ask
from vitrina.measure.history import read_events
from vitrina.measure.replay_figures import Figure, Lead, figures
from vitrina.storage.engine import Engine
from vitrina.storage.journal import CommittedRow
from vitrina.understand.next_order import NextOrder
from vitrina.understand.order_history import Orders, read_orders
from vitrina.understand.recommend_eval import Results, baselines, hit_rate_and_ndcg
from vitrina.understand.recommend_eval import replay as evaluate
from vitrina.understand.recommend_fit import fit
from vitrina.understand.refresher import allowed

__all__ = ["PLACEMENT", "REPORTED", "Replay", "Stage", "replay"]

PLACEMENT = "replay"
REPORTED = ("popularity_7", "popularity_30", "popularity_90", "buy_again", "hybrid")
"""The baselines that are reported; see `vitrina.understand.recommend_eval.baselines`."""

REFIT = 14 * DAY
_SAVE_EVENTS = 20_000
_FOLD_EVENTS = 1_000

Progress = Callable[[int, int], None]


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a replay.

    Attributes:
        since, until: the period, ISO 8601; orders in [since, until) were asked about.
        items: products asked for before each order.
        orders, people: asked about; `first_orders` of them came from customers of whom nothing was known.
        personalised: answers that used personal data, under a grant.
        products: offers at the end.
        refits: how often the item-item models were fitted.
        figures: hit-rate and NDCG by task (all products, or products new to the customer) and method.
        leads: the decision path less each baseline, paired by order, resampled by customer.
    """

    since: str
    until: str
    items: int
    orders: int
    people: int
    first_orders: int
    personalised: int
    products: int
    refits: int
    figures: list[Figure]
    leads: list[Lead]


class Stage(msgspec.Struct, frozen=True):
    """Where the walk takes place: parts of an empty workspace with a simulated clock, and its engine's recommender."""

    clock: SimulatedClock
    profiles: ProfileBook
    catalogue: Catalogue
    decider: DecisionEngine
    recommender: NextOrder
    currency: str
    adult_age: int = 18


def replay(
    engine: Engine, stage: Stage, since: Micros, until: Micros | None, items: int = 10, progress: Progress | None = None
) -> Replay:
    """Walk the history that `engine` reads, on `stage`.

    Args:
        since, until: orders placed in [since, until) are asked about; None goes to the last one.
        items: products asked for, 1–20.
        progress: called with orders done and orders in all.

    Raises:
        UserError: no order of a known customer lies in the period, or `items` can't be asked for.
    """
    if not 1 <= items <= 20:
        raise UserError(
            f"{items} items can't be asked for.", code="replay.items", where="items", cure="Ask for 1 to 20."
        )
    orders = read_orders(engine)
    until = int(orders.at.max(initial=0)) + 1 if until is None else until
    walk = _Walk(stage, orders, items, since, until)
    if not walk.asked:
        raise UserError(
            f"no order of a known customer lies between {iso(since)} and {iso(until)}.",
            code="replay.empty",
            where="from",
            cure="Import orders that name their customers, or choose an earlier moment.",
        )
    walk.run(read_events(engine, until), progress)
    interactions, settings = orders.interactions(), stage.recommender.settings
    rankers = {name: ranker for name, ranker in baselines().items() if name in REPORTED}
    found = evaluate(interactions, since, until, settings, rankers, refit_days=None, items=items)
    found |= {("decisions", new): walk.results(new_only=new) for new in (False, True)}
    shown, leads = figures(found, "decisions", REPORTED)
    return Replay(
        since=iso(since), until=iso(until), items=items, orders=len(walk.asked), people=walk.people,
        first_orders=walk.first_orders, personalised=walk.personalised, products=walk.known, refits=walk.refits,
        figures=shown, leads=leads,
    )  # fmt: skip


class _Order(msgspec.Struct, frozen=True, gc=False):
    """One order: its number, customer, moment, and product numbers in ascending order."""

    number: int
    person: int
    at: Micros
    available: Micros
    products: NDArray[np.int64]


class _Walk:
    """The walk's own memory: which orders come next, what is on offer, what each customer has bought."""

    def __init__(self, stage: Stage, orders: Orders, items: int, since: Micros, until: Micros) -> None:
        self._stage = stage
        self._orders = orders
        number, person, at, available = (
            column.tolist() for column in (orders.order, orders.person, orders.at, orders.available)
        )
        self._every = [
            _Order(number[a], person[a], at[a], available[a], orders.product[a:b])
            for a, b in pairwise(orders.edges.tolist())
        ]
        self._coming = sorted(self._every, key=lambda order: (order.available, order.number))
        self._come = 0
        self._since = since
        self._bought: dict[int, set[int]] = {}
        self._offered = 0
        self._refit_at = since
        self._rows: dict[bool, list[tuple[int, float, float]]] = {False: [], True: []}
        self.asked = [order for order in self._every if since <= order.at < until]
        self.known = self.first_orders = self.personalised = self.refits = 0
        self._placement = Placement(
            id=PLACEMENT, slots=items, channel="", currency=stage.currency, holdout=0.0,
            policy=PolicySettings(kind="ranking", floor=0.0),
        )  # fmt: skip

    @property
    def people(self) -> int:
        """Customers who were asked for."""
        return len({order.person for order in self.asked})

    def run(self, events: Iterator[Event], progress: Progress | None) -> None:
        """Ask before each order, letting in what became available before it."""
        self._stage.catalogue.put(self._placement)
        folder = _Folder(self._stage, events)
        for done, order in enumerate(self.asked):
            folder.until(order.at)
            self._until(order.at)
            if order.at >= self._refit_at:
                self._refit(order.at)
            self._stage.clock.set(order.at)
            self._ask(order)
            if progress is not None:
                progress(done + 1, len(self.asked))
        folder.until(None)

    def results(self, *, new_only: bool) -> Results:
        """Hits and NDCG of the answers, one row an order in order of time."""
        table = np.array(self._rows[new_only], np.float64).reshape(-1, 3)
        return Results(table[:, 0].astype(np.int64), table[:, 1], table[:, 2])

    def _until(self, now: Micros) -> None:
        """Let orders count that became available before `now`: in popularity, in the catalogue, as bought."""
        recommender = self._stage.recommender
        while self._come < len(self._coming) and self._coming[self._come].available < now:
            order = self._coming[self._come]
            self._come += 1
            self.known = max(self.known, int(order.products[-1]) + 1)
            recommender.number(self._orders.products[: self.known][len(recommender) :])
            recommender.add_order(order.products, order.available)
            self._bought.setdefault(order.person, set()).update(order.products.tolist())
        if self.known > self._offered:
            names = self._orders.products[self._offered : self.known]
            self._stage.catalogue.put_all([Offer(id=name, name=name) for name in names])
            self._offered = self.known

    def _refit(self, now: Micros) -> None:
        while self._refit_at + REFIT <= now:
            self._refit_at += REFIT
        kept = allowed(self._orders, lambda name: self._may_train(name, now))
        self._stage.recommender.use(fit(kept, self._refit_at, self._stage.recommender.settings))
        self._refit_at += REFIT
        self.refits += 1

    def _may_train(self, name: str, now: Micros) -> bool:
        profile = self._stage.profiles.find(name, None)
        return isinstance(ask(profile, Purpose.MODEL_TRAINING, now, adult_age=self._stage.adult_age), Grant)

    def _ask(self, order: _Order) -> None:
        """Both questions about one order; without anything new to the customer in it, only the first."""
        bought = self._bought.get(order.person, set())
        self.first_orders += not bought
        relevant = set(order.products.tolist())
        for new_only in (False, True):
            wanted = relevant - bought if new_only else relevant
            if wanted:
                answer = self._answer(order, bought if new_only else set())
                self.personalised += answer.personalised and not new_only
                shown = self._stage.recommender.number([item.offer_id for item in answer.items])
                judged = hit_rate_and_ndcg(shown, np.array(sorted(wanted), np.int64), self._placement.slots)
                self._rows[new_only].append((order.person, *judged))

    def _answer(self, order: _Order, exclude: set[int]) -> Answer:
        names = self._orders.products
        request = DecideRequest(
            placement=PLACEMENT,
            user_id=self._orders.people[order.person],
            exclude=tuple(names[number] for number in sorted(exclude)),
        )
        return self._stage.decider.decide(request, INTERNAL, replayed=True).answer


class _Folder:
    """Folds events into the stage's profiles as they become available."""

    def __init__(self, stage: Stage, events: Iterator[Event]) -> None:
        self._stage = stage
        self._events = events
        self._next = next(events, None)
        self._count = self._saved = 0

    def until(self, now: Micros | None) -> None:
        """Fold what became available before `now`; None reads the rest without folding it."""
        waiting: list[CommittedRow] = []
        while self._next is not None and (now is None or self._next.available_at < now):
            event = self._next
            if now is not None:
                self._count += 1
                waiting.append(CommittedRow(self._count, b"", event.available_at, event.subject, b"", event))
                if len(waiting) >= _FOLD_EVENTS:
                    self._fold(waiting)
                    waiting = []
            self._next = next(self._events, None)
        if waiting:
            self._fold(waiting)

    def _fold(self, rows: list[CommittedRow]) -> None:
        clock, profiles = self._stage.clock, self._stage.profiles
        clock.set(max(clock.now(), rows[-1].at))
        profiles.fold(rows)
        if self._count - self._saved >= _SAVE_EVENTS:
            self._saved = self._count
            profiles.save()
