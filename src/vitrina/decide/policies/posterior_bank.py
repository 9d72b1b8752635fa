"""The posterior bank: each draw of the model's parameters has a favourite; one draw decides, a floor explores.

A bank holds M draws from the posterior, frozen for a while. To fill position k, the draw that decides shows the item it
likes best among those left, g_m(k); with chance ε a uniform one of the n_k left is shown instead. After positions
1 … k−1 draw m has the weight w_m ∝ ∏_{j<k} [(1−ε)·1{a_j = g_m(j)} + ε/n_j]; the chance of item a in position k, given
those above it,

    p_k(a) = Σ_m w̃_m [(1−ε)·1{a = g_m(k)} + ε/n_k]          (w̃ normalised)

is exact: nothing is simulated. It is Thompson sampling (Thompson 1933) from a finite sample of the posterior.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vitrina.decide.policies.contract import Choice, Margins, Mask
from vitrina.decide.policies.remaining import nth_remaining, remaining

__all__ = ["PosteriorBank"]

_NEVER = np.float32(-np.inf)
_PENALTY = np.array([-np.inf, 0.0], dtype=np.float32)


@lru_cache(maxsize=8)
def _ones(draws: int) -> NDArray[np.float64]:
    return np.ones(draws)


class PosteriorBank:
    """Probability matching over a bank of draws, with a uniform floor `floor` (ε in [0, 1)) over what is eligible."""

    id = "bank"
    scores = True

    def __init__(self, floor: float = 0.02) -> None:
        self.floor = floor

    def choose(self, margins: Margins, eligible: Mask, slots: int, rng: np.random.Generator) -> Choice:
        """Draw a slate; see `Policy.choose`."""
        draws, count = margins.shape
        chance: list[float] = rng.random(1 + 2 * slots).tolist()
        left = int(np.count_nonzero(eligible))
        positions = min(slots, left)
        # Adding −inf where ineligible is three times as fast as np.where, and gives a copy that may be written to.
        masked = margins if left == count and positions == 1 else margins + _PENALTY.take(eligible.view(np.uint8))
        draw, follow = int(chance[0] * draws), 1.0 - self.floor
        items: list[int] = []
        probabilities: list[float] = []
        coins, first, slate = 0, b"", 1.0
        weights = _ones(draws)
        for k in range(positions):
            greedy = masked.argmax(axis=1)
            if k == 0:
                first = greedy.astype(np.uint16).tobytes()
            if chance[1 + 2 * k] < self.floor:
                coins |= 1 << k
                item = nth_remaining(eligible, items, chance[2 + 2 * k])
            else:
                item = int(greedy[draw])
            hit = greedy == item
            floor = self.floor / left
            # The weights sum to M times the chance of the slate so far, the product of the p_j.
            probability = follow * float(weights @ hit) / (draws * slate) + floor
            items.append(item)
            probabilities.append(probability)
            slate *= probability
            if k + 1 < positions:
                weights = weights * np.where(hit, follow + floor, floor)
                masked[:, item] = _NEVER
                left -= 1
        return Choice(
            items=tuple(items),
            probabilities=tuple(probabilities),
            slate_probability=slate,
            draw=draw,
            coins=coins,
            greedy=first,
        )

    def distribution(self, margins: Margins, eligible: Mask, shown: Sequence[int] = ()) -> NDArray[np.float64]:
        """Exact chances for the position after `shown`; see `Policy.distribution`."""
        remaining(eligible, shown)
        weights = np.ones(margins.shape[0])
        masked = np.where(eligible, margins, _NEVER)
        left = int(np.count_nonzero(eligible))
        follow = 1.0 - self.floor
        for item in shown:
            weights *= np.where(masked.argmax(axis=1) == item, follow + self.floor / left, self.floor / left)
            masked[:, item] = _NEVER
            left -= 1
        total = float(weights.sum())
        if total <= 0.0:
            raise ValueError(f"no draw would have shown {list(shown)}, and there is no floor")
        share = np.bincount(masked.argmax(axis=1), weights=weights, minlength=margins.shape[1]) / total
        free = eligible.copy()
        free[list(shown)] = False
        return np.where(free, follow * share + self.floor / left, 0.0)
