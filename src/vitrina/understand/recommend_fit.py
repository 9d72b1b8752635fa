"""Fit the item-item models of the recommender from past orders (pure computation, no I/O).

Needs numpy and scipy.sparse. One fit solves two dense systems of ``matrix_products`` unknowns, in single precision.
"""

from __future__ import annotations

import msgspec
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from vitrina.understand.recommend import DAY_US, ItemWeights, RecommenderModel, RecommenderSettings

__all__ = ["Interactions", "before", "fit"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


class Interactions(msgspec.Struct, frozen=True):
    """Purchases, one row a product in an order; all arrays of shape (rows,).

    ``person``, ``product`` and ``order`` are numbers from 0; ``at`` is when the order became
    available, µs UTC. An order belongs to one person; repeated rows count once.
    """

    person: Ints
    product: Ints
    order: Ints
    at: Ints


class _Orders(msgspec.Struct, frozen=True):
    """Orders renumbered by person and time, with the basket matrix over the kept products."""

    person: Ints
    at: Ints
    baskets: sp.csr_matrix
    kept: Ints


def before(interactions: Interactions, as_of: int) -> Interactions:
    """The rows strictly before ``as_of`` µs UTC."""
    keep = interactions.at < as_of
    return Interactions(*(getattr(interactions, name)[keep] for name in interactions.__struct_fields__))


def fit(interactions: Interactions, as_of: int, settings: RecommenderSettings) -> RecommenderModel:
    """Learn the item-item models from rows strictly before ``as_of`` (µs UTC).

    Later rows never change the result. With no rows the model ranks by popularity alone.
    """
    past = before(interactions, as_of)
    if not len(past.product):
        nothing = _sparse(np.empty((0, 0), np.float32), np.empty(0, np.int64), 0, 0)
        return RecommenderModel(as_of, 0, nothing, nothing, nothing, settings)
    products = int(past.product.max()) + 1
    orders = _orders(past, products, settings.matrix_products)
    return RecommenderModel(
        as_of=as_of,
        products=products,
        next_basket=_sparse(_next_basket(orders, as_of, settings), orders.kept, products, settings.neighbours),
        co_purchase=_sparse(_ease(orders, settings.ease_ridge), orders.kept, products, settings.neighbours),
        similar=_sparse(
            _cosine(_product(orders.baskets, orders.baskets)), orders.kept, products, settings.similar_neighbours
        ),
        settings=settings,
    )


def _orders(past: Interactions, products: int, limit: int) -> _Orders:
    """Order rows sorted by person, then time; columns are the ``limit`` most ordered products."""
    numbers, first, row = np.unique(past.order, return_index=True, return_inverse=True)
    at = np.full(len(numbers), np.iinfo(np.int64).max)
    np.minimum.at(at, row, past.at)
    person = past.person[first]
    rank = np.lexsort((numbers, at, person))
    place = np.empty_like(rank)
    place[rank] = np.arange(len(rank))
    lines = sp.csr_matrix((np.ones(len(row), np.float32), (place[row], past.product)), (len(numbers), products))
    lines.data[:] = 1.0
    count = np.asarray(lines.sum(axis=0)).ravel()
    kept = np.sort(np.argsort(-count, kind="stable")[:limit])
    kept = kept[count[kept] > 0]
    return _Orders(person[rank], at[rank], lines[:, kept].tocsr(), kept)


def _ease(orders: _Orders, ridge: float) -> Singles:
    """EASE over persons, rows scaled by 1/⁴√(products bought); closed form of Steck (2019), eq. 8."""
    _, row = np.unique(orders.person, return_inverse=True)
    group = sp.csr_matrix((np.ones(len(row), np.float32), (row, np.arange(len(row)))))
    bought = sp.csr_matrix(group @ orders.baskets)
    bought.data[:] = 1.0
    size = np.maximum(np.asarray(bought.sum(axis=1)).ravel(), 1.0)
    scaled = sp.csr_matrix(sp.diags(size**-0.25) @ bought)
    gram = _product(scaled, scaled)
    gram[np.diag_indices_from(gram)] += np.float32(ridge)
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(weights, 0.0)
    return weights.astype(np.float32, copy=False)


def _next_basket(orders: _Orders, as_of: int, settings: RecommenderSettings) -> Singles:
    """Ridge regression from the decayed history before each order to the products in it.

    Solves (XᵀX + λI) W = XᵀY, rows weighted by age; X has the scale ``recommend.score`` uses.
    """
    history, target = _histories(orders, settings.personal_half_life_days), orders.baskets
    size = np.asarray(history.sum(axis=1)).ravel()
    weight = np.exp2(-0.5 * (as_of - orders.at) / (settings.next_basket_row_half_life_days * DAY_US))
    x = sp.csr_matrix(sp.diags(weight / np.sqrt(np.maximum(size, 1.0))) @ history)
    y = sp.csr_matrix(sp.diags(weight) @ target)
    gram = _product(x, x)
    gram[np.diag_indices_from(gram)] += np.float32(settings.next_basket_ridge)
    return np.linalg.solve(gram, _product(x, y))


def _product(left: sp.csr_matrix, right: sp.csr_matrix) -> Singles:
    """Dense leftᵀ·right in single precision."""
    return sp.csr_matrix(left.T @ right).toarray().astype(np.float32)


def _histories(orders: _Orders, half_life_days: float) -> sp.csr_matrix:
    """Decayed product counts of the same person's strictly earlier orders, one row an order."""
    count = len(orders.person)
    index = np.arange(count)
    start = np.searchsorted(orders.person, orders.person, "left")
    length = index - start
    later = np.repeat(index, length)
    earlier = np.arange(len(later)) - np.repeat(np.cumsum(length) - length, length) + np.repeat(start, length)
    gap = orders.at[later] - orders.at[earlier]
    decay = np.where(gap > 0, np.exp2(-gap / (half_life_days * DAY_US)), 0.0)
    links = sp.csr_matrix((decay, (later, earlier)), (count, count))
    return sp.csr_matrix(links @ orders.baskets)


def _cosine(counts: Singles) -> Singles:
    """Cosine of two products' orders from their co-order counts, with two pseudo-orders each; the diagonal is zero."""
    scale = 1.0 / np.sqrt(np.diag(counts) + 2.0)
    cosine = counts * scale[:, None] * scale[None, :]
    np.fill_diagonal(cosine, 0.0)
    return cosine.astype(np.float32, copy=False)


def _sparse(dense: Singles, kept: Ints, products: int, neighbours: int) -> ItemWeights:
    """Keep each row's ``neighbours`` largest magnitudes; targets sorted within a row."""
    size = dense.shape[0]
    width = min(neighbours, size)
    if not width:
        return ItemWeights(np.zeros(products + 1, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    columns = np.sort(np.argpartition(-np.abs(dense), width - 1, axis=1)[:, :width], axis=1)
    values = np.take_along_axis(dense, columns, axis=1)
    length = np.zeros(products, np.int64)
    length[kept] = width
    start = np.concatenate([[0], np.cumsum(length)])
    return ItemWeights(start, kept[columns.ravel()], values.ravel().astype(np.float32))
