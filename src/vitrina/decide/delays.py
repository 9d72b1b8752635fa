"""How long outcomes take: a histogram of measured delays that starts from a guess.

A decision without an outcome is a "no" only in time. Its "no" is booked in thirds, when the decision is as old as 30,
65 and 90 % of the outcomes that do come; a "yes" counts at once (see docs/concepts/model.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vitrina.core.clock import DAY, SECOND, Micros

__all__ = ["AGES", "SHARE", "Delays"]

AGES = (0.30, 0.65, 0.90)
"""Quantiles of the delay at which a part of a "no" is booked."""

SHARE = 1.0 / len(AGES)
"""Weight of each part."""

_EDGES = np.geomspace(SECOND, 90 * DAY, 121)
_PRIOR = 20.0


class Delays:
    """Distribution of one kind of delay: an exponential prior worth 20 observations, and what was measured.

    Args:
        mean: mean of the prior, microseconds.

    Attributes:
        counts: measured delays in bins between 1 s and 90 days, equal in the logarithm; the outer two take the rest.
    """

    def __init__(self, mean: Micros) -> None:
        self.counts: NDArray[np.float64] = np.zeros(len(_EDGES) + 1)
        below = 1.0 - np.exp(-_EDGES / mean)
        self._prior = np.diff(np.concatenate([[0.0], below, [1.0]])) * _PRIOR
        self._ages: tuple[Micros, ...] | None = None

    def add(self, delay: Micros) -> None:
        """Count one delay; a negative one (clocks differ) counts as none."""
        self.counts[int(np.searchsorted(_EDGES, max(delay, 0)))] += 1.0
        self._ages = None

    def restore(self, counts: NDArray[np.generic]) -> None:
        """Take over counts written before."""
        self.counts = counts.astype(np.float64)
        self._ages = None

    def ages(self) -> tuple[Micros, ...]:
        """The ages at which the parts of a "no" are booked, ascending, at most 90 days."""
        if self._ages is None:
            total = np.cumsum(self._prior + self.counts)[: len(_EDGES)]
            wanted = np.array(AGES) * (self._prior.sum() + self.counts.sum())
            logs = np.interp(wanted, total, np.log(_EDGES))
            self._ages = tuple(int(age) for age in np.exp(logs))
        return self._ages
