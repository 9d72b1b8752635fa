"""How good are next-order recommendations: replay, baselines, hit-rate and NDCG, paired bootstrap.

``replay`` walks orders forward in time. Just before each order of the evaluated period every ranker is
asked for ten products, with only orders whose every row is strictly earlier.
A ranker is any callable ``(moment) -> ranked product numbers``; ``baselines`` and ``ours`` make them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitrina.understand.recommend import (
    DAY_US,
    PersonalState,
    PopularityState,
    RecommenderModel,
    RecommenderSettings,
    add_order,
    add_popularity,
    best,
    candidates,
    empty_personal,
    empty_popularity,
    prepare,
)
from vitrina.understand.recommend_fit import Interactions, fit

__all__ = [
    "Difference",
    "Moment",
    "Ranker",
    "Results",
    "baselines",
    "hit_rate_and_ndcg",
    "ours",
    "paired_bootstrap",
    "replay",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

WINDOWS_DAYS: Final[tuple[int, ...]] = (7, 14, 30, 60, 90)
HALF_LIVES_DAYS: Final = (float("inf"), 365.0)


class Moment(msgspec.Struct, frozen=True):
    """What is known just before one order at ``now`` (µs UTC).

    ``windows`` maps days to orders per product in that many last days, shape (products,);
    ``frequencies`` maps a half-life in days to the person's decayed orders per product, same shape.
    ``items`` is how many products are asked for.
    """

    now: int
    model: RecommenderModel
    personal: PersonalState
    popularity: PopularityState
    windows: Mapping[int, Floats]
    frequencies: Mapping[float, Floats]
    new_only: bool
    items: int = 10


Ranker = Callable[[Moment], Ints]


class Results(msgspec.Struct, frozen=True):
    """One ranker on one task: arrays of shape (orders,); ``person`` is the resampling unit."""

    person: Ints
    hit: Floats
    ndcg: Floats


class Difference(msgspec.Struct, frozen=True):
    """Mean of ours minus theirs over orders, with a percentile interval over resampled persons."""

    mean: float
    low: float
    high: float


def hit_rate_and_ndcg(ranked: Ints, relevant: Ints, k: int = 10) -> tuple[float, float]:
    """Whether any of the first ``k`` is relevant, and NDCG@k with gain 1 and discount log₂(rank + 1).

    ``relevant`` holds distinct products and must not be empty.
    """
    if not len(relevant):
        raise ValueError("an order without relevant products has no NDCG: skip it")
    hits = np.isin(ranked[:k], relevant)
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = discount[: min(k, len(relevant))].sum()
    return float(hits.any()), float((hits * discount[: len(hits)]).sum() / ideal)


def paired_bootstrap(
    person: Ints, ours: Floats, theirs: Floats, rng: np.random.Generator, draws: int = 2_000, level: float = 0.95
) -> Difference:
    """Interval of the mean difference per order when persons are resampled with replacement.

    Arrays of shape (orders,). Percentile method, Efron and Tibshirani (1993), ch. 13.
    """
    _, where = np.unique(person, return_inverse=True)
    total = np.bincount(where, ours - theirs)
    orders = np.bincount(where)
    times = rng.multinomial(len(orders), np.full(len(orders), 1.0 / len(orders)), size=draws)
    means = (times @ total) / (times @ orders)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Difference(float((ours - theirs).mean()), float(low), float(high))


def _top(moment: Moment, scores: Floats) -> Ints:
    if moment.new_only:
        scores = scores.copy()
        scores[moment.personal.product] = -np.inf
    return best(scores, moment.items)


def popularity_ranker(days: int) -> Ranker:
    """Most ordered products of the last ``days`` days."""
    return lambda moment: _top(moment, moment.windows[days])


def buy_again_ranker(half_life_days: float) -> Ranker:
    """Highest decayed personal frequency; equal ones, and products never bought, by 30-day popularity."""

    def rank(moment: Moment) -> Ints:
        recent = moment.windows[30]
        return _top(moment, moment.frequencies[half_life_days] + 1e-6 * recent)

    return rank


def hybrid_ranker(half_life_days: float, offset: float, power: float) -> Ranker:
    """(decayed personal frequency + offset) × (30-day popularity) ** power."""

    def rank(moment: Moment) -> Ints:
        return _top(moment, (moment.frequencies[half_life_days] + offset) * moment.windows[30] ** power)

    return rank


def ours(moment: Moment) -> Ints:
    """The first of ``recommend.candidates``."""
    settings = moment.model.settings
    prior = prepare(moment.popularity, moment.now, settings)
    found = candidates(moment.model, prior, moment.personal, moment.now, moment.items, exclude_known=moment.new_only)
    return np.array([c.product for c in found], np.int64)


def baselines() -> dict[str, Ranker]:
    """The rankers to beat, each at its best setting on one shop's June-August 2011 orders."""
    named = {f"popularity_{days}": popularity_ranker(days) for days in WINDOWS_DAYS}
    forever, slow = HALF_LIVES_DAYS
    return {**named, "buy_again": buy_again_ranker(forever), "hybrid": hybrid_ranker(slow, 0.01, 0.5)}


class _Order(msgspec.Struct, frozen=True):
    """``at`` is the earliest row, when the recommendation is asked for; ``complete_at`` the latest."""

    at: int
    complete_at: int
    number: int
    person: int
    products: Ints


def _orders(interactions: Interactions) -> list[_Order]:
    """Orders by time, then number; an order's time is its earliest row."""
    by_order = np.argsort(interactions.order, kind="stable")
    numbers = interactions.order[by_order]
    edges = np.flatnonzero(np.diff(numbers, prepend=-1, append=-1))
    parts = [by_order[a:b] for a, b in pairwise(edges)]
    found = [
        _Order(
            int(interactions.at[rows].min()),
            int(interactions.at[rows].max()),
            int(interactions.order[rows[0]]),
            int(interactions.person[rows[0]]),
            np.unique(interactions.product[rows]),
        )
        for rows in parts
    ]
    return sorted(found, key=lambda order: (order.at, order.number))


class _Walk:
    """The shop's state while time moves forward; an order is folded in when its last row lies before now."""

    def __init__(self, orders: Sequence[_Order], products: int, settings: RecommenderSettings) -> None:
        self.orders = sorted(orders, key=lambda order: (order.complete_at, order.number))
        self.settings, self.products = settings, products
        self.seen = 0
        self.left: dict[int, int] = dict.fromkeys(WINDOWS_DAYS, 0)
        self.windows: dict[int, Floats] = {days: np.zeros(products) for days in WINDOWS_DAYS}
        self.popularity = empty_popularity(settings, products)
        self.personal: dict[int, PersonalState] = {}
        self.bought: dict[int, list[_Order]] = {}

    def until(self, now: int) -> None:
        """Fold in what was complete before ``now`` and drop what left the popularity windows."""
        while self.seen < len(self.orders) and self.orders[self.seen].complete_at < now:
            self._fold(self.orders[self.seen])
            self.seen += 1
        for days, counts in self.windows.items():
            while self.left[days] < self.seen and self.orders[self.left[days]].complete_at < now - days * DAY_US:
                counts[self.orders[self.left[days]].products] -= 1.0
                self.left[days] += 1

    def _fold(self, order: _Order) -> None:
        before = self.personal.get(order.person, empty_personal())
        self.personal[order.person] = add_order(before, order.products, order.complete_at, self.settings)
        self.bought.setdefault(order.person, []).append(order)
        self.popularity = add_popularity(self.popularity, order.products, order.complete_at)
        for counts in self.windows.values():
            counts[order.products] += 1.0

    def moment(self, person: int, now: int, model: RecommenderModel, items: int, *, new_only: bool) -> Moment:
        """What may be known at ``now``; call ``until(now)`` first."""
        personal = self.personal.get(person, empty_personal())
        frequencies = {days: self._frequency(person, now, days) for days in HALF_LIVES_DAYS}
        return Moment(now, model, personal, self.popularity, self.windows, frequencies, new_only, items)

    def _frequency(self, person: int, now: int, half_life_days: float) -> Floats:
        total = np.zeros(self.products)
        for order in self.bought.get(person, []):
            total[order.products] += np.exp2(-(now - order.complete_at) / (half_life_days * DAY_US))
        return total


def replay(
    interactions: Interactions,
    start: int,
    end: int,
    settings: RecommenderSettings,
    rankers: Mapping[str, Ranker],
    *,
    refit_days: int | None = 14,
    items: int = 10,
) -> dict[tuple[str, bool], Results]:
    """Every ranker's hits and NDCG among the first ``items`` on the orders in ``[start, end)`` (µs UTC).

    Keys are (ranker name, new products only). With new products only, an order without any is skipped.
    The model is fitted at ``start`` and every ``refit_days`` days after it; with None
    there is an empty model, which rankers that need none are spared the wait for.
    """
    orders = _orders(interactions)
    walk = _Walk(orders, int(interactions.product.max()) + 1, settings)
    rows: dict[tuple[str, bool], list[tuple[int, float, float]]] = {
        (name, new): [] for name in rankers for new in (False, True)
    }
    step = (refit_days or 0) * DAY_US
    model = fit(interactions, start if step else 0, settings)
    refit_at = start + step
    for order in orders:
        if not start <= order.at < end:
            continue
        while step and order.at >= refit_at:
            model, refit_at = fit(interactions, refit_at, settings), refit_at + step
        walk.until(order.at)
        for new_only in (False, True):
            moment = walk.moment(order.person, order.at, model, items, new_only=new_only)
            relevant = np.setdiff1d(order.products, moment.personal.product) if new_only else order.products
            for name, rank in rankers.items() if len(relevant) else ():
                rows[name, new_only].append((order.person, *hit_rate_and_ndcg(rank(moment), relevant, items)))
    return {key: _results(found) for key, found in rows.items()}


def _results(rows: Sequence[tuple[int, float, float]]) -> Results:
    table = np.array(rows, np.float64).reshape(-1, 3)
    return Results(table[:, 0].astype(np.int64), table[:, 1], table[:, 2])
