"""The share of the oracle's gain."""

from __future__ import annotations

import numpy as np
import pytest

from vitrina.gym.score import share_of_oracle


def test_uniform_is_zero_and_the_oracle_is_one():
    uniform, oracle = np.full(50, 2.0), np.linspace(3, 5, 50)
    people = range(50)
    assert share_of_oracle(uniform, uniform, oracle, people).share == 0
    best = share_of_oracle(oracle, uniform, oracle, people)
    assert (best.share, best.low, best.high) == (1, 1, 1)


def test_money_is_the_weight():
    """A person with ten times to gain counts ten times."""
    score = share_of_oracle(np.array([1.0, 0.0]), np.zeros(2), np.array([1.0, 10.0]), [1, 2])
    assert score.share == pytest.approx(1 / 11)
    assert (score.policy, score.uniform, score.oracle) == (1, 0, 11)


def test_the_interval_holds_the_truth_in_95_of_100_worlds():
    """2,000 worlds of 300 people: 95 % ± 1.5 % (three standard errors of a share, .0049 each)."""
    rng, inside = np.random.default_rng(1), 0
    for _ in range(2_000):
        oracle = rng.gamma(2.0, 1.0, 300)
        policy = oracle * np.clip(rng.normal(0.7, 0.3, 300), -1, 1)
        score = share_of_oracle(policy, np.zeros(300), oracle, range(300))
        inside += score.low <= 0.6796 <= score.high
    assert 0.935 <= inside / 2_000 <= 0.965


def test_visits_of_one_person_are_no_independent_evidence():
    rng = np.random.default_rng(2)
    oracle = rng.gamma(2.0, 1.0, 100)
    policy = oracle * rng.uniform(0, 1, 100)
    once = share_of_oracle(policy, np.zeros(100), oracle, range(100))
    often = share_of_oracle(*(np.tile(a, 10) for a in (policy, np.zeros(100), oracle)), np.tile(range(100), 10))
    assert often.share == pytest.approx(once.share)
    assert often.high - often.low == pytest.approx(once.high - once.low)
    assert often.people == 100


def test_nothing_to_gain_is_no_score():
    with pytest.raises(ValueError, match="nothing"):
        share_of_oracle(np.ones(3), np.ones(3), np.ones(3), [1, 2, 3])
