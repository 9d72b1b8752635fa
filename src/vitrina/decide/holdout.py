"""Who is in a placement's holdout, and what they are served."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vitrina.core.assignment import in_holdout
from vitrina.core.catalogue import Placement
from vitrina.decide.candidates import Candidates
from vitrina.decide.eligibility import Eligible
from vitrina.decide.policies import Choice, Uniform

__all__ = ["in_placement_holdout", "serve_holdout"]

_UNIFORM = Uniform()
_NO_MARGINS = np.empty((0, 0), dtype=np.float32)

_held = lru_cache(maxsize=50_000)(in_holdout)


def in_placement_holdout(placement: Placement, assignment_key: str) -> bool:
    """True when this placement's policy never treats the person with this first identifier."""
    return placement.holdout > 0.0 and _held(placement.id, assignment_key, placement.holdout)


def serve_holdout(
    candidates: Candidates, eligible: Eligible, slots: int, rng: np.random.Generator
) -> tuple[str, Choice]:
    """What the holdout sees, and the rule that chose it: uniform | fixed | fallback.

    A fixed order shows its first eligible offers; the fallback is an empty slate, for which the page gets the
    placement's own content.
    """
    serves = candidates.placement.holdout_serves
    if serves == "uniform":
        return "uniform", _UNIFORM.choose(_NO_MARGINS, eligible.mask, slots, rng)
    order = () if isinstance(serves, str) else serves
    positions = (candidates.position.get(offer) for offer in order)
    items = tuple(k for k in positions if k is not None and eligible.mask[k])[:slots]
    return "fixed" if order else "fallback", Choice(
        items=items, probabilities=(1.0,) * len(items), slate_probability=1.0
    )
