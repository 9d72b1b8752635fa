"""Replay: deterministic, blind to the future, true to permission, and in agreement with the evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import pytest

import vitrina
from vitrina.core.errors import UserError
from vitrina.measure.replay import REPORTED, Replay
from vitrina.measure.replay_figures import figures
from vitrina.understand.order_history import read_orders
from vitrina.understand.recommend import RecommenderSettings
from vitrina.understand.recommend_eval import Results, ours, paired_bootstrap
from vitrina.understand.recommend_eval import replay as evaluate
from vitrina.workspace import Workspace

MAPPING = """
[source]
name = "shop"
currency = "EUR"
available_after_seconds = {lag}
{permission}

[columns]
order_id = "order"
product_id = "product"
quantity = "count"
unit_price = "price"
occurred_at = "at"
user_id = "customer"

[[kinds]]
kind = "order"
"""

ALLOWED = 'lawful_basis = "contract"\npurposes = ["personalisation", "model_training"]'
START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 60


def orders(seed: int, first_day: int, last_day: int) -> Iterator[tuple[str, datetime, list[int]]]:
    """Thirty customers who keep to a taste of five products each, out of forty."""
    rng = np.random.default_rng(seed)
    for day in range(first_day, last_day):
        for person in rng.choice(30, 3, replace=False).tolist():
            taste = [(person * 7 + step) % 40 for step in range(5)]
            at = START + timedelta(days=day, minutes=int(rng.integers(1_440)))
            yield f"c{person}", at, sorted(set(rng.choice(taste, 3).tolist()))


def shop(
    folder: Path, history: list[tuple[str, datetime, list[int]]], *, permission: str = ALLOWED, lag: int = 0
) -> Workspace:
    """A workspace into which the history was imported."""
    lines = ["order,product,count,price,at,customer"]
    for number, (person, at, products) in enumerate(history):
        lines += [f"{number},p{product:02d},1,9.90,{at.isoformat()},{person}" for product in products]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orders.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "mapping.toml").write_text(MAPPING.format(permission=permission, lag=lag), encoding="utf-8")
    workspace = vitrina.init(folder / "shop")
    workspace.import_file(folder / "orders.csv", folder / "mapping.toml")
    return workspace


def plain(result: Replay) -> dict[str, object]:
    return msgspec.to_builtins(result)


def test_two_replays_are_equal_and_leave_the_workspace_alone(tmp_path: Path) -> None:
    since = START + timedelta(days=40)
    with shop(tmp_path, list(orders(1, 0, DAYS))) as workspace:
        before, asked = workspace.summary(), []
        one = workspace.replay(since, progress=lambda done, total: asked.append((done, total)))
        assert plain(one) == plain(workspace.replay(since))
        assert workspace.summary() == before
        assert before.decisions == 0
        assert workspace.catalogue.offers() == workspace.catalogue.placements() == []
        profile = workspace.profiles.find("c1", None)
        assert profile is not None
        assert profile.shown == {}
    assert asked == [(number + 1, one.orders) for number in range(one.orders)]
    assert one.orders == 60
    assert one.personalised == one.orders - one.first_orders
    assert one.refits == 2
    assert [(figure.task, figure.method) for figure in one.figures] == [
        (task, method) for task in ("all", "new") for method in ("decisions", *REPORTED)
    ]
    assert [(lead.task, lead.baseline) for lead in one.leads] == [
        (task, method) for task in ("all", "new") for method in REPORTED
    ]
    everything = one.figures[0]
    assert everything.hit_rate > 0.9, "five favourites of forty products are easy to foresee"
    assert everything.hit_rate_low <= everything.hit_rate <= everything.hit_rate_high


def test_the_future_changes_nothing_before_it(tmp_path: Path) -> None:
    since, until = START + timedelta(days=40), START + timedelta(days=50)
    past = list(orders(1, 0, 50))
    with shop(tmp_path / "a", past + list(orders(1, 50, DAYS))) as workspace:
        one = workspace.replay(since, until)
    strange = [(person, at, [product + 50 for product in products]) for person, at, products in orders(2, 50, DAYS)]
    with shop(tmp_path / "b", past + strange) as workspace:
        other = workspace.replay(since, until)
    assert plain(one) == plain(other)


def test_what_arrives_late_is_not_known_early(tmp_path: Path) -> None:
    history = [("c1", START + timedelta(days=day), [1, 2]) for day in range(10)]
    with shop(tmp_path / "live", history) as workspace:
        assert workspace.replay(START).first_orders == 1
    with shop(tmp_path / "late", history, lag=3 * 86_400) as workspace:
        late = workspace.replay(START)
    assert late.first_orders == 4, "an order three days ago is not strictly before"
    assert late.personalised == 6


def test_orders_of_the_same_moment_do_not_know_of_each_other(tmp_path: Path) -> None:
    moment = START + timedelta(days=1)
    with shop(
        tmp_path, [("c1", moment, [1]), ("c1", moment, [1]), ("c1", moment + timedelta(days=1), [1])]
    ) as workspace:
        result = workspace.replay(START)
    assert (result.orders, result.first_orders, result.personalised) == (3, 2, 1)


def test_without_permission_nothing_personal_is_used(tmp_path: Path) -> None:
    since = START + timedelta(days=40)
    with shop(tmp_path / "asked", list(orders(1, 0, DAYS))) as workspace:
        asked = workspace.replay(since)
    with shop(tmp_path / "not", list(orders(1, 0, DAYS)), permission="") as workspace:
        silent = workspace.replay(since)
    assert (silent.orders, silent.personalised) == (asked.orders, 0)
    assert silent.figures[0].ndcg < asked.figures[0].ndcg - 0.2
    assert silent.figures[1:6] == asked.figures[1:6], "the baselines ask nobody"


def test_new_products_are_asked_for_only_where_an_order_has_some(tmp_path: Path) -> None:
    history = [
        ("c1", START, [1, 2]),
        ("c1", START + timedelta(days=1), [1]),
        ("c1", START + timedelta(days=2), [1, 3]),
        ("c2", START + timedelta(days=3), [3]),
        ("c1", START + timedelta(days=4), [4]),
    ]
    with shop(tmp_path, history) as workspace:
        result = workspace.replay(START, items=1)
    found = {(figure.task, figure.method): figure for figure in result.figures}
    assert found["all", "decisions"].orders == 5
    assert found["new", "decisions"].orders == 4
    assert found["new", "decisions"].hit_rate in {0.0, 0.25}, "nobody can foresee products that nobody ever bought"


def test_a_period_without_orders_and_a_wrong_count_are_refused(tmp_path: Path) -> None:
    with shop(tmp_path, list(orders(1, 0, 5))) as workspace:
        with pytest.raises(UserError, match="no order of a known customer") as refused:
            workspace.replay(START + timedelta(days=90))
        assert refused.value.code == "replay.empty"
        with pytest.raises(UserError, match="21 items"):
            workspace.replay(START, items=21)
    with vitrina.init(tmp_path / "empty") as workspace, pytest.raises(UserError, match="no order"):
        workspace.replay(START)


def test_figures_agree_with_the_bootstrap_of_the_evaluation() -> None:
    rng = np.random.default_rng(3)
    person = np.repeat(np.arange(60), 3)
    mine = Results(person, rng.integers(0, 2, 180).astype(float), rng.random(180))
    theirs = Results(person, rng.integers(0, 2, 180).astype(float), rng.random(180))
    shown, leads = figures(
        {("a", False): mine, ("b", False): theirs, ("a", True): mine, ("b", True): theirs}, "a", ["b"]
    )
    assert [figure.method for figure in shown] == ["a", "b", "a", "b"]
    gain = paired_bootstrap(person, mine.ndcg, theirs.ndcg, np.random.default_rng(1))
    assert leads[0].ndcg == pytest.approx(gain.mean)
    # Both intervals rest on 2,000 draws: their ends differ by about a tenth of the standard error.
    assert leads[0].ndcg_low == pytest.approx(gain.low, abs=0.01)
    assert leads[0].ndcg_high == pytest.approx(gain.high, abs=0.01)
    with pytest.raises(ValueError, match="same orders"):
        figures({("a", False): mine, ("b", False): Results(person + 1, mine.hit, mine.ndcg)}, "a", ["b"])


def online_retail(shared_data: Path, root: Path, folder: Path, where: str) -> Workspace:
    """The real shop's lines that meet a condition, imported."""
    path = shared_data / "online_retail" / "online_retail.parquet"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the shared data folder: add the data set online_retail")
    part = folder / "part.parquet"
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(f"copy (select * from read_parquet('{path}') where {where}) to '{part}' (format parquet)")
    workspace = vitrina.init(folder / "shop", currency="GBP", timezone="Europe/London")
    workspace.import_file(part, root / "examples" / "online_retail" / "mapping.toml")
    return workspace


def test_the_decision_path_does_what_the_evaluation_says(shared_data: Path, root: Path, tmp_path: Path) -> None:
    since, until = datetime(2011, 8, 1, tzinfo=UTC), datetime(2011, 8, 4, tzinfo=UTC)
    period = "invoice_ts >= '2011-06-15' and invoice_ts < '2011-08-04'"
    with online_retail(shared_data, root, tmp_path, period) as workspace:
        result = workspace.replay(since, until)
        history = read_orders(workspace.engine)
    bounds = [int(moment.timestamp()) * 1_000_000 for moment in (since, until)]
    found = evaluate(history.interactions(), bounds[0], bounds[1], RecommenderSettings(), {"ours": ours})
    for place, new_only in ((0, False), (1 + len(REPORTED), True)):
        offline, walked = found["ours", new_only], result.figures[place]
        assert walked.orders == len(offline.person)
        # The same products in the same order, but for scores that are equal in single precision.
        assert walked.hit_rate == pytest.approx(float(offline.hit.mean()), abs=1 / walked.orders)
        assert walked.ndcg == pytest.approx(float(offline.ndcg.mean()), abs=2e-3)


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_on_the_whole_of_a_real_shop(shared_data: Path, root: Path, tmp_path: Path) -> None:
    with online_retail(shared_data, root, tmp_path, "true") as workspace:
        result = workspace.replay(datetime(2011, 9, 9, tzinfo=UTC))
    assert result.orders > 6_000
    for lead in result.leads:
        assert lead.ndcg_low > 0, lead
        if lead.task == "new":
            assert lead.hit_rate_low > 0, lead
