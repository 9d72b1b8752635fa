"""A bank: M frozen draws of the model's parameters, numbered, from which decisions are made.

A bank never changes. Binding it to a list of candidates works out everything that doesn't depend on the person, so that
a decision costs two small products, one exponential and a few passes over 2·M·K numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitrina.core.ids import hash16
from vitrina.decide.arrays import Arrays, pack_arrays, unpack_arrays
from vitrina.decide.model import Head, Layout

__all__ = ["Bank", "BoundBank", "Choosable", "draw_bank"]

Single = NDArray[np.float32]
_SQUARINGS = 5
_COORDINATES = 700
_UNIT = np.float32(-1.0 / (2 << _SQUARINGS))
_TWO = np.float32(2.0)
_LARGEST = 38.0
"""Above this |z| two factors of e^|z| could pass float32."""


class Choosable(Protocol):
    """What a bank needs of a list of K candidates (`vitrina.decide.catalogue.Candidates`)."""

    @property
    def offer_ids(self) -> Sequence[str]:
        """K ids."""
        ...

    @property
    def margin(self) -> NDArray[np.float64]:
        """What one sale earns, minor units, (K,)."""
        ...

    @property
    def cost(self) -> NDArray[np.float64]:
        """What showing it once costs, minor units, (K,)."""
        ...

    @property
    def g(self) -> NDArray[np.float32]:
        """Attributes, (K, A), the first one constant."""
        ...


class Bank:
    """M draws for one placement.

    Attributes:
        number: unique in the workspace; 0 is a bank that was never stored.
        placement: whose it is.
        draws: M.
        layout, feature_set: names and number of the columns that it was made for.
    """

    def __init__(
        self,
        number: int,
        placement: str,
        layout: Layout,
        feature_set: int,
        heads: Sequence[_Drawn],
        basis: Single,
        losses: dict[str, float],
    ) -> None:
        self.number = number
        self.placement = placement
        self.layout = layout
        self.feature_set = feature_set
        self._heads = tuple(heads)
        self._basis = basis
        self._losses = losses
        self._bound: tuple[object, BoundBank] | None = None

    @property
    def draws(self) -> int:
        """M."""
        return len(self._heads[0].shared)

    @property
    def heads(self) -> int:
        """2 with clicks, 1 without."""
        return len(self._heads)

    def loss(self, offer_id: str) -> float:
        """Share of the margin that refunds are expected to take back."""
        return self._losses.get(offer_id, self._losses.get("", 0.0))

    def bind(self, candidates: Choosable) -> BoundBank:
        """The bank over these candidates; the latest list is kept, so asking again costs nothing."""
        bound = self._bound
        if bound is None or bound[0] is not candidates:
            bound = (candidates, BoundBank(self, candidates, self._heads, self._basis))
            self._bound = bound
        return bound[1]

    def numbered(self, number: int) -> Bank:
        """The same draws under another number."""
        return Bank(number, self.placement, self.layout, self.feature_set, self._heads, self._basis, self._losses)

    def pack(self) -> bytes:
        """The bank as bytes (see `vitrina.decide.arrays`)."""
        arrays: Arrays = {
            "number": np.array([self.number]),
            "feature_set": np.array([self.feature_set]),
            "placement": np.array([self.placement], dtype=np.str_),
            "features": np.array(self.layout.features, dtype=np.str_),
            "attributes": np.array(self.layout.attributes, dtype=np.str_),
            "subset": np.array(self.layout.subset, dtype=np.int64),
            "basis": self._basis,
            "loss_offers": np.array(list(self._losses), dtype=np.str_),
            "losses": np.array(list(self._losses.values()), dtype=np.float64),
        }
        for place, head in enumerate(self._heads):
            arrays |= head.arrays(f"head{place}_")
        return pack_arrays(arrays)

    @staticmethod
    def unpack(data: bytes) -> Bank:
        """The bank that `pack` wrote; it gives the same margins to the bit."""
        arrays = unpack_arrays(data)
        layout = Layout(
            tuple(map(str, arrays["features"])),
            tuple(map(str, arrays["attributes"])),
            tuple(map(int, arrays["subset"])),
        )
        losses = dict(zip(map(str, arrays["loss_offers"]), map(float, arrays["losses"]), strict=True))
        heads = [_Drawn.of(f"head{place}_", arrays) for place in range(2) if f"head{place}_shared" in arrays]
        return Bank(
            int(arrays["number"][0]),
            str(arrays["placement"][0]),
            layout,
            int(arrays["feature_set"][0]),
            heads,
            arrays["basis"].astype(np.float32),
            losses,
        )


class _Drawn(msgspec.Struct, frozen=True):
    """Draws of one head: shared (M, dA); of the offers the intercept and r coordinates in the basis, (M, K, 1 + r).

    `fresh` (1 + r,) holds the deviations that an offer not met is drawn with.
    """

    shared: Single
    offers: Single
    offer_ids: tuple[str, ...]
    bias: float
    fresh: Single

    def arrays(self, prefix: str) -> Arrays:
        return {
            f"{prefix}shared": self.shared,
            f"{prefix}offers": self.offers,
            f"{prefix}offer_ids": np.array(self.offer_ids, dtype=np.str_),
            f"{prefix}bias": np.array([self.bias]),
            f"{prefix}fresh": self.fresh,
        }

    @staticmethod
    def of(prefix: str, arrays: Arrays) -> _Drawn:
        return _Drawn(
            arrays[f"{prefix}shared"].astype(np.float32),
            arrays[f"{prefix}offers"].astype(np.float32),
            tuple(map(str, arrays[f"{prefix}offer_ids"])),
            float(arrays[f"{prefix}bias"][0]),
            arrays[f"{prefix}fresh"].astype(np.float32),
        )

    def for_offers(self, offer_ids: Sequence[str]) -> Single:
        """Draws of these offers, (M, K, 1 + r); one not met is drawn from the prior, always the same way for its id."""
        place = {offer: row for row, offer in enumerate(self.offer_ids)}
        out = np.empty((len(self.shared), len(offer_ids), len(self.fresh)), dtype=np.float32)
        for k, offer in enumerate(offer_ids):
            row = place.get(offer)
            if row is not None:
                out[:, k] = self.offers[:, row]
            else:
                rng = np.random.default_rng(int.from_bytes(hash16(offer, b"prior draw")))
                out[:, k] = rng.standard_normal((len(self.shared), len(self.fresh)), dtype=np.float32) * self.fresh
        return out


def draw_bank(
    number: int,
    placement: str,
    heads: Sequence[Head],
    *,
    feature_set: int,
    losses: dict[str, float],
    draws: int,
    scale: float,
    rng: np.random.Generator,
    offers: int = 0,
    rank: int | None = None,
) -> Bank:
    """Draw a bank from the posterior of one head (buy) or two (click, buy).

    Args:
        losses: offer id → share of the margin that refunds take back; "" is for offers not named.
        draws: M.
        scale: v, the multiplier of the posterior standard deviation.
        offers: how many offers a decision chooses among, where more are listed than were learned of.
        rank: r, directions of the features in which offers keep weights of their own; default: all of them while
            r · K ≤ 700, so that a decision among many offers stays cheap, else the r that matter most (`_basis`).
    """
    layout = heads[0].layout
    if rank is None:
        rank = _COORDINATES // max(1, offers, *(len(head.offers) for head in heads))
    basis = _basis(heads, min(rank, len(layout.subset) - 1))
    drawn: list[_Drawn] = []
    for head in heads:
        shared, own = head.draw(draws, scale, rng)
        own = np.concatenate([own[:, :, :1], own[:, :, 1:] @ basis], axis=2)
        deviations = np.array([head.priors.intercept] + [head.priors.offer] * basis.shape[1])
        drawn.append(
            _Drawn(
                shared.astype(np.float32),
                own.astype(np.float32),
                tuple(head.offers),
                head.priors.bias,
                (scale * deviations).astype(np.float32),
            )
        )
    return Bank(number, placement, layout, feature_set, drawn, basis.astype(np.float32), losses)


def _basis(heads: Sequence[Head], rank: int) -> NDArray[np.floating[Any]]:
    """Orthonormal directions (s − 1, r) holding most of the offers' mean weights; the identity when r = s − 1."""
    means = np.concatenate([head.offer_mean[:, 1:] for head in heads])
    if rank == means.shape[1]:
        return np.eye(rank)
    _, directions = np.linalg.eigh(means.T @ means)
    return directions[:, ::-1][:, :rank]


class BoundBank:
    """A bank over K candidates; `margins` is what a decision calls.

    e^−z is taken as ((1 − z/2n) / (1 + z/2n))^n with n = 32, half the cost of numpy's exponential: monotone, exact at
    0, relative error below 0.3 % at |z| = 3 and 1.1 % at |z| = 5. Where |z| could pass 38 the true exponential is used.
    The choice depends on the bank and the vector alone, so that a decision can be worked out again to the bit.
    """

    def __init__(self, bank: Bank, candidates: Choosable, heads: Sequence[_Drawn], basis: Single) -> None:
        layout = bank.layout
        features, attributes, draws = len(layout.features), len(layout.attributes), bank.draws
        offers = list(candidates.offer_ids)
        self.number = bank.number
        self.draws = draws
        self.offers = len(offers)
        self._rows = len(heads) * draws
        self._attributes = attributes
        g = np.ascontiguousarray(np.asarray(candidates.g, dtype=np.float32).T)
        shared = np.concatenate([head.shared for head in heads]).reshape(-1, features, attributes)
        own = np.concatenate([head.for_offers(offers) for head in heads])
        bias = np.repeat(np.array([head.bias for head in heads], dtype=np.float32), draws)
        self._reach = _largest_norm(shared, own, g) + abs(float(np.abs(bias).max(initial=0.0)))
        # 1 − z/2n is what the power needs, so sign, scale and the 1 are put in here once.
        self._g = g
        self._shared = np.ascontiguousarray((shared * _UNIT).transpose(1, 0, 2).reshape(features, -1))
        constant = 1.0 + _UNIT * (own[:, :, 0] + bias[:, None])
        rest = own[:, :, 1:].transpose(2, 0, 1) * _UNIT
        self._own = np.ascontiguousarray(
            np.concatenate([constant[None], rest]).reshape(1 + basis.shape[1], self._rows * self.offers),
            dtype=np.float32,
        )
        self._directions = _scattered(basis, layout.subset[1:], features)
        loss = np.array([bank.loss(offer) for offer in offers])
        self._margin = (np.asarray(candidates.margin, dtype=np.float64) * (1.0 - loss)).astype(np.float32)
        cost = np.asarray(candidates.cost, dtype=np.float32)
        self._cost = cost if cost.any() else None

    def margins(self, x: Single) -> Single:
        """Expected margin of each candidate under each draw, minor units, (M, K); `x` is the person's vector (d,)."""
        q = np.dot(np.dot(x, self._shared).reshape(self._rows, self._attributes), self._g)
        q += np.dot(np.dot(x, self._directions), self._own).reshape(self._rows, self.offers)
        if self._reach * math.sqrt(float(np.dot(x, x))) < _LARGEST:
            np.divide(q, np.subtract(_TWO, q), out=q)
            for _ in range(_SQUARINGS):
                np.multiply(q, q, out=q)
        else:
            q -= 1.0
            q *= 1.0 / _UNIT
            np.exp(np.clip(np.negative(q, out=q), -_LARGEST, _LARGEST, out=q), out=q)
        q += 1.0
        bottom = np.multiply(q[: self.draws], q[self.draws :], out=q[: self.draws]) if self._rows > self.draws else q
        out = np.divide(self._margin, bottom, out=bottom)
        if self._cost is not None:
            out -= self._cost
        return out


def _largest_norm(shared: Single, own: Single, g: Single) -> float:
    """A bound on |z − bias| / |x|: the largest ‖W g_k‖ plus the largest ‖u_k‖ over draws and candidates."""
    mapped = np.linalg.norm(np.matmul(shared, g), axis=1)
    return float(mapped.max(initial=0.0) + np.linalg.norm(own, axis=2).max(initial=0.0))


def _scattered(basis: Single, subset: Sequence[int], features: int) -> Single:
    """(d, 1 + r): what takes a vector to its constant and its coordinates in the basis."""
    out = np.zeros((features, 1 + basis.shape[1]), dtype=np.float32)
    out[0, 0] = 1.0
    out[list(subset), 1:] = basis
    return out
