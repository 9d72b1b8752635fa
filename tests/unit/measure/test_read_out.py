"""The read-out's arithmetic: coverage without an effect, recovery of one, refusal when thin, the split check."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vitrina.measure.read_out import Arms, ratio_check, read_out, welch


def people(rng: np.random.Generator, size: int, share: float, lift: float) -> Arms:
    """A shop: 12 % buy, margins are lognormal; the treated buy `lift` more often."""
    holdout = rng.random(size) < share
    buys = rng.random(size) < np.where(holdout, 0.12, 0.12 * (1 + lift))
    value = np.where(buys, np.rint(rng.lognormal(6.5, 0.8, size)), 0).astype(np.int64)
    return Arms(holdout=holdout, value=value, buyer=buys, expected_holdout=share)


def test_without_an_effect_the_interval_holds_zero_in_93_to_97_percent() -> None:
    """2,000 runs at a true 95 % vary by 1.96·√(.95·.05/2000) = .0096, so 93–97 % is four standard errors wide.

    One run in a thousand is refused because its groups came out uneven: 2 of 2,000; more than 10 once in 100,000 times.
    """
    rng = np.random.default_rng(20_261)
    runs = [read_out(people(rng, 4_000, 0.1, 0.0), "home", "EUR") for _ in range(2_000)]
    refused = [run.refused for run in runs if run.refused is not None]
    assert set(refused) <= {"ratio"} and len(refused) <= 10
    held = [run.low <= 0 <= run.high for run in runs if run.low is not None and run.high is not None]
    assert 0.93 <= np.mean(held) <= 0.97


def test_an_injected_lift_is_recovered() -> None:
    """The mean of 200 estimates lies within four standard errors of the truth."""
    rng = np.random.default_rng(20_262)
    truth = 0.12 * 0.10 * math.exp(6.5 + 0.8**2 / 2)
    runs = [read_out(people(rng, 20_000, 0.2, 0.10), "home", "EUR") for _ in range(200)]
    found = np.array([run.per_person for run in runs], dtype=float)
    assert abs(found.mean() - truth) < 4 * found.std(ddof=1) / math.sqrt(len(found))
    covered = np.mean([(run.person_low or 0) <= truth <= (run.person_high or 0) for run in runs])
    assert covered > 0.95 - 4 * math.sqrt(0.95 * 0.05 / 200)


def test_total_and_cost_follow_from_the_difference() -> None:
    arms = people(np.random.default_rng(3), 5_000, 0.1, 0.3)
    result = read_out(arms, "home", "EUR")
    assert result.per_person is not None
    assert result.total == round(result.per_person * result.people_treated)
    assert result.holdout_cost == round(result.per_person * result.people_holdout)
    assert result.people_treated + result.people_holdout == 5_000


@pytest.mark.parametrize("size", [0, 10, 300])
def test_thin_data_are_refused_with_the_number_of_people_that_would_do(size: int) -> None:
    rng = np.random.default_rng(4)
    result = read_out(people(rng, size, 0.1, 0.0), "home", "EUR")
    assert result.refused == "thin"
    assert result.total is None
    assert result.more_people is not None
    enough = read_out(people(rng, size + 2 * result.more_people, 0.1, 0.0), "home", "EUR")
    assert enough.refused is None


def test_without_a_holdout_nothing_can_be_said() -> None:
    arms = Arms(np.zeros(5, bool), np.ones(5, np.int64), np.ones(5, bool), expected_holdout=0.0)
    assert read_out(arms, "home", "EUR").refused == "no_holdout"


def test_a_broken_split_is_refused() -> None:
    assert ratio_check(9_000, 1_000, 0.1) == pytest.approx(1.0)
    alarm = ratio_check(9_300, 700, 0.1)
    assert alarm is not None
    assert alarm < 0.001
    arms = people(np.random.default_rng(5), 10_000, 0.07, 0.0)
    broken = read_out(Arms(arms.holdout, arms.value, arms.buyer, expected_holdout=0.1), "home", "EUR")
    assert not broken.ratio_ok
    assert (broken.refused, broken.total) == ("ratio", None)


def test_welch_agrees_with_scipy() -> None:
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(6)
    one, other = rng.normal(1, 2, 70), rng.normal(0, 5, 40)
    interval = ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    difference, half = welch(one, other)
    assert (difference - half, difference + half) == pytest.approx((interval.low, interval.high))


def test_money_on_the_wire_is_decimal_text() -> None:
    wire = read_out(people(np.random.default_rng(7), 5_000, 0.1, 0.0), "home", "EUR").wire()
    assert isinstance(wire["total"], str)
    assert len(str(wire["total"]).split(".")[1]) == 2
    assert len(str(wire["per_person"]).split(".")[1]) == 4
