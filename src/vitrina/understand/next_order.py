"""The recommender at work: offers scored by what a person is likely to order next (see `vitrina.understand.recommend`).

An offer is the product of the same id. A `NextOrder` is handed to the decision engine, which reads it from several
threads; whoever renews it (a replay step by step, a refresher once an hour) replaces its parts as a whole.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vitrina.core.clock import Micros
from vitrina.understand.purchase_memory import PurchaseMemory
from vitrina.understand.recommend import (
    ItemWeights,
    PersonalState,
    PopularityState,
    Prior,
    RecommenderModel,
    RecommenderSettings,
    add_popularity,
    empty_personal,
    empty_popularity,
    merge_popularity,
    prepare,
    ranked,
    score,
)

__all__ = ["Listed", "NextOrder", "Remembered"]

CANDIDATES = 200
"""Products at the top of the list that the variety step looks at."""

_LISTS = 16
_NOTHING_MATTERS = np.float64(-np.inf)


class Listed(Protocol):
    """A numbered list of offers (`vitrina.decide.candidates.Candidates`)."""

    @property
    def number(self) -> int:
        """The same for the same list."""
        ...

    @property
    def offer_ids(self) -> Sequence[str]:
        """The offers, K of them."""
        ...


class Remembered(Protocol):
    """Personal data read under a grant (`vitrina.collect.profile.Personal`)."""

    @property
    def features(self) -> dict[str, Any]:
        """Merged state of the profile, with its `PurchaseMemory`."""
        ...

    @property
    def traits(self) -> Mapping[str, Any]:
        """Trait name → value; not read here."""
        ...


class NextOrder:
    """Scores offers for the engine. One writer, any number of readers.

    Args:
        settings: of the recommender.
        memory: reads a person's purchases.
        keep_prior: for how long popularity may be reused, microseconds; 0 prepares it anew for every moment.

    Attributes:
        model: the item-item models in use.
    """

    def __init__(
        self, settings: RecommenderSettings | None = None, memory: PurchaseMemory | None = None, keep_prior: Micros = 0
    ) -> None:
        self.settings = settings or RecommenderSettings()
        self.memory = memory or PurchaseMemory(self.settings.personal_half_life_days)
        self.model = _empty_model(self.settings)
        self._keep_prior = keep_prior
        self._popularity = empty_popularity(self.settings)
        self._numbers: dict[str, int] = {}
        self._lists: dict[int, NDArray[np.int64]] = {}
        self._prior: tuple[PopularityState, int, Micros, Prior] | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many products it has numbered."""
        return len(self._numbers)

    # what it knows

    def number(self, products: Iterable[str]) -> NDArray[np.int64]:
        """Numbers of products, those not met before getting the next ones; int64, one a product."""
        numbers = self._numbers
        with self._lock:
            return np.array([numbers.setdefault(product, len(numbers)) for product in products], np.int64)

    def add_order(self, products: NDArray[np.int64], at: Micros) -> None:
        """Let an order of these product numbers count in popularity from `at` on."""
        self._popularity = add_popularity(self._popularity, products, at)

    def set_popularity(self, products: NDArray[np.int64], at: NDArray[np.int64], now: Micros) -> None:
        """Count popularity anew from product numbers and the instants at which an order held them, shape (rows,)."""
        before = at < now
        products, age = products[before], (now - at[before]).astype(np.float64)
        half_lives = (*self.settings.popularity_half_lives_days, float("inf"))
        counts = np.zeros((len(half_lives), len(self._numbers)))
        for row, days in enumerate(half_lives):
            weights = np.exp2(-age / (days * 86_400e6))
            counts[row] = np.bincount(products, weights, len(self._numbers))
        self._popularity = PopularityState(counts, half_lives, now)

    def use(self, model: RecommenderModel) -> None:
        """Take item-item models that were fitted on these product numbers."""
        self.model = model

    # what it says

    def scores(
        self,
        personal: Remembered | None,
        candidates: Listed,
        now: Micros,
        eligible: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """float32[K]: log-odds that each offer is in the person's next order, best ones after the variety step.

        Args:
            personal: the person's purchases; None scores by what everybody buys.
            candidates: K offers.
            now: moment of the decision; nothing later is looked at.
            eligible: bool[K], among which the list is varied; None means all.
        """
        model, positions = self.model, self._positions(candidates)
        prior = self._prior_at(now)
        person = self._person(personal, prior.log_share.shape[1])
        plain = score(model, prior, person, now)
        allowed = np.full(len(plain), -np.inf)
        offered = positions if eligible is None else positions[eligible]
        allowed[offered] = plain[offered]
        top, values = ranked(model, allowed, CANDIDATES, with_history=person.orders > 0)
        found = values > _NOTHING_MATTERS
        top, values = top[found], values[found]
        if len(values):
            plain = np.minimum(plain, values[-1])  # what isn't at the top never overtakes what is
            plain[top] = values
        return plain[positions].astype(np.float32)

    def _person(self, personal: Remembered | None, size: int) -> PersonalState:
        bought = self.memory.read(personal.features) if personal is not None else None
        if bought is None:
            return empty_personal()
        numbers = self._numbers
        known = [(numbers.get(product, size), weight) for product, weight in bought.frequency.items()]
        known = sorted(pair for pair in known if pair[0] < size)
        return PersonalState(
            product=np.array([number for number, _ in known], np.int64),
            frequency=np.array([weight for _, weight in known], np.float64),
            at=bought.last,
            orders=bought.orders,
            last=bought.last,
        )

    def _positions(self, candidates: Listed) -> NDArray[np.int64]:
        found = self._lists.get(candidates.number)
        if found is None:
            found = self.number(candidates.offer_ids)
            with self._lock:
                while len(self._lists) >= _LISTS:
                    del self._lists[next(iter(self._lists))]
                self._lists[candidates.number] = found
        return found

    def _prior_at(self, now: Micros) -> Prior:
        popularity, size, kept = self._popularity, len(self._numbers), self._prior
        if kept is not None and kept[0] is popularity and kept[1] == size and 0 <= now - kept[2] <= self._keep_prior:
            return kept[3]
        whole = popularity
        if popularity.counts.shape[1] < size:
            whole = merge_popularity(popularity, empty_popularity(self.settings, size))
        prior = prepare(whole, now, self.settings)
        self._prior = (popularity, size, now, prior)
        return prior


def _empty_model(settings: RecommenderSettings) -> RecommenderModel:
    nothing = ItemWeights(np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    return RecommenderModel(0, 0, nothing, nothing, nothing, settings)
