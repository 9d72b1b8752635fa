"""Online = batch, whatever the order, the repetitions and the leaves; and nobody sees the future."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.understand.shop_events import SPAN, START, Duck, events, identity_table, lake
from vitrina.core.clock import DAY, MINUTE
from vitrina.core.event import ORDER, VIEW, Event, Product
from vitrina.core.predicate import AnyOf, Compare, InList, Missing, Not
from vitrina.understand.features import (
    Count,
    DaysSince,
    Decayed,
    Distinct,
    Events,
    Feature,
    FeatureSet,
    Last,
    Ratio,
    Sessions,
    Sum,
    TopDecayed,
)
from vitrina.understand.features.batch import batch
from vitrina.understand.features.commerce import FEATURES, NUMBER

STARTER = FeatureSet(FEATURES, NUMBER)

_dear = Events("dear", names=(ORDER,), where=AnyOf((Compare("revenue", ">", 100.5), Missing("properties.discount"))))
_odd = Events("odd", where=Not(InList("category", ("tea", "чай"))))
_paged = Events("paged", names=(VIEW,), types=("page", "identify"))
_all = Events("all")
OTHER = FeatureSet(
    [
        Feature(name, expression, name, name)
        for name, expression in {
            "dear_45d": Count(_dear, 45),
            "dear_value": Sum(_dear, "value"),
            "dear_revenue_9d": Sum(_dear, "revenue", 9),
            "dear_last": Last(_dear, "category"),
            "dear_decayed": Decayed(_dear, 3),
            "dear_mean_60d": Ratio(Sum(_dear, "revenue", 60), Count(_dear, 60)),
            "odd_all": Count(_odd),
            "odd_first": DaysSince(_odd, "first"),
            "odd_top": TopDecayed(_odd, "product_id", 2, limit=2),
            "paged_sessions": Sessions(_paged, 20, gap=15 * MINUTE),
            "paged_last": Last(_paged, "product_id"),
            "paged_days": DaysSince(_paged),
            "lines_10d": Distinct(_all, "products.product_id", 10, limit=2),
            "categories_50d": Distinct(_all, "category", 50, limit=3),
            "categories_5d": Distinct(_all, "category", 5, limit=2),
            "all_decayed": Decayed(_all, 5),
        }.items()
    ],
    7,
)

quick = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def duck() -> Duck:
    return Duck()


def online(feature_set: FeatureSet, happened: list[Event], moment: int) -> dict[str, dict[str, Any]]:
    """Values by subject, folded in the given order from what was available."""
    states: dict[str, dict[str, Any]] = {}
    for event in happened:
        if event.available_at < moment:
            feature_set.fold(states.setdefault(event.subject, {}), event)
    return {subject: feature_set.values(state, moment) for subject, state in states.items()}


def moments_near(happened: list[Event]) -> st.SearchStrategy[int]:
    instants = [event.available_at + shift for event in happened for shift in (0, 1)] or [START]
    midnights = [START + n * DAY + shift for n in (30, 90, SPAN) for shift in (-1, 0, 1)]
    return st.one_of(
        st.sampled_from(instants), st.sampled_from(midnights), st.integers(START, START + (SPAN + 60) * DAY)
    )


@pytest.mark.parametrize("feature_set", [STARTER, OTHER], ids=["starter", "other"])
@quick
@given(data=st.data())
def test_the_fold_says_what_the_batch_says_at_any_moment(duck: Duck, feature_set: FeatureSet, data: Any) -> None:
    happened = data.draw(events(subjects=("u:1", "u:2", "a:x")))
    moment = data.draw(moments_near(happened))
    table = duck.table("events", lake(happened))
    assert duck.rows(batch(feature_set, table, moment)) == online(feature_set, happened, moment)


@pytest.mark.parametrize("feature_set", [STARTER, OTHER], ids=["starter", "other"])
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_the_order_of_events_and_repeats_with_the_same_id_change_nothing(feature_set: FeatureSet, data: Any) -> None:
    happened = data.draw(events())
    moment = data.draw(moments_near(happened))
    again = happened + data.draw(st.lists(st.sampled_from(happened), max_size=10) if happened else st.just([]))
    shuffled = data.draw(st.permutations(again))
    once = list({event.message_id: event for event in shuffled}.values())  # what the unique index upstream lets through
    assert online(feature_set, once, moment) == online(feature_set, happened, moment)


@pytest.mark.parametrize("feature_set", [STARTER, OTHER], ids=["starter", "other"])
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_leaves_merged_are_one_leaf(feature_set: FeatureSet, data: Any) -> None:
    happened = data.draw(events())
    owners = data.draw(st.lists(st.integers(0, 3), min_size=len(happened), max_size=len(happened)))
    whole: dict[str, Any] = {}
    leaves: list[dict[str, Any]] = [{} for _ in range(4)]
    for event, owner in zip(happened, owners, strict=True):
        feature_set.fold(whole, event)
        feature_set.fold(leaves[owner], event)
    before = msgspec.json.encode(leaves)
    merged = feature_set.merge(leaves)
    moment = max((event.available_at for event in happened), default=START) + data.draw(st.integers(1, 50 * DAY))
    assert feature_set.values(merged, moment) == feature_set.values(whole, moment)
    assert msgspec.json.encode(leaves) == before
    later = Event(
        message_id="later", type="track", name=VIEW, occurred_at=moment, received_at=moment, available_at=moment
    )
    if sum(bool(leaf) for leaf in leaves) > 1:
        feature_set.fold(merged, later)
        feature_set.fold(whole, later)
        assert feature_set.values(merged, moment + 1) == feature_set.values(whole, moment + 1)


@quick
@given(data=st.data())
def test_a_batch_over_merged_people_is_the_fold_of_their_merged_leaves(duck: Duck, data: Any) -> None:
    subjects = ("u:1", "a:x", "a:y", "u:2")
    happened = data.draw(events(subjects=subjects))
    people = {"u:1": "anna", "a:x": "anna", "a:y": "boris"}
    moment = data.draw(moments_near(happened))
    states: dict[str, dict[str, Any]] = {}
    for event in happened:
        if event.available_at < moment:
            STARTER.fold(states.setdefault(event.subject, {}), event)
    expected = {
        person: STARTER.values(
            STARTER.merge([states[s] for s in subjects if s in states and people.get(s, s) == person]), moment
        )
        for person in {people.get(subject, subject) for subject in states}
    }
    table = batch(STARTER, duck.table("events", lake(happened)), moment, duck.table("identity", identity_table(people)))
    assert duck.rows(table) == expected


@quick
@given(data=st.data())
def test_a_poisoned_future_changes_nothing_by_a_bit(duck: Duck, data: Any) -> None:
    happened = data.draw(events(subjects=("u:1", "u:2")))
    moment = data.draw(moments_near(happened))
    known = [event for event in happened if event.available_at < moment]
    poison = [
        msgspec.structs.replace(
            event, message_id=f"poison {i}", available_at=max(event.available_at, moment) + shift, trusted=True
        )
        for i, (event, shift) in enumerate(
            zip(data.draw(events(subjects=("u:1", "u:2"), most=12)), [0, 1, DAY] * 20, strict=False)
        )
    ]
    mixed = known + poison
    random.Random(1).shuffle(mixed)
    clean = duck.rows(batch(STARTER, duck.table("events", lake(known)), moment))
    poisoned = duck.rows(batch(STARTER, duck.table("events", lake(mixed)), moment))
    assert repr(sorted(poisoned.items())) == repr(sorted(clean.items()))


def test_one_microsecond_decides(duck: Duck) -> None:
    at = START + 50 * DAY
    line = Product("p1", 1, 10_000, 100)
    order = Event(
        message_id="o",
        type="track",
        name=ORDER,
        user_id="1",
        occurred_at=at - DAY,
        received_at=at,
        available_at=at,
        trusted=True,
        revenue=500,
        products=(line,),
    )
    table = duck.table("events", lake([order]))
    assert duck.rows(batch(STARTER, table, at)) == {}
    assert duck.rows(batch(STARTER, table, at + 1))["u:1"]["revenue_90d"] == 500
    state: dict[str, Any] = {}
    STARTER.fold(state, order)
    edge = (at // DAY - 1 + 30) * DAY  # midnight at which the order's day leaves a window of 30 days
    for moment, orders in ((edge - 1, 1), (edge, 0)):
        assert STARTER.values(state, moment)["orders_30d"] == orders
        assert duck.rows(batch(STARTER, table, moment))["u:1"]["orders_30d"] == orders


def test_the_engine_returns_the_declared_types(duck: Duck) -> None:
    kinds = {Ratio: "double", Decayed: "double", Last: "string", TopDecayed: "string"}
    expected = {f.name: kinds.get(type(f.expression), "int64") for f in STARTER.features}
    order = Event(
        message_id="o", type="track", name=ORDER, user_id="1", occurred_at=START, received_at=START, available_at=START
    )
    got = duck.types(batch(STARTER, duck.table("events", lake([order])), START + 1))
    assert {name: kind.replace("large_", "").replace("_view", "") for name, kind in got.items()} == {
        "profile_id": "string", **expected
    }  # fmt: skip


def test_a_robot_neither_fills_the_memory_nor_parts_fold_from_batch(duck: Duck) -> None:
    rng = random.Random(7)
    walk = [
        Event(
            message_id=str(i),
            type="track",
            name=VIEW,
            user_id="1",
            occurred_at=START + t,
            received_at=START + t,
            available_at=START + t,
            product_id=f"p{rng.randrange(4_000)}",
            category=f"c{rng.randrange(900)}",
        )
        for i, t in enumerate(rng.randrange(70 * DAY) for _ in range(9_000))
    ]
    state: dict[str, Any] = {}
    for event in walk:
        STARTER.fold(state, event)
    assert len(state["views.product_id.days"]) <= 2_001
    assert len(state["views.category.counts"]) <= 403
    table = duck.table("events", lake(walk))
    for days in (70, 75, 110, 125, 127):
        moment = START + days * DAY
        assert duck.rows(batch(STARTER, table, moment))["u:1"] == STARTER.values(state, moment)
