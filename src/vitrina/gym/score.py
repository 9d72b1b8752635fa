"""How good decisions were, where the truth is known: the share of the oracle's gain over showing offers at random.

0 is as good as uniform, 1 as good as an oracle that knows every person's true chances. The money compared is expected
money under the truth, so that luck of single sales adds no noise; what remains is the noise of who came.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["Score", "share_of_oracle"]


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """Share of the oracle's gain over uniform, with a 95 % interval over people.

    `policy`, `uniform` and `oracle` are expected margins of all decisions together, in minor units.
    """

    share: float
    low: float
    high: float
    decisions: int
    people: int
    policy: float
    uniform: float
    oracle: float


def share_of_oracle(
    policy: NDArray[np.float64], uniform: NDArray[np.float64], oracle: NDArray[np.float64], people: Sequence[int]
) -> Score:
    """The score of n decisions.

    The interval is that of a ratio of sums over people (Cochran, "Sampling Techniques", 1977, section 6.3), since the
    decisions of one person resemble each other.

    Args:
        policy: true expected margin of what was shown, (n,).
        uniform: of a uniform choice among what was eligible, (n,).
        oracle: of the best eligible choice, (n,).
        people: whose decision it was, n numbers.

    Raises:
        ValueError: there is nothing that an oracle could gain.

    >>> one, two = np.array([3.0, 3.0]), np.array([2.0, 2.0])
    >>> share_of_oracle(one, two, np.array([4.0, 4.0]), [1, 2]).share
    0.5
    """
    gained, possible = policy - uniform, oracle - uniform
    if not len(policy) or possible.sum() <= 0.0:
        raise ValueError("an oracle gains nothing here, so there is nothing to have a share of")
    _, who = np.unique(np.asarray(people), return_inverse=True)
    mine, best = np.bincount(who, gained), np.bincount(who, possible)
    share = float(mine.sum() / best.sum())
    count = len(mine)
    spread = float(np.sqrt(np.sum((mine - share * best) ** 2) * count / max(count - 1, 1)) / best.sum())
    return Score(
        share=share,
        low=share - 1.96 * spread,
        high=share + 1.96 * spread,
        decisions=len(policy),
        people=count,
        policy=float(policy.sum()),
        uniform=float(uniform.sum()),
        oracle=float(oracle.sum()),
    )
