"""Every policy keeps the contract, and the posterior bank agrees with an enumeration of everything that can happen."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from vitrina.core.catalogue import PolicySettings
from vitrina.core.errors import UserError
from vitrina.decide.policies import PosteriorBank, Ranking, Uniform, inclusion, policy_of
from vitrina.decide.policies.check import check_policy


@pytest.mark.parametrize(
    "policy",
    [PosteriorBank(0.02), PosteriorBank(0.0), PosteriorBank(0.3), Uniform(), Ranking()],
    ids=["bank", "bank-no-floor", "bank-high-floor", "uniform", "ranking"],
)
def test_policy_keeps_the_contract(policy):
    check_policy(policy)


def test_check_policy_finds_a_liar():
    class Liar(Uniform):
        def choose(self, margins, eligible, slots, rng):
            return super().choose(margins, eligible, min(slots, 1), rng)

    with pytest.raises(AssertionError, match="another length"):
        check_policy(Liar(), draws=10)


def enumerate_slates(margins, eligible, slots, floor):
    """Chance of every slate by going through draws, coins and uniform picks one by one (no weights, no algebra)."""
    free = [int(i) for i in np.flatnonzero(eligible)]
    slots = min(slots, len(free))
    chances = dict.fromkeys(permutations(free, slots), 0.0)
    for draw in range(len(margins)):
        for coins in product((False, True), repeat=slots):
            picks = [range(len(free) - k) if coin else (0,) for k, coin in enumerate(coins)]
            for pick in product(*picks):
                chance, left, slate = 1 / len(margins), list(free), []
                for k, coin in enumerate(coins):
                    item = left[pick[k]] if coin else max(left, key=lambda i: (margins[draw][i], -i))
                    chance *= floor / len(left) if coin else 1 - floor
                    slate.append(item)
                    left.remove(item)
                chances[tuple(slate)] += chance
    return chances


@pytest.mark.parametrize(("items", "free", "slots"), [(3, 3, 1), (4, 4, 3), (5, 4, 2), (4, 2, 3), (4, 4, 4)])
@pytest.mark.parametrize("floor", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("ties", [False, True])
def test_bank_agrees_with_enumeration(items, free, slots, floor, ties):
    rng = np.random.default_rng(items * 100 + slots)
    margins = rng.normal(size=(5, items)).astype(np.float32)
    if ties:
        margins = np.round(margins)
    eligible = np.zeros(items, dtype=bool)
    eligible[rng.permutation(items)[:free]] = True
    policy = PosteriorBank(floor)
    truth = enumerate_slates(margins, eligible, slots, floor)
    assert sum(truth.values()) == pytest.approx(1.0, abs=1e-12)
    for slate, chance in truth.items():
        if chance == 0.0:
            continue
        own = 1.0
        for k, item in enumerate(slate):
            own *= policy.distribution(margins, eligible, slate[:k])[item]
        assert own == pytest.approx(chance, abs=1e-13)
    shown = [int(i) for i in np.flatnonzero(eligible)]
    there = [sum(chance for slate, chance in truth.items() if item in slate) for item in shown]
    assert inclusion(margins, eligible, slots, floor, shown) == pytest.approx(there, abs=1e-12)


def test_slate_that_no_draw_would_show_is_refused():
    margins = np.array([[3, 2, 1]], dtype=np.float32)
    eligible = np.ones(3, dtype=bool)
    with pytest.raises(ValueError, match="no draw"):
        PosteriorBank(0.0).distribution(margins, eligible, (2,))
    with pytest.raises(ValueError, match="shown already"):
        PosteriorBank(0.1).distribution(margins, eligible, (1, 1))
    with pytest.raises(ValueError, match="nothing is left"):
        Uniform().distribution(margins, eligible, (0, 1, 2))
    with pytest.raises(ValueError, match="would not have shown"):
        Ranking().distribution(margins, eligible, (2,))


def test_policy_of_refuses_what_it_does_not_know():
    assert policy_of(PolicySettings(kind="bank", floor=0.1)).floor == 0.1
    with pytest.raises(UserError, match="bank, uniform or ranking"):
        policy_of(PolicySettings(kind="greedy"))
    with pytest.raises(UserError, match="no share"):
        policy_of(PolicySettings(floor=1.0))
