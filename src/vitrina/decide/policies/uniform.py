"""The uniform policy: every eligible item with the same chance. It serves the holdout, and a shop's first days."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vitrina.decide.policies.contract import Choice, Margins, Mask
from vitrina.decide.policies.remaining import remaining

__all__ = ["Uniform"]


class Uniform:
    """Each ordered slate of different eligible items is equally likely."""

    id = "uniform"
    scores = False

    def choose(self, margins: Margins, eligible: Mask, slots: int, rng: np.random.Generator) -> Choice:
        """Draw a slate; `margins` is not looked at. See `Policy.choose`."""
        items: list[int] = np.flatnonzero(eligible).tolist()
        shown: list[int] = []
        probabilities: list[float] = []
        slate = 1.0
        for share in rng.random(min(slots, len(items))).tolist():
            probabilities.append(1.0 / len(items))
            slate /= len(items)
            shown.append(items.pop(int(share * len(items))))
        return Choice(items=tuple(shown), probabilities=tuple(probabilities), slate_probability=slate)

    def distribution(self, margins: Margins, eligible: Mask, shown: Sequence[int] = ()) -> NDArray[np.float64]:
        """1/n for each of the n items left; see `Policy.distribution`."""
        left = remaining(eligible, shown)
        return left / float(np.count_nonzero(left))
