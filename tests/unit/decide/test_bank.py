"""A bank gives the margins that its draws say, however it is stored or bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from vitrina.core.errors import MachineError
from vitrina.decide.bank import Bank, draw_bank
from vitrina.decide.model import ONE_HEAD, TWO_HEADS, Head, Layout, offer_subset

D, A, K, M = 20, 6, 30, 16


@dataclass(frozen=True)
class Listed:
    offer_ids: tuple[str, ...]
    margin: np.ndarray
    cost: np.ndarray
    g: np.ndarray


def listed(count=K, cost=0.0):
    rng = np.random.default_rng(3)
    g = np.c_[np.ones(count), rng.normal(size=(count, A - 1))].astype(np.float32)
    return Listed(tuple(f"o{k}" for k in range(count)), rng.uniform(100, 2_000, count), np.full(count, cost), g)


def learned(priors, seed, subset):
    head = Head(Layout(tuple(f"f{i}" for i in range(D)), tuple(f"a{i}" for i in range(A)), subset), priors)
    rng, offers = np.random.default_rng(seed), listed()
    for _ in range(4):
        k = rng.integers(K - 5, size=100)
        x = np.c_[np.ones(100), rng.normal(size=(100, D - 1))]
        head.learn(
            x,
            offers.g[k].astype(float),
            [offers.offer_ids[i] for i in k],
            (rng.random(100) < 0.2).astype(float),
            np.ones(100),
        )
    return head


def drawn(heads, losses=None):
    rng = np.random.default_rng(5)
    return draw_bank(7, "home", heads, feature_set=1, losses=losses or {}, draws=M, scale=0.2, rng=rng)


@pytest.mark.parametrize("subset", [(0,), offer_subset(D, 4), (0, 3, 7, 11)])
@pytest.mark.parametrize("priors", [(TWO_HEADS, TWO_HEADS), (ONE_HEAD,)])
def test_margins_are_chance_times_margin_less_refunds_and_cost(priors, subset):
    """Within 2.5 %: two chances, each within the stated 1.1 % of the exponential at |z| ≤ 5, and float32."""
    heads = [learned(p, seed, subset) for seed, p in enumerate(priors)]
    losses = {"": 0.05, "o3": 0.4}
    offers = listed(cost=2.0)
    bound = drawn(heads, losses).bind(offers)
    x = np.r_[1.0, np.random.default_rng(9).normal(size=D - 1)].astype(np.float32)
    ours = bound.margins(x)
    assert ours.shape == (M, K)
    assert ours.dtype == np.float32
    known = list(range(K - 5))
    rows = [[head.offers[offers.offer_ids[k]] for k in known] for head in heads]
    expected = np.ones((M, len(known)))
    rng = np.random.default_rng(5)
    for head, row in zip(heads, rows, strict=True):
        shared, own = head.draw(M, 0.2, rng)
        z = head.priors.bias + np.einsum("mij,i,kj->mk", shared.reshape(M, D, A), x, offers.g[known])
        z += np.einsum("mks,s->mk", own[:, row], x[list(subset)])
        expected = expected / (1 + np.exp(-z))
    share = np.array([1 - losses.get(offers.offer_ids[k], 0.05) for k in known])
    expected = expected * offers.margin[known] * share
    np.testing.assert_allclose(ours[:, known] + 2.0, expected, rtol=0.025)


def test_stored_bank_gives_the_same_margins_to_the_bit():
    bank = drawn([learned(TWO_HEADS, 1, offer_subset(D)), learned(TWO_HEADS, 2, offer_subset(D))], {"o1": 0.3})
    again = Bank.unpack(bank.pack())
    x = np.linspace(-1, 1, D).astype(np.float32)
    np.testing.assert_array_equal(bank.bind(listed()).margins(x), again.bind(listed()).margins(x))
    assert (again.number, again.placement, again.draws, again.heads) == (7, "home", M, 2)
    assert again.pack() == bank.pack()


def test_binding_once_serves_until_the_list_changes():
    bank, offers = drawn([learned(TWO_HEADS, 1, (0,))]), listed()
    assert bank.bind(offers) is bank.bind(offers)
    assert bank.bind(listed(5)).offers == 5


def test_an_unmet_offer_is_drawn_wide_and_always_the_same():
    heads = [learned(TWO_HEADS, 1, offer_subset(D))]
    listing, x = listed(), np.r_[1.0, np.zeros(D - 1)].astype(np.float32)
    offers = Listed(listing.offer_ids, listing.margin, listing.cost, np.repeat(listing.g[:1], K, axis=0))
    first, second = (drawn(heads).bind(offers).margins(x) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    logarithm = np.log(first / offers.margin.astype(np.float32))
    own = (logarithm - logarithm.mean(axis=1, keepdims=True)).std(axis=0)
    assert own[K - 5 :].mean() > own[: K - 5].mean()


def test_a_wild_vector_gives_finite_margins():
    """Outside the fast form's reach the true exponential takes over; nothing overflows, no chance leaves [0, 1]."""
    bound = drawn([learned(TWO_HEADS, 1, (0,)), learned(TWO_HEADS, 2, (0,))]).bind(listed())
    for size in (1.0, 1e3, 1e6):
        out = bound.margins(np.full(D, size, dtype=np.float32))
        assert np.isfinite(out).all()
        assert (out >= 0).all()
        assert (out <= listed().margin.max() * 1.001).all()


def test_no_candidates_no_margins():
    assert drawn([learned(TWO_HEADS, 1, offer_subset(D))]).bind(listed(0)).margins(
        np.ones(D, dtype=np.float32)
    ).shape == (M, 0)


def test_broken_bytes_are_the_machines_fault():
    with pytest.raises(MachineError):
        Bank.unpack(b"\x81\xa1x")
