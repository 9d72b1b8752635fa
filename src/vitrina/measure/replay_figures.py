"""Figures of a replay: means over orders, intervals by resampling customers, differences paired by order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitrina.understand.recommend_eval import Results

__all__ = ["Figure", "Lead", "figures"]

Floats = NDArray[np.float64]

_DRAWS: Final = 2_000
_CHUNK: Final = 250
_SEED: Final = 20_110_909
_LEVEL: Final = 0.95
_TASKS: Final = {False: "all", True: "new"}


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """How well a method did on a task, `all` products or those `new` to the customer; 95 % intervals over customers."""

    task: str
    method: str
    orders: int
    hit_rate: float
    hit_rate_low: float
    hit_rate_high: float
    ndcg: float
    ndcg_low: float
    ndcg_high: float


class Lead(msgspec.Struct, frozen=True, kw_only=True):
    """How far our method is ahead of a baseline (behind where negative), with the paired 95 % interval."""

    task: str
    baseline: str
    hit_rate: float
    hit_rate_low: float
    hit_rate_high: float
    ndcg: float
    ndcg_low: float
    ndcg_high: float


def figures(
    found: Mapping[tuple[str, bool], Results], ours: str, others: Sequence[str]
) -> tuple[list[Figure], list[Lead]]:
    """Figures of every method and leads of `ours` over the `others`, from results by (method, new products only).

    Results of one task must be about the same orders in the same order.
    """
    shown: list[Figure] = []
    leads: list[Lead] = []
    for new, task in _TASKS.items():
        mine = found[ours, new]
        theirs = [found[name, new] for name in others]
        if not len(mine.person):
            continue
        if any(not np.array_equal(mine.person, each.person) for each in theirs):
            raise ValueError("the results are not about the same orders")
        every = [mine, *theirs]
        columns = np.column_stack([value for each in every for value in (each.hit, each.ndcg)])
        columns = np.column_stack([columns, np.tile(columns[:, :2], len(theirs)) - columns[:, 2:]])
        rows = _with_intervals(mine.person, columns)
        for place, name in enumerate([ours, *others]):
            shown.append(Figure(task=task, method=name, orders=len(mine.person), **_pair(rows, 2 * place)))
        for place, name in enumerate(others):
            leads.append(Lead(task=task, baseline=name, **_pair(rows, 2 * (len(every) + place))))
    return shown, leads


def _pair(rows: Floats, start: int) -> dict[str, float]:
    names = ("hit_rate", "hit_rate_low", "hit_rate_high", "ndcg", "ndcg_low", "ndcg_high")
    return dict(zip(names, rows[start : start + 2].ravel().tolist(), strict=True))


def _with_intervals(person: NDArray[np.int64], columns: Floats) -> Floats:
    """Mean, low, high of each column, shape (columns, 3): persons are drawn with replacement, the same for all columns.

    Percentile method, Efron and Tibshirani (1993), ch. 13. `person` has shape (orders,), `columns` (orders, columns).
    """
    _, where = np.unique(person, return_inverse=True)
    orders = np.bincount(where).astype(np.float64)
    totals = np.column_stack([np.bincount(where, column) for column in columns.T])
    rng = np.random.default_rng(_SEED)
    chances = np.full(len(orders), 1.0 / len(orders))
    means: list[Floats] = []
    for _ in range(_DRAWS // _CHUNK):
        times = rng.multinomial(len(orders), chances, size=_CHUNK).astype(np.float64)
        means.append((times @ totals) / (times @ orders)[:, None])
    low, high = np.quantile(np.concatenate(means), [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], axis=0)
    return np.column_stack([columns.mean(axis=0), low, high])
