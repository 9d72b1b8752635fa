"""What every policy promises; `vitrina.decide.policies.check.check_policy` puts it to the test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["Choice", "Margins", "Mask", "Policy"]

Margins = NDArray[np.float32]
"""float32[M, K]: expected margin in minor units of K candidates under M draws of the model's parameters."""

Mask = NDArray[np.bool_]
"""bool[K]: which candidates are eligible."""


class Choice(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A slate and the chances with which it was drawn.

    Attributes:
        items: candidate positions, in the order shown.
        probabilities: p_k(a_k | a_1 … a_{k−1}), one a position.
        slate_probability: chance of the whole slate in this order, the product of `probabilities`.
        draw: which of the M draws decided; −1 for policies without draws.
        coins: bitmap of the positions (bit 0 is the first) that were filled by the uniform floor.
        greedy: uint16[M] as bytes: the candidate that each draw liked best for the first position; empty without draws.
    """

    items: tuple[int, ...]
    probabilities: tuple[float, ...]
    slate_probability: float
    draw: int = -1
    coins: int = 0
    greedy: bytes = b""


class Policy(Protocol):
    """The rule that turns expected margins into a chance for each eligible item.

    Arguments of its methods: `margins` float32[M, K], never changed; `eligible` bool[K] with at least one true entry.
    A policy keeps no state between calls, and draws only from the generator that it is given: the same seed gives the
    same slate.
    """

    @property
    def id(self) -> str:
        """Its kind: bank, uniform, ranking."""
        ...

    @property
    def scores(self) -> bool:
        """Whether it looks at margins at all; if not, it may be given an array of shape [0, K]."""
        ...

    def choose(self, margins: Margins, eligible: Mask, slots: int, rng: np.random.Generator) -> Choice:
        """Draw a slate of min(slots, number eligible) different eligible items."""
        ...

    def distribution(self, margins: Margins, eligible: Mask, shown: Sequence[int] = ()) -> NDArray[np.float64]:
        """float64[K]: chance of each candidate in the position after `shown`, given `shown`; sums to 1.

        Raises:
            ValueError: `shown` names an ineligible item or one twice, can't come about, or leaves nothing to choose.
        """
        ...
