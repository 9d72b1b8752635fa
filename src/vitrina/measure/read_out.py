"""The first figure: what a placement's personalisation earned, against the people it never treated.

Intention to treat: everybody is counted in the group of their first decision (or ghost), with everything they did from
then on, whatever happened after. Difference of means with Welch's interval (Welch 1947, Biometrika 34); the split of
people is checked against the one that was meant (sample-ratio mismatch, Fabijan et al. 2019, KDD).

Pure: arrays in, a result out.
"""

from __future__ import annotations

import math
from decimal import Decimal

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitrina.core.money import exponent

__all__ = ["Arms", "ReadOut", "read_out"]

FEWEST_PEOPLE = 100
"""People in each group below which nothing is said."""

FEWEST_BUYERS = 20
"""People with an outcome in each group below which nothing is said: an interval from fewer means little."""

RATIO_ALARM = 0.001
"""p-value of the sample-ratio check below which the split counts as broken, and nothing is said."""


class Arms(msgspec.Struct, frozen=True):
    """One row a person.

    Attributes:
        holdout: bool[n], the group of the first decision.
        value: int64[n], margin since then, minor units, refunds taken off.
        buyer: bool[n], had at least one outcome.
        expected_holdout: share of people that was meant to be held out (mean over their first decisions).
        mixed: people who were served by both the policy and the holdout later on (after two profiles became one).
        unvalued: trusted orders without a value, counted as nothing.
    """

    holdout: NDArray[np.bool_]
    value: NDArray[np.int64]
    buyer: NDArray[np.bool_]
    expected_holdout: float
    mixed: int = 0
    unvalued: int = 0


class ReadOut(msgspec.Struct, frozen=True, kw_only=True):
    """Incremental margin of a placement.

    Money in minor units: `per_person` is the difference of means (float), `total` that times the people treated; `low`
    and `high` bound `total` with 95 % confidence, `person_low` and `person_high` bound `per_person`. All None when
    `refused` says why nothing can be said: no_holdout | thin (`more_people` is then how many more are needed) | ratio
    (the groups are not as large as was meant: look for the cause).

    Attributes:
        holdout_cost: what the holdout people would have earned at the same difference, minor units.
        ratio_p: p-value of the sample-ratio check; `ratio_ok` False when it is below `RATIO_ALARM`.
    """

    placement: str
    currency: str
    people_treated: int
    people_holdout: int
    buyers_treated: int
    buyers_holdout: int
    per_person: float | None = None
    person_low: float | None = None
    person_high: float | None = None
    total: int | None = None
    low: int | None = None
    high: int | None = None
    holdout_cost: int | None = None
    ratio_p: float | None = None
    ratio_ok: bool = True
    mixed: int = 0
    unvalued: int = 0
    refused: str | None = None
    more_people: int | None = None
    simulated: bool = False

    def wire(self) -> dict[str, object]:
        """The same with money as decimal text in the currency's units."""
        plain: dict[str, object] = msgspec.to_builtins(self)
        for name in ("per_person", "person_low", "person_high", "total", "low", "high", "holdout_cost"):
            value = getattr(self, name)
            if value is not None:
                digits = exponent(self.currency) + (2 if isinstance(value, float) else 0)
                plain[name] = f"{Decimal(str(value)).scaleb(-exponent(self.currency)):.{digits}f}"
        return plain


def read_out(arms: Arms, placement: str, currency: str, *, simulated: bool = False) -> ReadOut:
    """The figure of one placement, or the reason why there is none yet."""
    held = arms.holdout
    treated_value, held_value = arms.value[~held].astype(np.float64), arms.value[held].astype(np.float64)
    counts = ReadOut(
        placement=placement,
        currency=currency,
        people_treated=treated_value.size,
        people_holdout=held_value.size,
        buyers_treated=int(arms.buyer[~held].sum()),
        buyers_holdout=int(arms.buyer[held].sum()),
        mixed=arms.mixed,
        unvalued=arms.unvalued,
        simulated=simulated,
    )
    ratio_p = ratio_check(treated_value.size, held_value.size, arms.expected_holdout)
    counts = msgspec.structs.replace(counts, ratio_p=ratio_p, ratio_ok=ratio_p is None or ratio_p >= RATIO_ALARM)
    refused, more = _thin(counts, arms.expected_holdout)
    if refused is None and not counts.ratio_ok:
        refused = "ratio"
    if refused is not None:
        return msgspec.structs.replace(counts, refused=refused, more_people=more)
    difference, half = welch(treated_value, held_value)
    people = treated_value.size
    return msgspec.structs.replace(
        counts,
        per_person=difference,
        person_low=difference - half,
        person_high=difference + half,
        total=round(difference * people),
        low=round((difference - half) * people),
        high=round((difference + half) * people),
        holdout_cost=round(difference * held_value.size),
    )


def _thin(counts: ReadOut, expected: float) -> tuple[str | None, int | None]:
    """Why the groups are too small, and how many more people (of both groups together) would do."""
    if expected <= 0:
        return "no_holdout", None
    shares = {"holdout": expected, "treated": 1 - expected}
    people = {"holdout": counts.people_holdout, "treated": counts.people_treated}
    buyers = {"holdout": counts.buyers_holdout, "treated": counts.buyers_treated}
    rate = max((sum(buyers.values()) + 1) / (sum(people.values()) + 2), 1e-6)
    more = 0
    for group, share in shares.items():
        lacking = max(FEWEST_PEOPLE - people[group], math.ceil((FEWEST_BUYERS - buyers[group]) / rate), 0)
        more = max(more, math.ceil(lacking / max(share, 1e-9)))
    return ("thin", more) if more else (None, None)


def welch(treated: NDArray[np.float64], held: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float]:
    """Difference of means and half the width of its interval (Welch–Satterthwaite).

    Args:
        treated, held: float64[n], float64[m]; n, m ≥ 2.
    """
    from scipy.special import stdtrit

    first, second = treated.var(ddof=1) / treated.size, held.var(ddof=1) / held.size
    error = math.sqrt(first + second)
    if error == 0:
        return float(treated.mean() - held.mean()), 0.0
    freedom = (first + second) ** 2 / (first**2 / (treated.size - 1) + second**2 / (held.size - 1))
    return float(treated.mean() - held.mean()), float(stdtrit(freedom, 0.5 + confidence / 2)) * error


def ratio_check(treated: int, held: int, expected_holdout: float) -> float | None:
    """p-value of the split of people against the share that was meant (chi-square, one degree); None without people."""
    people = treated + held
    if people == 0 or not 0 < expected_holdout < 1:
        return None
    expected = people * expected_holdout
    statistic = (held - expected) ** 2 / expected + (treated - (people - expected)) ** 2 / (people - expected)
    return math.erfc(math.sqrt(statistic / 2))
