"""The recommender at work: purchases folded on leaves, scores for the engine, renewal from the lake."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vitrina
from vitrina.core.catalogue import Offer, Placement, PolicySettings
from vitrina.core.clock import DAY, SimulatedClock
from vitrina.core.consent import Purpose
from vitrina.core.decision import DecideRequest
from vitrina.core.event import Event, Product
from vitrina.core.grant import Grant
from vitrina.govern.permission import ask
from vitrina.storage.engine import Engine
from vitrina.understand.next_order import NextOrder
from vitrina.understand.order_history import read_orders
from vitrina.understand.purchase_memory import PurchaseMemory
from vitrina.understand.recommend import (
    RecommenderSettings,
    add_order,
    add_popularity,
    candidates,
    empty_personal,
    empty_popularity,
    personal_frequency,
    prepare,
)
from vitrina.understand.recommend_fit import Interactions, fit
from vitrina.understand.refresher import Refresher, allowed
from vitrina.workspace import Workspace

T0 = 20_000 * DAY
MEMORY = PurchaseMemory()


def order(products: list[str], at: int, number: int = 0, **fields: Any) -> Event:
    lines = tuple(Product(product_id=product, quantity=1, unit_price=10_000, revenue=100) for product in products)
    return Event(
        message_id=f"m{number}", type="track", name="Order Completed", user_id="anna", occurred_at=at, received_at=at,
        available_at=at, products=lines, **{"trusted": True, **fields},
    )  # fmt: skip


bought = st.lists(
    st.tuples(
        st.lists(st.integers(0, 9), min_size=1, max_size=4),
        st.integers(0, 400 * DAY),
        st.integers(min_value=0, max_value=2),
    ),
    min_size=1,
    max_size=12,
)


@given(bought, st.randoms(use_true_random=False))
def test_purchases_do_not_care_for_order_or_leaves(history: list[tuple[list[int], int, int]], chance: Any) -> None:
    settings = RecommenderSettings()
    expected = empty_personal()
    for products, at, _ in history:
        expected = add_order(expected, np.array(products), T0 + at, settings)
    leaves: list[dict[str, Any]] = [{}, {}, {}]
    mixed = list(history)
    chance.shuffle(mixed)
    for number, (products, at, leaf) in enumerate(mixed):
        MEMORY.fold(leaves[leaf], order([str(product) for product in products], T0 + at, number))
    kept = copy.deepcopy(leaves)
    read = MEMORY.read(MEMORY.merge({}, leaves))
    assert leaves == kept
    assert read is not None
    assert (read.orders, read.last) == (expected.orders, expected.last)
    assert sorted(read.frequency) == [str(product) for product in expected.product]
    now = personal_frequency(expected, read.last, settings)
    assert [read.frequency[str(product)] for product in expected.product] == pytest.approx(now, rel=1e-9)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(leaves)) == leaves


def test_what_is_no_sale_of_a_trusted_order_is_not_remembered() -> None:
    state: dict[str, Any] = {}
    MEMORY.fold(state, order(["a"], T0, trusted=False))
    MEMORY.fold(state, msgspec.structs.replace(order(["a"], T0), name="Order Refunded"))
    written_off = Product(product_id="a", quantity=-1, unit_price=0, revenue=0, kind="stock_move")
    MEMORY.fold(state, msgspec.structs.replace(order([], T0), products=(written_off,)))
    assert state == {}
    assert MEMORY.read(state) is None
    MEMORY.fold(state, order(["a", "a"], T0))
    assert PurchaseMemory(90.0).read(state) is None, "another half-life is another memory"
    assert MEMORY.merge({"set": 1}, [{"set": 1}, state]) == {"set": 1, **state}


class Known(msgspec.Struct):
    features: dict[str, Any]
    traits: Mapping[str, Any] = {}


def listed(names: list[str], number: int = 1) -> Any:
    return SimpleNamespace(number=number, offer_ids=tuple(names))


def history(seed: int = 1) -> Interactions:
    """Forty people, thirty products, 300 orders of one to four products."""
    rng = np.random.default_rng(seed)
    rows = [
        (int(rng.integers(40)), int(product), number, T0 + number * DAY // 3)
        for number in range(300)
        for product in rng.choice(30, int(rng.integers(1, 5)), replace=False, p=np.arange(30, 0, -1) / 465)
    ]
    return Interactions(*(np.array(column, np.int64) for column in zip(*rows, strict=True)))


@pytest.mark.parametrize("cold", [True, False])
def test_scores_rank_as_the_pure_functions_do(cold: bool) -> None:
    past, now = history(), T0 + 101 * DAY
    settings = RecommenderSettings()
    model, popularity, person = fit(past, now, settings), empty_popularity(settings, 30), empty_personal()
    at_work, state = NextOrder(), Known({})
    at_work.number(f"p{number:02d}" for number in range(30))
    at_work.use(model)
    for number in np.unique(past.order):
        rows = past.order == number
        products, at = past.product[rows], int(past.at[rows][0])
        popularity = add_popularity(popularity, products, at)
        at_work.add_order(products, at)
        if not cold and past.person[rows][0] == 3:
            person = add_order(person, products, at, settings)
            MEMORY.fold(state.features, order([f"p{product:02d}" for product in products], at, int(number)))
    expected = candidates(model, prepare(popularity, now, settings), person, now, 30)
    names = [f"p{number:02d}" for number in range(29, -1, -1)]
    scores = at_work.scores(None if cold else state, listed(names), now)
    assert scores.dtype == np.float32
    assert [names[k] for k in np.argsort(-scores, kind="stable")] == [f"p{each.product:02d}" for each in expected]
    again = NextOrder()
    again.number(f"p{number:02d}" for number in range(30))
    again.use(model)
    again.set_popularity(past.product, past.at, now)
    assert again.scores(None if cold else state, listed(names), now) == pytest.approx(scores, rel=1e-5)


def test_the_list_is_varied_among_what_may_be_shown() -> None:
    past, now = history(), T0 + 101 * DAY
    at_work = NextOrder()
    names = [f"p{number:02d}" for number in range(30)]
    at_work.number(names)
    at_work.use(fit(past, now, at_work.settings))
    at_work.set_popularity(past.product, past.at, now)
    free = at_work.scores(None, listed(names), now)
    eligible = np.ones(30, bool)
    eligible[np.argsort(-free)[:5]] = False
    narrowed = at_work.scores(None, listed(names), now, eligible)
    shown = np.flatnonzero(eligible)
    alone = NextOrder()
    alone.number(names)
    alone.use(at_work.model)
    alone.set_popularity(past.product, past.at, now)
    assert narrowed[shown] == pytest.approx(alone.scores(None, listed([names[k] for k in shown], 2), now))
    assert np.isfinite(at_work.scores(None, listed(names), now, np.zeros(30, bool))).all()


def test_an_offer_that_nobody_ever_bought_is_scored_last() -> None:
    past, now = history(), T0 + 101 * DAY
    at_work = NextOrder()
    names = [f"p{number:02d}" for number in range(30)]
    at_work.number(names)
    at_work.set_popularity(past.product, past.at, now)
    scores = at_work.scores(None, listed(["brand new", *names]), now)
    assert np.argmin(scores) == 0
    assert len(at_work) == 31


SETTINGS = "[decide]\ncandidates = 20\n"


def large_shop(folder: Path, purposes: str) -> Workspace:
    """Thirty offers where 20 are too many, and the history of their sales."""
    past = history()
    lines = ["order,product,count,price,at,customer"]
    instants = past.at.astype("datetime64[us]")
    lines += [
        f"{number},p{product:02d},1,9.90,{at},c{person}"
        for number, product, at, person in zip(past.order, past.product, instants, past.person, strict=True)
    ]
    (folder / "orders.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "mapping.toml").write_text(
        '[source]\nname = "shop"\ncurrency = "EUR"\ntimezone = "UTC"\nlawful_basis = "contract"\n'
        f"purposes = [{purposes}]\n"
        '[columns]\norder_id = "order"\nproduct_id = "product"\nquantity = "count"\nunit_price = "price"\n'
        'occurred_at = "at"\nuser_id = "customer"\n[[kinds]]\nkind = "order"\n',
        encoding="utf-8",
    )
    vitrina.init(folder / "shop").close()
    (folder / "shop" / "vitrina.toml").write_text(SETTINGS, encoding="utf-8")
    workspace = vitrina.open(folder / "shop", clock=SimulatedClock(T0 + 101 * DAY), threaded=False)
    workspace.import_file(folder / "orders.csv", folder / "mapping.toml")
    workspace.catalogue.put_all([Offer(id=f"p{number:02d}", name=f"Product {number}") for number in range(30)])
    workspace.catalogue.put(
        Placement(id="home", slots=5, channel="", holdout=0.0, policy=PolicySettings(kind="uniform"))
    )
    return workspace


def test_a_large_catalogue_is_narrowed_to_what_a_person_may_want(tmp_path: Path) -> None:
    with large_shop(tmp_path, '"personalisation", "model_training"') as workspace:
        asked = DecideRequest(placement="home", user_id="c3")
        before = workspace.explain(workspace.decide(asked).decision_id)
        workspace.step()
        after = workspace.explain(workspace.decide(asked).decision_id)
        unlearned = workspace.explain(workspace.decide(DecideRequest(placement="home", user_id="nobody")).decision_id)
        person = workspace.profiles.find("c3", None)
        assert person is not None
        grant = ask(person, Purpose.PERSONALISATION, workspace.clock.now())
        assert isinstance(grant, Grant)
        bought = workspace.purchases.read(person.personal(grant).features)
    assert bought is not None
    assert [len(each.candidates) for each in (before, after, unlearned)] == [30, 20, 20]
    assert {each.reason.code for each in after.refused} == {"candidates.outside"}
    wanted = {each.offer_id for each in after.candidates}
    assert set(bought.frequency) <= wanted
    assert {each.offer_id for each in unlearned.candidates} != wanted


def test_models_are_fitted_on_people_who_allow_it(tmp_path: Path) -> None:
    with large_shop(tmp_path, '"personalisation"') as workspace:
        orders = read_orders(workspace.engine)
        kept = allowed(orders, lambda name: name == "c3")
        assert set(kept.person) == {orders.people.index("c3")}
        made: list[NextOrder | None] = []
        for answer in (False, True):
            taken = threading.Event()

            def take(fresh: NextOrder | None, taken: threading.Event = taken) -> None:
                made.append(fresh)
                taken.set()

            refresher = Refresher(
                lambda: Engine(workspace.lake, workspace._streams, threads=1),
                wanted=lambda: True,
                take=take,
                may_train=lambda _, answer=answer: answer,
                memory=workspace.purchases,
                clock=workspace.clock,
            )
            refresher.start()
            assert taken.wait(60), refresher.fault
            refresher.stop()
    without, whole = made
    assert without is not None
    assert whole is not None
    assert (len(without), without.model.products) == (len(orders.products), 0), "popularity needs no such permission"
    assert whole.model.products == len(orders.products)


def test_a_catalogue_that_shrinks_needs_no_recommender_any_more(tmp_path: Path) -> None:
    with large_shop(tmp_path, '"personalisation", "model_training"') as workspace:
        workspace.step()
        for number in range(15):
            workspace.catalogue.delete("offer", f"p{number:02d}")
        workspace.step()
        explained = workspace.explain(workspace.decide(DecideRequest(placement="home", user_id="c3")).decision_id)
    assert len(explained.candidates) == 15
