"""The ranking policy.

Position k shows the k-th best by mean margin. Deterministic, so only for replays and previews.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vitrina.decide.policies.contract import Choice, Margins, Mask
from vitrina.decide.policies.remaining import remaining

__all__ = ["Ranking"]


class Ranking:
    """Best first; of two equal ones the earlier in the list of candidates."""

    id = "ranking"
    scores = True

    def choose(self, margins: Margins, eligible: Mask, slots: int, rng: np.random.Generator) -> Choice:
        """The best `slots` items; `rng` is not drawn from. See `Policy.choose`."""
        mean = _mean(margins, eligible)
        count = min(slots, int(np.count_nonzero(eligible)))
        items: list[int] = np.argsort(-mean, kind="stable")[:count].tolist()
        return Choice(items=tuple(items), probabilities=(1.0,) * count, slate_probability=1.0)

    def distribution(self, margins: Margins, eligible: Mask, shown: Sequence[int] = ()) -> NDArray[np.float64]:
        """1 for the best item left; see `Policy.distribution`."""
        left = remaining(eligible, shown)
        best_first: list[int] = np.argsort(-_mean(margins, eligible), kind="stable")[: len(shown) + 1].tolist()
        if list(shown) != best_first[:-1]:
            raise ValueError(f"the ranking would not have shown {list(shown)}")
        chances = np.zeros(len(left))
        chances[best_first[-1]] = 1.0
        return chances


def _mean(margins: Margins, eligible: Mask) -> NDArray[np.float64]:
    return np.where(eligible, margins.mean(axis=0, dtype=np.float64), -np.inf)
