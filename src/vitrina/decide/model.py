"""The default model: P(click) and P(buy | click), each a Bayesian logistic regression learned in small batches.

For a head h, a person's vector x (d features, the first one constant) and an offer's attributes g (A, the first one
constant) the logit is

    b_h + Σ_ij W_ij x_i g_j + u_a · x[subset]

with W ~ N(0, shared²) (its constant term N(0, constant²)) and u_a ~ N(0, offer²) (its intercept N(0, intercept²)).
The posterior is one Gaussian block for W (dA × dA) and one for each offer; covariances between blocks are dropped.
One batch is one step of the extended Kalman filter, which for a single block equals the Bayesian update of a linear
model with weights p(1 − p) at the current mean.

Source: Chapelle and Li, "An empirical evaluation of Thompson sampling" (2011), for the Gaussian approximation; West and
Harrison, "Bayesian Forecasting and Dynamic Models" (1997), for forgetting by added variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitrina.decide.arrays import Arrays

__all__ = ["BATCH", "ONE_HEAD", "TWO_HEADS", "Head", "Layout", "Priors", "offer_subset", "sigmoid"]

Floats = NDArray[np.floating[Any]]

BATCH = 100
"""Most examples in one update."""

_LEAST_CURVATURE = 0.01
_JITTER = 1e-9


class Priors(msgspec.Struct, frozen=True, kw_only=True):
    """Prior standard deviations and the starting logit."""

    shared: float
    offer: float
    intercept: float
    bias: float
    constant: float = 1.0


TWO_HEADS = Priors(shared=0.2, offer=0.15, intercept=0.5, bias=-1.2)
"""For P(click) and P(buy | click)."""

ONE_HEAD = Priors(shared=0.3, offer=0.2, intercept=1.0, bias=-2.5)
"""For P(buy) where a placement has no early signal."""


class Layout(msgspec.Struct, frozen=True):
    """What the columns mean: names of the features (d), of the attributes (A), and the features of the offer block (s).

    `subset` holds ascending positions into `features` and begins with 0, the constant.
    """

    features: tuple[str, ...]
    attributes: tuple[str, ...]
    subset: tuple[int, ...]


def offer_subset(count: int, size: int | None = None) -> tuple[int, ...]:
    """The positions of the features that each offer weighs for itself: the first `size` of `count`, by default all."""
    return tuple(range(count if size is None else min(count, size)))


def sigmoid(logit: Floats) -> Floats:
    """1 / (1 + e^−logit), without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * logit))


class Head:
    """One logistic head: the posterior of its shared block and of every offer it has met.

    Attributes:
        mean, covariance: shared block, (dA,) and (dA, dA); entry i·A + j belongs to feature i and attribute j.
        offers: offer id → row of the offer blocks.
        offer_mean, offer_covariance: (K, s) and (K, s, s).
        weight: sum of the weights of all examples learned.
    """

    def __init__(self, layout: Layout, priors: Priors, forgetting: float = 0.002) -> None:
        self.layout = layout
        self.priors = priors
        self.forgetting = forgetting
        self.weight = 0.0
        size = len(layout.features) * len(layout.attributes)
        self._prior_shared = np.full(size, priors.shared**2)
        self._prior_shared[0] = priors.constant**2
        self._prior_offer = np.full(len(layout.subset), priors.offer**2)
        self._prior_offer[0] = priors.intercept**2
        self._subset = np.array(layout.subset, dtype=np.intp)
        self.mean: Floats = np.zeros(size)
        self.covariance: Floats = np.diag(self._prior_shared)
        self.offers: dict[str, int] = {}
        self.offer_mean: Floats = np.zeros((0, len(layout.subset)))
        self.offer_covariance: Floats = np.zeros((0, len(layout.subset), len(layout.subset)))

    def rows(self, offers: Sequence[str]) -> NDArray[np.intp]:
        """The rows of these offers; an offer not met before begins at its prior."""
        fresh = [offer for offer in dict.fromkeys(offers) if offer not in self.offers]
        if fresh:
            for offer in fresh:
                self.offers[offer] = len(self.offers)
            blank = np.zeros((len(fresh), len(self._subset)))
            self.offer_mean = np.concatenate([self.offer_mean, blank])
            block = np.broadcast_to(np.diag(self._prior_offer), (len(fresh), len(self._subset), len(self._subset)))
            self.offer_covariance = np.concatenate([self.offer_covariance, block])
        return np.array([self.offers[offer] for offer in offers], dtype=np.intp)

    def logits(self, x: Floats, g: Floats, offers: Sequence[str]) -> Floats:
        """Logits at the posterior mean of n pairs: `x` (n, d), `g` (n, A), `offers` n ids."""
        rows = self.rows(offers)
        shared = (_crosses(x, g) @ self.mean) + self.priors.bias
        return shared + (x[:, self._subset] * self.offer_mean[rows]).sum(axis=1)

    def learn(self, x: Floats, g: Floats, offers: Sequence[str], y: Floats, weight: Floats) -> None:
        """Learn n ≤ 100 examples at once.

        Args:
            x: persons' vectors, (n, d).
            g: offers' attributes, (n, A).
            offers: offer ids, n.
            y: 1 where it happened, else 0, (n,).
            weight: how much each example counts, > 0, (n,); a third of a "no" has weight 1/3.
        """
        if not len(y):
            return
        rows = self.rows(offers)
        z = _crosses(x, g)
        u = x[:, self._subset]
        p = sigmoid(self.priors.bias + z @ self.mean + (u * self.offer_mean[rows]).sum(axis=1))
        curvature = np.maximum(p * (1.0 - p), _LEAST_CURVATURE)
        same = rows[:, None] == rows[None, :]
        across = self.covariance @ z.T
        offer_across = np.einsum("ns,nst->nt", u, self.offer_covariance[rows])
        spread = z @ across + np.where(same, offer_across @ u.T, 0.0) + np.diag(1.0 / (weight * curvature))
        root = np.linalg.inv(np.linalg.cholesky(0.5 * (spread + spread.T)))
        gain = root.T @ (root @ ((y - p) / curvature))
        self.mean += across @ gain
        half = root @ across.T
        self.covariance -= half.T @ half
        self._learn_offers(rows, offer_across, root, gain)
        self.weight += float(weight.sum())
        self._forget(float(weight.sum()))

    def _learn_offers(self, rows: NDArray[np.intp], across: Floats, root: Floats, gain: Floats) -> None:
        for row in np.unique(rows):
            mine = np.flatnonzero(rows == row)
            self.offer_mean[row] += across[mine].T @ gain[mine]
            half = root[:, mine] @ across[mine]
            self.offer_covariance[row] -= half.T @ half

    def _forget(self, weight: float) -> None:
        """Add back a share of the prior variance; no direction becomes wider than its prior."""
        share = self.forgetting * weight / 1_000.0
        if share <= 0.0:
            return
        np.einsum("ii->i", self.covariance)[:] += share * self._prior_shared
        _hold(self.covariance[None], self._prior_shared)
        narrowed = (np.einsum("kii->ki", self.offer_covariance) < self._prior_offer).any(axis=1)
        blocks = self.offer_covariance[narrowed]
        np.einsum("kii->ki", blocks)[:] += share * self._prior_offer
        _hold(blocks, self._prior_offer)
        self.offer_covariance[narrowed] = blocks

    def draw(self, count: int, scale: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """`count` draws of mean + scale · L ε: shared (count, dA), and of the offers by row (count, K, s)."""
        noise = rng.standard_normal((count, len(self.mean)))
        shared = self.mean + scale * noise @ _root(self.covariance).T
        if not self.offers:
            return shared, np.zeros((count, 0, len(self._subset)))
        noise = rng.standard_normal((len(self.offers), count, len(self._subset)))
        factors = np.linalg.cholesky(self.offer_covariance + _JITTER * np.eye(len(self._subset)))
        drawn = self.offer_mean[:, None, :] + scale * noise @ factors.transpose(0, 2, 1)
        return shared, drawn.transpose(1, 0, 2)

    def arrays(self, prefix: str) -> Arrays:
        """The whole posterior as arrays, names beginning with `prefix`; of the symmetric block one half."""
        half = self.covariance[np.tril_indices(len(self.mean))]
        return {
            f"{prefix}mean": self.mean,
            f"{prefix}covariance": half,
            f"{prefix}offers": np.array(list(self.offers), dtype=np.str_),
            f"{prefix}offer_mean": self.offer_mean,
            f"{prefix}offer_covariance": self.offer_covariance[:, *np.tril_indices(len(self._subset))],
            f"{prefix}weight": np.array([self.weight]),
        }

    def restore(self, prefix: str, arrays: Arrays) -> None:
        """Take over the posterior that `arrays` wrote under the same layout."""
        self.mean = arrays[f"{prefix}mean"].astype(np.float64)
        size = len(self.mean)
        self.covariance = _whole(arrays[f"{prefix}covariance"].astype(np.float64), size)
        self.offers = {str(offer): row for row, offer in enumerate(arrays[f"{prefix}offers"])}
        self.offer_mean = arrays[f"{prefix}offer_mean"].astype(np.float64)
        self.offer_covariance = _whole(arrays[f"{prefix}offer_covariance"].astype(np.float64), len(self._subset))
        self.weight = float(arrays[f"{prefix}weight"][0])

    def moved_to(self, layout: Layout) -> Head:
        """The same knowledge under other columns: entries are matched by name, new ones begin at their prior.

        Covariances between kept entries are kept; a dropped column is integrated out.
        """
        moved = Head(layout, self.priors, self.forgetting)
        moved.weight, moved.offers = self.weight, dict(self.offers)
        size = len(self.layout.attributes)
        pairs = [
            (i * len(layout.attributes) + j, old_i * size + old_j)
            for i, old_i in _matched(layout.features, self.layout.features)
            for j, old_j in _matched(layout.attributes, self.layout.attributes)
        ]
        new, old = (np.array(side, dtype=np.intp) for side in zip(*pairs, strict=True))
        moved.mean[new] = self.mean[old]
        moved.covariance[np.ix_(new, new)] = self.covariance[np.ix_(old, old)]
        before = [self.layout.features[i] for i in self.layout.subset]
        kept = _matched([layout.features[i] for i in layout.subset], before)
        new, old = (np.array(side, dtype=np.intp) for side in zip(*kept, strict=True))
        moved.offer_mean = np.zeros((len(self.offers), len(layout.subset)))
        moved.offer_mean[:, new] = self.offer_mean[:, old]
        moved.offer_covariance = np.repeat(np.diag(moved._prior_offer)[None], len(self.offers), axis=0)
        moved.offer_covariance[:, new[:, None], new[None, :]] = self.offer_covariance[:, old[:, None], old[None, :]]
        return moved


def _crosses(x: Floats, g: Floats) -> Floats:
    """All products x_i g_j, (n, dA)."""
    return (x[:, :, None] * g[:, None, :]).reshape(len(x), -1)


def _whole(half: Floats, size: int) -> Floats:
    """Symmetric matrices (…, size, size) from their lower halves (…, size (size + 1) / 2)."""
    rows, columns = np.tril_indices(size)
    out = np.zeros((*half.shape[:-1], size, size))
    out[..., rows, columns] = half
    out[..., columns, rows] = half
    return out


def _matched(new: Sequence[str], old: Sequence[str]) -> list[tuple[int, int]]:
    before = {name: position for position, name in enumerate(old)}
    return [(position, before[name]) for position, name in enumerate(new) if name in before]


def _hold(blocks: Floats, prior: Floats) -> None:
    """Shrink rows and columns whose variance exceeds the prior's; this keeps every block positive definite."""
    variance = np.einsum("kii->ki", blocks)
    if not (variance > prior).any():
        return
    factor = np.sqrt(np.minimum(1.0, prior / variance))
    blocks *= factor[:, :, None] * factor[:, None, :]


def _root(covariance: Floats) -> Floats:
    return np.linalg.cholesky(covariance + _JITTER * np.eye(len(covariance)))
