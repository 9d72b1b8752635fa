"""Which items are still to be had after the first positions of a slate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vitrina.decide.policies.contract import Mask

__all__ = ["nth_remaining", "remaining"]


def remaining(eligible: Mask, shown: Sequence[int]) -> Mask:
    """bool[K]: eligible and not shown yet.

    Raises:
        ValueError: `shown` names an ineligible item or one twice, or nothing remains.
    """
    left = eligible.copy()
    for item in shown:
        if not left[item]:
            raise ValueError(f"item {item} was not to be had: it is ineligible or shown already")
        left[item] = False
    if not left.any():
        raise ValueError("nothing is left to choose from")
    return left


def nth_remaining(eligible: Mask, shown: Sequence[int], share: float) -> int:
    """The item at `share` in [0, 1) of the way through the eligible ones that are not shown yet."""
    items: list[int] = np.flatnonzero(eligible).tolist()
    if shown:
        items = [item for item in items if item not in shown]
    return items[int(share * len(items))]
