"""The chance that an item is in a slate at all, whatever its position: exact for the posterior bank."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from vitrina.decide.policies.contract import Margins, Mask

__all__ = ["inclusion"]


def inclusion(margins: Margins, eligible: Mask, slots: int, floor: float, items: Sequence[int]) -> tuple[float, ...]:
    """Chance of each of `items` to be anywhere in a slate of `slots` drawn by the posterior bank with floor ε.

    Given the draw, the chance depends only on the item's rank r in that draw: while i items above it are left of n, a
    position takes it with ε/n (and 1−ε when i = 0), one above it with (1−ε) + ε·i/n when i > 0 (i falls by one), else
    one below. The mean over draws of that function of rank is exact; ranks break ties by the order of candidates, as
    the policy does.

    Args:
        margins: float32[M, K].
        eligible: bool[K].
        slots: positions asked for.
        floor: ε in [0, 1).
        items: candidate positions, eligible ones.
    """
    count = int(np.count_nonzero(eligible))
    by_rank = np.asarray(_by_rank(count, min(slots, count), floor))
    masked = np.where(eligible, margins, np.float32(-np.inf))
    chances: list[float] = []
    for item in items:
        own = masked[:, item : item + 1]
        rank = (masked[:, :item] >= own).sum(axis=1) + (masked[:, item + 1 :] > own).sum(axis=1)
        chances.append(float(by_rank[rank].mean()))
    return tuple(chances)


@lru_cache(maxsize=256)
def _by_rank(count: int, slots: int, floor: float) -> tuple[float, ...]:
    """Chance of being shown for each rank 0 … count−1, by recursion over the positions from the last to the first."""
    later = [0.0] * count
    for position in range(slots - 1, -1, -1):
        left = count - position
        now = [0.0] * count
        for above in range(left):
            taken = floor / left + (1.0 - floor if above == 0 else 0.0)
            fewer = (floor * above / left + 1.0 - floor) * later[above - 1] if above else 0.0
            below = floor * (left - 1 - above) / left * later[above]
            now[above] = taken + fewer + below
        later = now
    return tuple(later)
