"""Hit-rate, NDCG, the paired bootstrap and the replay, by hand and on a real shop's orders."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pytest

from vitrina.understand import recommend_eval as e
from vitrina.understand.recommend import RecommenderSettings
from vitrina.understand.recommend_fit import Interactions

DAY = 86_400_000_000


def test_hit_and_ndcg_by_hand():
    hit, ndcg = e.hit_rate_and_ndcg(np.array([7, 3, 9]), np.array([3, 4]), k=3)
    assert hit == 1.0
    assert ndcg == pytest.approx((1 / np.log2(3)) / (1 + 1 / np.log2(3)))
    assert e.hit_rate_and_ndcg(np.array([1, 2]), np.array([5])) == (0.0, 0.0)
    assert e.hit_rate_and_ndcg(np.array([5, 4]), np.array([4, 5])) == (1.0, pytest.approx(1.0))
    with pytest.raises(ValueError, match="skip"):
        e.hit_rate_and_ndcg(np.array([1]), np.array([], np.int64))


def test_bootstrap_resamples_persons_and_is_seeded():
    person = np.repeat(np.arange(50), 4)
    ours = np.repeat((np.arange(50) % 2).astype(float), 4)
    one = e.paired_bootstrap(person, ours, np.zeros(200), np.random.default_rng(1))
    assert one == e.paired_bootstrap(person, ours, np.zeros(200), np.random.default_rng(1))
    assert one.mean == 0.5
    # 50 persons with outcomes 0 and 1: standard error 0.5/√50 = 0.0707, so the interval is about ±0.139.
    assert one.high - one.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(50), rel=0.15)
    same = e.paired_bootstrap(person, ours, ours, np.random.default_rng(1))
    assert (same.mean, same.low, same.high) == (0.0, 0.0, 0.0)


def test_replay_asks_before_it_folds_and_skips_orders_without_new_products():
    rows = [(0, 0, 0, 1), (1, 1, 1, 2), (0, 0, 2, 3), (0, 1, 3, 4), (2, 1, 4, 4), (2, 2, 4, 9)]
    interactions = Interactions(
        *(np.array(c, np.int64) * (DAY if k == 3 else 1) for k, c in enumerate(zip(*rows, strict=True)))
    )
    seen: list[tuple[int, bool, list[int], list[float]]] = []

    def watch(moment: e.Moment) -> np.ndarray:
        seen.append((moment.now // DAY, moment.new_only, moment.personal.product.tolist(), moment.windows[7].tolist()))
        return np.array([0, 1])

    results = e.replay(interactions, 3 * DAY, 10 * DAY, RecommenderSettings(), {"watch": watch})
    assert seen == [
        (3, False, [0], [1.0, 1.0, 0.0]),
        (4, False, [0], [2.0, 1.0, 0.0]),
        (4, True, [0], [2.0, 1.0, 0.0]),
        (4, False, [], [2.0, 1.0, 0.0]),
        (4, True, [], [2.0, 1.0, 0.0]),
    ]
    assert results["watch", False].person.tolist() == [0, 0, 2]
    assert results["watch", True].hit.tolist() == [1.0, 1.0]


def _online_retail(folder: Path) -> Interactions:
    path = folder / "online_retail" / "online_retail.parquet"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the shared data folder: add the data set online_retail")
    with duckdb.connect(config={"threads": 1}) as connection:
        columns = connection.execute(
            """
            with lines as (
                select invoice_no, stock_code, customer_id, quantity, unit_price_gbp, epoch_us(invoice_ts) as sold_at
                from read_parquet(?) where customer_id is not null and left(invoice_no, 1) not in ('C', 'A')
            ), orders as (
                select invoice_no, min(sold_at) as first_at from lines group by 1
            )
            select customer_id::bigint, dense_rank() over (order by stock_code) - 1,
                   dense_rank() over (order by first_at, invoice_no) - 1, sold_at
            from lines join orders using (invoice_no)
            where quantity > 0 and unit_price_gbp > 0
            """,
            [str(path)],
        ).fetchnumpy()
    return Interactions(*(np.asarray(values, np.int64) for values in columns.values()))


def _us(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1_000_000


def test_on_a_real_shop_it_beats_every_baseline_on_new_products_and_ndcg(shared_data: Path):
    interactions = _online_retail(shared_data)
    assert len(np.unique(interactions.order)) == 18_532
    assert len(np.unique(interactions.person)) == 4_338
    settings = RecommenderSettings()
    rankers = {"ours": e.ours, **e.baselines()}
    found = e.replay(interactions, _us(2011, 8, 1), _us(2011, 9, 1), settings, rankers, refit_days=31)
    for new_only in (False, True):
        mine = found["ours", new_only]
        for name in rankers.keys() - {"ours"}:
            theirs = found[name, new_only]
            gain = e.paired_bootstrap(mine.person, mine.ndcg, theirs.ndcg, np.random.default_rng(1))
            assert gain.mean > 0, (name, new_only, gain)
            assert mine.hit.mean() > theirs.hit.mean(), (name, new_only)
            if new_only:
                assert gain.low > 0, (name, gain)
