"""Next-order recommendations: which products will this person buy next?

How the parts fit together (all functions are pure; nothing here reads or writes):

1. The caller numbers persons and products from 0 upwards and never renumbers. A product that
   appears after the last fit simply gets the next number: it is ranked by its popularity until
   the next fit.
2. ``recommend_fit.fit(interactions, as_of, settings)`` gives a frozen ``RecommenderModel``.
   Refit weekly or every second week; only orders strictly before ``as_of`` are used.
3. Two states walk forward order by order, in any order of arrival:
   ``personal = add_order(personal, products, at, settings)`` for each person and
   ``popularity = add_popularity(popularity, products, at)`` for the shop.
4. ``prior = prepare(popularity, now, settings)`` turns popularity into features; it is shared by all
   persons and may be reused for some minutes.
5. ``candidates(model, prior, personal, now, n=200)`` gives products and scores, best first.
   Scores never increase down the list, so a policy that ranks by score keeps the order.
   ``score`` gives the plain log-odds of every product without the variety step.

The score is a log-linear blend (log-odds that the product is in the next order) with separate
weights for products the person already bought, products new to a person with history, and
persons without history. Its inputs are recent popularity at several half-lives, the decayed personal
frequency, and two item-item models: a ridge regression from a person's history to the next
basket, and EASE over persons (Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse
Data"). The variety step is a greedy discount of products often bought together with one already
picked, in the manner of maximal marginal relevance (Carbonell and Goldstein 1998).
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FEATURES",
    "Candidate",
    "ItemWeights",
    "PersonalState",
    "PopularityState",
    "Prior",
    "RecommenderModel",
    "RecommenderSettings",
    "add_order",
    "add_popularity",
    "best",
    "candidates",
    "empty_personal",
    "empty_popularity",
    "features",
    "merge_personal",
    "merge_popularity",
    "personal_frequency",
    "popularity_counts",
    "prepare",
    "ranked",
    "score",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DAY_US: Final = 86_400_000_000
KNOWN, NEW, COLD = 0, 1, 2  # rows of the weight table

FEATURES: Final = (
    "log_share_fast",
    "log_share_medium",
    "log_share_slow",
    "log_share_ever",
    "log_frequency",
    "log_days_since_order",
    "log_orders",
    "log_next_basket",
    "next_basket",
    "log_co_purchase",
    "co_purchase",
    "one",
)


# Logistic regression on one shop's June-August 2011 orders (each order weighs products**-0.8).
_KNOWN: Final = (0.46, -0.04, -0.346, -0.273, 0.449, 0.613, -0.339, 0.974, 0.55, -0.168, -0.269, -2.129)
_NEW: Final = (0.453, 0.261, -0.008, -0.427, 0.0, 0.0, 0.0, 0.476, 0.177, 0.475, -1.86, 0.353)
_COLD: Final = (0.368, 0.25, 0.179, 0.083, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.516)


class RecommenderSettings(msgspec.Struct, frozen=True):
    """Everything that can be tuned; the defaults were chosen on one shop's June-August orders."""

    personal_half_life_days: float = 180.0
    popularity_half_lives_days: tuple[float, float, float] = (4.0, 14.0, 40.0)
    popularity_smoothing: tuple[float, float, float, float] = (0.3, 1.0, 1.0, 3.0)
    """Pseudo-orders added to each product before the logarithm, per half-life and for ever."""
    frequency_smoothing: float = 0.05
    item_score_smoothing: float = 0.003
    ease_ridge: float = 30.0
    next_basket_ridge: float = 30.0
    next_basket_row_half_life_days: float = 60.0
    neighbours: int = 200
    """Item-item weights kept per product, largest magnitude first."""
    matrix_products: int = 6_000
    """At most this many products, the most ordered, enter the item-item models (memory is 8·n² bytes)."""
    similar_neighbours: int = 100
    variety_with_history: float = 0.2
    variety_without_history: float = 0.5
    variety_depth: int = 10
    weights: tuple[tuple[float, ...], ...] = (_KNOWN, _NEW, _COLD)
    """Blend weights: rows known, new, without history; columns as FEATURES."""


class ItemWeights(msgspec.Struct, frozen=True):
    """Sparse item-item weights by source product (compressed rows).

    ``start`` has shape (products + 1,); row j is ``target[start[j]:start[j+1]]`` with ``weight``.
    """

    start: Ints
    target: Ints
    weight: NDArray[np.float32]


class RecommenderModel(msgspec.Struct, frozen=True):
    """What ``fit`` learned from orders before ``as_of`` (µs UTC). Never holds personal data."""

    as_of: int
    products: int
    next_basket: ItemWeights
    co_purchase: ItemWeights
    similar: ItemWeights
    settings: RecommenderSettings


class PersonalState(msgspec.Struct, frozen=True):
    """One person's decayed frequency per product: ``frequency[k]`` orders as of ``at`` (µs UTC).

    ``product`` is sorted and holds every product ever bought, shape (bought,); ``last`` is the
    latest order time in µs UTC, ``orders`` the number of orders.
    """

    product: Ints
    frequency: Floats
    at: int
    orders: int
    last: int


class PopularityState(msgspec.Struct, frozen=True):
    """Decayed orders per product, shape (half-lives, products), as of ``at`` (µs UTC)."""

    counts: Floats
    half_lives_days: tuple[float, ...]
    at: int


class Prior(msgspec.Struct, frozen=True):
    """Popularity features shared by all persons: log shares, shape (4, products)."""

    log_share: Floats


class Candidate(msgspec.Struct, frozen=True):
    """A product number and its score (log-odds after the variety step)."""

    product: int
    score: float


def empty_personal() -> PersonalState:
    """A person who has bought nothing yet."""
    return PersonalState(np.empty(0, np.int64), np.empty(0), 0, 0, 0)


def empty_popularity(settings: RecommenderSettings, products: int = 0) -> PopularityState:
    """A shop that has sold nothing yet; the last row never decays (all-time orders)."""
    half_lives = (*settings.popularity_half_lives_days, float("inf"))
    return PopularityState(np.zeros((len(half_lives), products)), half_lives, 0)


def _decay(elapsed_us: int, half_life_days: float) -> float:
    return float(np.exp2(-max(elapsed_us, 0) / (half_life_days * DAY_US)))


def merge_personal(one: PersonalState, other: PersonalState, settings: RecommenderSettings) -> PersonalState:
    """Join the histories of two halves of one person; the order of the arguments does not matter."""
    if not one.orders:
        return other
    if not other.orders:
        return one
    at, half_life = max(one.at, other.at), settings.personal_half_life_days
    product, where = np.unique(np.concatenate([one.product, other.product]), return_inverse=True)
    values = np.concatenate(
        [one.frequency * _decay(at - one.at, half_life), other.frequency * _decay(at - other.at, half_life)]
    )
    frequency = np.bincount(where, values, len(product)).astype(np.float64, copy=False)
    return PersonalState(product, frequency, at, one.orders + other.orders, max(one.last, other.last))


def add_order(state: PersonalState, products: Ints, at: int, settings: RecommenderSettings) -> PersonalState:
    """The person's state after one order of ``products`` (repeats count once) at ``at`` µs UTC.

    A late order is folded in as if it had come on time.
    """
    bought = np.unique(np.asarray(products, np.int64))
    return merge_personal(state, PersonalState(bought, np.ones(len(bought)), at, 1, at), settings)


def personal_frequency(state: PersonalState, now: int, settings: RecommenderSettings) -> Floats:
    """Decayed orders of each product in ``state.product`` as of ``now``, shape (bought,)."""
    return state.frequency * _decay(now - state.at, settings.personal_half_life_days)


def popularity_counts(state: PopularityState, now: int) -> Floats:
    """Decayed orders per half-life and product as of ``now``, shape (half-lives, products)."""
    factor = np.array([_decay(now - state.at, h) for h in state.half_lives_days])
    return state.counts * factor[:, None]


def merge_popularity(one: PopularityState, other: PopularityState) -> PopularityState:
    """Add the counts of two parts of the shop's history (same half-lives)."""
    if one.half_lives_days != other.half_lives_days:
        raise ValueError("popularity states with different half-lives cannot be merged")
    at = max(one.at, other.at)
    size = max(one.counts.shape[1], other.counts.shape[1])
    counts = np.zeros((len(one.half_lives_days), size))
    for part in (one, other):
        counts[:, : part.counts.shape[1]] += popularity_counts(part, at)
    return PopularityState(counts, one.half_lives_days, at)


def add_popularity(state: PopularityState, products: Ints, at: int) -> PopularityState:
    """The shop's popularity after one order of ``products`` (repeats count once) at ``at`` µs UTC."""
    bought = np.unique(np.asarray(products, np.int64))
    counts = np.zeros((len(state.half_lives_days), int(bought[-1]) + 1 if len(bought) else 0))
    counts[:, bought] = 1.0
    return merge_popularity(state, PopularityState(counts, state.half_lives_days, at))


def prepare(popularity: PopularityState, now: int, settings: RecommenderSettings) -> Prior:
    """Log share of orders per product at each half-life, shape (4, products), as of ``now`` µs UTC."""
    counts = popularity_counts(popularity, now)
    smoothed = counts + np.asarray(settings.popularity_smoothing)[:, None]
    return Prior(np.log(smoothed / (counts.sum(axis=1, keepdims=True) + 1.0)))


def spread(weights: ItemWeights, source: Ints, strength: Floats, size: int) -> Floats:
    """Sum of ``strength[k] × row(source[k])`` over the history, shape (size,)."""
    inside = source < len(weights.start) - 1
    source, strength = source[inside], strength[inside]
    first, length = weights.start[source], weights.start[source + 1] - weights.start[source]
    total = int(length.sum())
    offset = np.repeat(first - np.concatenate([[0], np.cumsum(length)[:-1]]), length) if total else first[:0]
    where = offset + np.arange(total)
    values = weights.weight[where] * np.repeat(strength, length)
    return np.bincount(weights.target[where], values, size).astype(np.float64, copy=False)


def _item_scores(model: RecommenderModel, personal: PersonalState, now: int, size: int) -> tuple[Floats, Floats]:
    """Next-basket and co-purchase scores of all products, each of shape (size,), never negative."""
    frequency = personal_frequency(personal, now, model.settings)
    strength = frequency / np.sqrt(max(float(frequency.sum()), 1.0))
    following = spread(model.next_basket, personal.product, strength, size)
    together = spread(model.co_purchase, personal.product, np.ones(len(personal.product)), size)
    return np.maximum(following, 0.0), np.maximum(together, 0.0)


def features(
    model: RecommenderModel, prior: Prior, personal: PersonalState, now: int
) -> tuple[Floats, NDArray[np.int64]]:
    """Inputs of the blend: values of shape (len(FEATURES), products) and each product's weight row."""
    settings, size = model.settings, prior.log_share.shape[1]
    values = np.empty((len(FEATURES), size))
    values[:4] = prior.log_share
    frequency = np.zeros(size)
    frequency[personal.product] = personal_frequency(personal, now, settings)
    values[4] = np.log(frequency + settings.frequency_smoothing)
    values[5] = np.log1p(max(now - personal.last, 0) / DAY_US) if personal.orders else 0.0
    values[6] = np.log1p(personal.orders)
    following, together = _item_scores(model, personal, now, size)
    values[7], values[8] = np.log(following + settings.item_score_smoothing), following
    values[9], values[10] = np.log(together + settings.item_score_smoothing), together
    values[11] = 1.0
    group = np.full(size, NEW if personal.orders else COLD, np.int64)
    group[personal.product] = KNOWN
    return values, group


def score(model: RecommenderModel, prior: Prior, personal: PersonalState, now: int) -> Floats:
    """Log-odds that each product is in the person's next order, shape (products,).

    ``now`` is in µs UTC; ``prior`` and ``personal`` must hold only what was available before it.
    """
    values, group = features(model, prior, personal, now)
    table = np.asarray(model.settings.weights)
    blended = table[NEW if personal.orders else COLD] @ values
    known = np.flatnonzero(group == KNOWN)
    blended[known] = table[KNOWN] @ values[:, known]
    return blended


def candidates(
    model: RecommenderModel,
    prior: Prior,
    personal: PersonalState,
    now: int,
    n: int = 200,
    *,
    exclude_known: bool = False,
) -> list[Candidate]:
    """The ``n`` best products, best first; equal scores go to the smaller product number.

    With ``exclude_known`` only products that the person never bought are ranked.
    """
    scores = score(model, prior, personal, now)
    if exclude_known:
        scores[personal.product] = -np.inf
    chosen, values = ranked(model, scores, n, with_history=personal.orders > 0)
    pairs = zip(chosen.tolist(), values.tolist(), strict=True)
    return [Candidate(product, value) for product, value in pairs if value > -np.inf]


def ranked(model: RecommenderModel, scores: Floats, n: int, *, with_history: bool) -> tuple[Ints, Floats]:
    """The ``n`` best of ``scores`` (one a product, −∞ where it may not be shown) after the variety step.

    Gives product numbers, best first, and their values, which never increase; both of shape (at most ``n``,).
    """
    settings = model.settings
    discount = settings.variety_with_history if with_history else settings.variety_without_history
    pool = best(scores, max(n, 6 * settings.variety_depth))
    chosen, values = _varied(model.similar, pool, scores[pool], min(n, settings.variety_depth), discount)
    return chosen[:n], values[:n]


def best(scores: Floats, n: int) -> Ints:
    """Indices of the ``n`` largest scores, best first, ties by index."""
    n = min(n, len(scores))
    if n == 0:
        return np.empty(0, np.int64)
    threshold = np.partition(scores, len(scores) - n)[len(scores) - n]
    at_least = np.flatnonzero(scores >= threshold)
    return at_least[np.argsort(-scores[at_least], kind="stable")][:n]


def _varied(similar: ItemWeights, pool: Ints, scores: Floats, depth: int, discount: float) -> tuple[Ints, Floats]:
    """Greedy picks: after each, similar products lose ``-log(1 - discount × similarity)``."""
    if discount <= 0.0:
        return pool, scores
    by_number = np.argsort(pool)  # argmax then gives equal scores to the smaller number
    pool, left = pool[by_number], scores[by_number]
    picked: list[int] = []
    values: list[float] = []
    for _ in range(min(depth, len(pool))):
        pick = int(np.argmax(left))
        picked.append(pick)
        values.append(float(left[pick]))
        likeness = _row_over(similar, int(pool[pick]), pool)
        left += np.log1p(-np.minimum(discount * likeness, 0.999))
        left[pick] = -np.inf
    rest = np.argsort(-left, kind="stable")[: len(pool) - len(picked)]
    if len(picked) and np.isneginf(left[rest]).any():  # left-out products tie with the picked ones
        rest = np.setdiff1d(np.arange(len(pool)), picked)
        rest = rest[np.argsort(-left[rest], kind="stable")]
    return np.concatenate([pool[picked], pool[rest]]), np.concatenate([values, left[rest]])


def _row_over(similar: ItemWeights, source: int, pool: Ints) -> Floats:
    """Similarity of ``source`` to each product of ``pool``; 0 where none is stored."""
    if source >= len(similar.start) - 1:
        return np.zeros(len(pool))
    row = slice(int(similar.start[source]), int(similar.start[source + 1]))
    target, weight = similar.target[row], similar.weight[row]  # targets are sorted within a row
    if not len(target):
        return np.zeros(len(pool))
    where = np.minimum(np.searchsorted(target, pool), len(target) - 1)
    return np.where(target[where] == pool, weight[where], 0.0).astype(np.float64)
