"""The two-head model against dense references, and what every posterior must keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrina.decide.arrays import hash_arrays, pack_arrays, unpack_arrays
from vitrina.decide.model import ONE_HEAD, TWO_HEADS, Head, Layout, offer_subset, sigmoid

D, A, S, K = 5, 3, 3, 4
LAYOUT = Layout(tuple(f"f{i}" for i in range(D)), tuple(f"a{i}" for i in range(A)), offer_subset(D, S))
OFFERS = [f"o{k}" for k in range(K)]


def examples(n, seed):
    rng = np.random.default_rng(seed)
    x = np.c_[np.ones(n), rng.normal(size=(n, D - 1))]
    k = rng.integers(K, size=n)
    g = np.c_[np.ones(K), rng.normal(size=(K, A - 1))][k]
    return x, g, [OFFERS[i] for i in k], (rng.random(n) < 0.3).astype(float), rng.uniform(0.2, 1.0, size=n), k


def dense_design(x, g, k):
    """One row an example over all parameters: the crosses, then every offer's block."""
    crosses = np.einsum("ni,nj->nij", x, g).reshape(len(x), -1)
    own = np.zeros((len(x), K, S))
    own[np.arange(len(x)), k] = x[:, :S]
    return np.c_[crosses, own.reshape(len(x), -1)]


def dense_prior(priors):
    shared = np.full(D * A, priors.shared**2)
    shared[0] = priors.constant**2
    own = np.full((K, S), priors.offer**2)
    own[:, 0] = priors.intercept**2
    return np.concatenate([shared, own.ravel()])


def laplace(priors, design, y, weight):
    """Newton's method to the mode, and the curvature there."""
    theta, precision = np.zeros(design.shape[1]), np.diag(1 / dense_prior(priors))
    for _ in range(50):
        p = sigmoid(priors.bias + design @ theta)
        hessian = precision + design.T @ (design * (weight * p * (1 - p))[:, None])
        theta -= np.linalg.solve(hessian, precision @ theta - design.T @ (weight * (y - p)))
    return theta, np.linalg.inv(hessian)


def test_one_batch_is_the_dense_bayesian_step():
    """From the prior, where blocks are independent, mean and diagonal blocks equal the joint update exactly."""
    x, g, offers, y, weight, k = examples(60, 1)
    head = Head(LAYOUT, TWO_HEADS, forgetting=0.0)
    head.rows(OFFERS)
    head.learn(x, g, offers, y, weight)
    design = dense_design(x, g, k)
    p = sigmoid(np.full(60, TWO_HEADS.bias))
    curvature = weight * np.maximum(p * (1 - p), 0.01)
    covariance = np.linalg.inv(np.diag(1 / dense_prior(TWO_HEADS)) + design.T @ (design * curvature[:, None]))
    mean = covariance @ design.T @ (weight * (y - p))
    np.testing.assert_allclose(head.mean, mean[: D * A], atol=1e-10)
    np.testing.assert_allclose(head.offer_mean.ravel(), mean[D * A :], atol=1e-10)
    np.testing.assert_allclose(head.covariance, covariance[: D * A, : D * A], atol=1e-10)
    for row in range(K):
        at = D * A + row * S
        np.testing.assert_allclose(head.offer_covariance[row], covariance[at : at + S, at : at + S], atol=1e-10)


def test_many_small_batches_come_close_to_laplace():
    """After 2,000 examples logits differ from the dense Laplace mode by less than one posterior deviation on average.

    Dropped cross-covariances cost some precision; more than this would be lost on something else than noise. Chances
    agree within .02 on average.
    """
    x, g, offers, y, weight, k = examples(2_000, 2)
    head = Head(LAYOUT, ONE_HEAD, forgetting=0.0)
    for start in range(0, 2_000, 50):
        part = slice(start, start + 50)
        head.learn(x[part], g[part], offers[part], y[part], weight[part])
    design = dense_design(x, g, k)
    mode, covariance = laplace(ONE_HEAD, design, y, weight)
    exact = ONE_HEAD.bias + design @ mode
    deviation = np.sqrt(np.einsum("np,pq,nq->n", design, covariance, design))
    ours = head.logits(x, g, offers)
    assert np.mean(np.abs(ours - exact) / deviation) < 1.0
    assert np.mean(np.abs(sigmoid(ours) - sigmoid(exact))) < 0.02


def test_one_example_is_the_same_formula():
    """n = 1 by the textbook formula with scalars."""
    x, g, offers, y, weight, k = examples(1, 3)
    head = Head(LAYOUT, TWO_HEADS, forgetting=0.0)
    head.learn(x, g, offers, y, weight)
    design = dense_design(x, g, k)[0]
    prior = dense_prior(TWO_HEADS)
    p = sigmoid(TWO_HEADS.bias)
    h = weight[0] * p * (1 - p)
    spread = 1 / h + design @ (prior * design)
    mean = prior * design / spread * (weight[0] * (y[0] - p) / h)
    np.testing.assert_allclose(head.mean, mean[: D * A], atol=1e-12)
    np.testing.assert_allclose(head.offer_mean[0], mean[D * A :].reshape(K, S)[k[0]], atol=1e-12)
    np.testing.assert_allclose(np.diag(head.covariance), (prior - (prior * design) ** 2 / spread)[: D * A], atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 100), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.002, 1.0]))
def test_posterior_contracts_and_stays_a_covariance(n, seed, forgetting):
    head = Head(LAYOUT, TWO_HEADS, forgetting=forgetting)
    head.rows(OFFERS)
    before = np.diag(head.covariance).copy(), np.einsum("kii->ki", head.offer_covariance).copy()
    for step in range(3):
        x, g, offers, y, weight, _ = examples(n, seed + step)
        head.learn(x * 10, g, offers, y, weight)
    assert (np.diag(head.covariance) <= before[0] * (1 + 1e-9)).all()
    assert (np.einsum("kii->ki", head.offer_covariance) <= before[1] * (1 + 1e-9)).all()
    np.testing.assert_array_equal(head.covariance, head.covariance.T)
    assert np.linalg.eigvalsh(head.covariance).min() > -1e-9
    assert np.linalg.eigvalsh(head.offer_covariance).min() > -1e-9


def test_forgetting_adds_the_stated_share_of_the_prior():
    x, g, offers, y, weight, _ = examples(100, 4)
    kept, forgets = (Head(LAYOUT, TWO_HEADS, forgetting=q) for q in (0.0, 0.002))
    for head in (kept, forgets):
        head.learn(x, g, offers, y, weight)
    added = np.diag(forgets.covariance - kept.covariance)
    expected = 0.002 * weight.sum() / 1_000 * np.r_[TWO_HEADS.constant**2, np.full(D * A - 1, TWO_HEADS.shared**2)]
    np.testing.assert_allclose(added, expected, rtol=1e-6)


def test_forgotten_posterior_follows_a_change_sooner():
    heads = [Head(LAYOUT, TWO_HEADS, forgetting=q) for q in (0.0, 0.05)]
    for y, rounds in ((1.0, 60), (0.0, 20)):
        for step in range(rounds):
            x, g, offers, _, weight, _ = examples(50, step)
            for head in heads:
                head.learn(x, g, offers, np.full(50, y), weight)
    x, g, offers, *_ = examples(200, 99)
    still, quick = (head.logits(x, g, offers).mean() for head in heads)
    assert quick < still


def test_weight_of_a_third_three_times_is_about_one():
    """Three thirds of a "no" move the mean as one "no" does, up to the curvature's change in between (10 %)."""
    x, g, offers, _, _, _ = examples(1, 5)
    once, thrice = Head(LAYOUT, TWO_HEADS, 0.0), Head(LAYOUT, TWO_HEADS, 0.0)
    once.learn(x, g, offers, np.zeros(1), np.ones(1))
    for _ in range(3):
        thrice.learn(x, g, offers, np.zeros(1), np.full(1, 1 / 3))
    np.testing.assert_allclose(thrice.mean, once.mean, rtol=0.1)


def test_draws_have_the_posterior_mean_and_spread():
    """20,000 draws: the mean within 5 standard errors, the deviation within 5 %."""
    x, g, offers, y, weight, _ = examples(100, 6)
    head = Head(LAYOUT, TWO_HEADS)
    head.learn(x, g, offers, y, weight)
    shared, own = head.draw(20_000, 0.5, np.random.default_rng(7))
    deviation = 0.5 * np.sqrt(np.diag(head.covariance))
    assert (np.abs(shared.mean(axis=0) - head.mean) < 5 * deviation / np.sqrt(20_000)).all()
    np.testing.assert_allclose(shared.std(axis=0), deviation, rtol=0.05)
    deviation = 0.5 * np.sqrt(np.einsum("kii->ki", head.offer_covariance))
    np.testing.assert_allclose(own.std(axis=0), deviation, rtol=0.05)


def test_arrays_bring_back_the_same_posterior():
    x, g, offers, y, weight, _ = examples(80, 8)
    head, again = Head(LAYOUT, TWO_HEADS), Head(LAYOUT, TWO_HEADS)
    head.learn(x, g, offers, y, weight)
    again.restore("click_", unpack_arrays(pack_arrays(head.arrays("click_"))))
    for h in (head, again):
        h.learn(x, g, offers, 1 - y, weight)
    assert hash_arrays(head.arrays("")) == hash_arrays(again.arrays(""))


def test_moving_to_other_columns_keeps_what_was_learned():
    x, g, offers, y, weight, _ = examples(100, 9)
    head = Head(LAYOUT, TWO_HEADS)
    head.learn(x, g, offers, y, weight)
    wider = Layout(("f0", "new", "f2", "f1", "f3", "f4"), ("a0", "a1", "a2", "extra"), (0, 2, 3))
    moved = head.moved_to(wider)
    wide_x = np.c_[x[:, 0], np.zeros(100), x[:, 2], x[:, 1], x[:, 3:]]
    np.testing.assert_allclose(
        moved.logits(wide_x, np.c_[g, np.zeros(100)], offers), head.logits(x, g, offers), atol=1e-12
    )
    assert moved.covariance[1 * 4, 1 * 4] == pytest.approx(TWO_HEADS.shared**2)


def test_objects_are_never_written():
    with pytest.raises(ValueError, match="plain numbers"):
        pack_arrays({"a": np.array([object()])})
