"""What a person has bought, and how recently: the part of a profile that the recommender reads.

Every purchase adds 2^((t − 2000) / half-life) to its product. Decay to any later moment is then one factor for all
products, nothing has to be rescaled when an order comes in, and neither the order of events nor the split of a person
over several leaves matters. A half-life of half a year leaves room for five centuries in a float.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from vitrina.core.clock import DAY, Micros
from vitrina.core.event import ORDER, Event
from vitrina.understand.recommend import RecommenderSettings

__all__ = ["PurchaseMemory", "Purchases", "bought_products"]

_LANDMARK: Final = 946_684_800_000_000  # 2000-01-01, microseconds UTC
_MOST_PRODUCTS: Final = 5_000

State = dict[str, Any]


class Purchases(msgspec.Struct, frozen=True, gc=False):
    """A person's `orders`, the latest of them at `last`, and the decayed number by product as of then."""

    orders: int
    last: Micros
    frequency: dict[str, float]


class PurchaseMemory:
    """Keeps purchases in the state of a leaf, beside its features.

    Args:
        half_life_days: of the decay; a state that was kept with another one counts as empty.
    """

    def __init__(self, half_life_days: float = RecommenderSettings().personal_half_life_days) -> None:
        self._half_life = half_life_days * DAY
        self.key = f"purchases.{half_life_days:g}d"

    def fold(self, state: State, event: Event) -> None:
        """Add a trusted order to a leaf's state, in place; any other event changes nothing."""
        if event.name != ORDER or not event.trusted:
            return
        bought = bought_products(event)
        if not bought:
            return
        weight = 2.0 ** ((event.occurred_at - _LANDMARK) / self._half_life)
        memory: list[Any] | None = state.get(self.key)
        if memory is None:
            state[self.key] = [1, event.occurred_at, dict.fromkeys(bought, weight)]
            return
        weights: dict[str, float] = memory[2]
        for product in bought:
            weights[product] = weights.get(product, 0.0) + weight
        memory[0] += 1
        memory[1] = max(memory[1], event.occurred_at)
        if len(weights) > 2 * _MOST_PRODUCTS:
            memory[2] = _heaviest(weights)

    def merge(self, merged: State, states: Iterable[State]) -> State:
        """`merged` with the purchases of several leaves added up; none of the arguments is changed."""
        parts = [state[self.key] for state in states if self.key in state]
        if not parts:
            return merged
        if len(parts) == 1:
            return merged if merged.get(self.key) is parts[0] else {**merged, self.key: parts[0]}
        weights: dict[str, float] = {}
        for _, _, part in parts:
            for product, weight in list(part.items()):
                weights[product] = weights.get(product, 0.0) + weight
        return {**merged, self.key: [sum(p[0] for p in parts), max(p[1] for p in parts), weights]}

    def read(self, state: State) -> Purchases | None:
        """What the state of a profile holds, or None when nothing was bought. A fold may go on meanwhile."""
        memory: list[Any] | None = state.get(self.key)
        if memory is None:
            return None
        orders, last, weights = memory
        factor = 2.0 ** (-(last - _LANDMARK) / self._half_life)
        return Purchases(orders, last, {product: weight * factor for product, weight in list(weights.items())})


def bought_products(event: Event) -> list[str]:
    """The different products that an order sold, in order of their names."""
    return sorted({line.product_id for line in event.products if line.kind == "sale" and line.product_id})


def _heaviest(weights: dict[str, float]) -> dict[str, float]:
    kept = sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST_PRODUCTS]
    return dict(kept)
