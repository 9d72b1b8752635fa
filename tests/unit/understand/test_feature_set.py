"""The list of features, its version, and the vector."""

from __future__ import annotations

import math
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from vitrina.core.clock import DAY, HOUR
from vitrina.core.errors import UserError
from vitrina.core.event import ORDER, VIEW, Event, Product
from vitrina.core.predicate import Compare
from vitrina.understand.features import Count, Distinct, Events, Feature, FeatureSet, Vectoriser
from vitrina.understand.features.commerce import FEATURES, NUMBER
from vitrina.understand.features.vector import COMMERCE_COLUMNS, VECTOR_NUMBER, Choice, Clock, Hashed, Number, height

DAY0 = 20_000 * DAY


def order(message_id: str, at: int, **more: Any) -> Event:
    given = {"trusted": True, "user_id": "1", "revenue": 1_000, **more}
    return Event(
        message_id=message_id, type="track", name=ORDER, occurred_at=at, received_at=at, available_at=at, **given
    )


def digest(thing: object) -> str:
    return blake2b(msgspec.json.encode(thing), digest_size=8).hexdigest()


def test_a_changed_definition_needs_a_new_number() -> None:
    definitions = [(feature.name, feature.expression) for feature in FEATURES]
    assert (NUMBER, digest(definitions)) == (1, "6bd9f7dd2a4c54dc")
    assert (VECTOR_NUMBER, digest(COMMERCE_COLUMNS)) == (1, "70d3e37294f9a39d")


def test_money_and_orders_count_only_from_trusted_sources() -> None:
    feature_set, state = FeatureSet(FEATURES, NUMBER), {}
    feature_set.fold(state, order("a", DAY0, trusted=False, products=(Product("p", 1, 1, 1),)))
    values = feature_set.values(state, DAY0 + 1)
    assert (values["orders_all"], values["revenue_90d"], values["products_bought_365d"]) == (0, 0, 0)
    feature_set.fold(state, order("b", DAY0, properties={"discount": 1}))
    values = feature_set.values(state, DAY0 + 1)
    assert (values["orders_all"], values["revenue_90d"], values["discount_share"]) == (1, 1_000, 1.0)


def test_what_a_person_bought_and_when() -> None:
    feature_set, state = FeatureSet(FEATURES, NUMBER), {}
    lines = (Product("tea", 1, 1, 1), Product("gift", 1, 0, 0, "stock_move"))
    feature_set.fold(state, order("a", DAY0, products=lines))
    feature_set.fold(state, order("b", DAY0 + 9 * DAY, products=(Product("cup", 1, 1, 1),)))
    bought = feature_set.last_days(state, "products_bought_365d", DAY0 + 10 * DAY)
    assert bought == {"tea": 20_000, "cup": 20_009}
    assert feature_set.last_days(state, "products_bought_365d", DAY0 + 365 * DAY) == {"cup": 20_009}
    with pytest.raises(UserError, match="orders_30d does not count"):
        feature_set.last_days(state, "orders_30d", DAY0)


def test_what_many_people_saw_is_in_memory_once() -> None:
    feature_set = FeatureSet(FEATURES, NUMBER)
    states: list[dict[str, Any]] = [{}, {}]
    for number, state in enumerate(states):
        for day in (3, 1):
            at = DAY0 + day * DAY
            text = b"tea".decode()  # a new object each time, as it comes out of a request
            view = Event(message_id=f"{number}{day}", type="track", name=VIEW, occurred_at=at, received_at=at,
                         available_at=at, product_id=text, category=text)  # fmt: skip
            feature_set.fold(state, view)
    assert [state["views.product_id.days"] for state in states] == [{"tea": 20_003}] * 2
    assert [state["views.category.counts"] for state in states] == [{"tea": [20_001, 1, 20_003, 1]}] * 2
    texts = [
        text for state in states for key in (".product_id.days", ".category.counts") for text in state["views" + key]
    ]
    assert len({id(text) for text in texts}) == 1
    merged = feature_set.merge(states)
    assert merged["views.product_id.days"] == {"tea": 20_003}


def test_a_state_survives_json_and_messagepack() -> None:
    feature_set, state = FeatureSet(FEATURES, NUMBER), {}
    for i in range(50):
        at = DAY0 + i * 7 * HOUR
        feature_set.fold(state, order(f"o{i}", at, products=(Product(f"p{i % 7}", 1, 1, 1),)))
        view = Event(message_id=f"v{i}", type="track", name=VIEW, occurred_at=at, received_at=at, available_at=at)
        feature_set.fold(state, msgspec.structs.replace(view, product_id=f"p{i}", category=f"c{i % 3}"))
    for codec in (msgspec.json, msgspec.msgpack):
        assert codec.decode(codec.encode(state)) == state


def test_a_state_of_another_number_is_stale_and_counts_as_empty() -> None:
    old, new = FeatureSet(FEATURES, 1), FeatureSet(FEATURES, 2)
    state: dict[str, Any] = {}
    assert not old.stale(state)
    old.fold(state, order("a", DAY0))
    assert (old.stale(state), new.stale(state)) == (False, True)
    assert new.values(new.merge([state, {}]), DAY0 + 1)["orders_all"] == 0


def test_mistakes_in_a_set_are_named() -> None:
    one, other = Events("orders", names=(ORDER,)), Events("orders", names=(VIEW,))
    with pytest.raises(UserError, match="two features are called a"):
        FeatureSet([Feature("a", Count(one), "a", "a"), Feature("a", Count(one, 3), "a", "a")], 1)
    with pytest.raises(UserError, match="share the key orders"):
        FeatureSet([Feature("a", Count(one), "a", "a"), Feature("b", Count(other), "b", "b")], 1)
    with pytest.raises(UserError, match="no field colour"):
        FeatureSet([Feature("a", Distinct(one, "colour", 3), "a", "a")], 1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="no field shade"):
        FeatureSet([Feature("a", Count(Events("x", where=Compare("shade", "==", 1))), "a", "a")], 1)


def test_the_vector_has_stated_entries() -> None:
    columns = (
        Number("orders_30d", 1.0, 2.0), Number("money", 0.0, 1.0, log=True, indicator=True), Hashed("top_category", 4),
        Choice("context.device", ("mobile", "desktop")), Number("trait.age", 40.0, 10.0), Clock(),
    )  # fmt: skip
    vectoriser = Vectoriser(columns, 3)
    assert vectoriser.size == len(vectoriser.names) == len(set(vectoriser.names)) == 2 + 1 + 2 + 4 + 2 + 1 + 4
    noon = 20_004 * DAY + 12 * HOUR  # Tuesday, 2024-10-08
    x = vectoriser.vector(
        {"orders_30d": 4, "money": None, "top_category": "чай"}, {"device": "Mobile"}, noon, {"age": 1000}
    )
    named = dict(zip(vectoriser.names, x.tolist(), strict=True))
    assert x.dtype == np.float32
    assert (named["constant"], named["personal"], named["orders_30d"]) == (1, 1, 1.5)
    assert (named["money"], named["money missing"], named["trait.age"]) == (0, 1, 3)
    assert sum(named[f"top_category#{i}"] for i in range(4)) == pytest.approx(height(4))
    assert (named["context.device=mobile"], named["context.device=desktop"]) == (2, 0)
    assert named["hour cosine"] == -1
    assert named["weekday sine"] == pytest.approx(math.sin(2 * math.pi / 7))


def test_without_its_personal_entries_a_vector_is_that_of_nobody() -> None:
    vectoriser = Vectoriser()
    values = dict.fromkeys([*(feature.name for feature in FEATURES), "top_category"], 3)
    for known in (values, {**values, "top_category": "tea", "average_order": None}, {}):
        x = vectoriser.vector(known, {"device": "mobile"}, 1_700_000_000_000_000)
        assert x[list(vectoriser.personal)].any()
        x[list(vectoriser.personal)] = 0.0
        np.testing.assert_array_equal(x, vectoriser.empty({"device": "mobile"}, 1_700_000_000_000_000))


def test_the_empty_vector_holds_nothing_personal() -> None:
    vectoriser = Vectoriser()
    x = vectoriser.empty({"device": "tablet"}, DAY0 + HOUR)
    named = dict(zip(vectoriser.names, x.tolist(), strict=True))
    kept = {name for name, value in named.items() if value}
    assert kept <= {"constant", "context.device=tablet", "hour sine", "hour cosine", "weekday sine", "weekday cosine"}
    full = vectoriser.vector(FeatureSet(FEATURES, NUMBER).values({}, DAY0), {"device": "tablet"}, DAY0 + HOUR)
    assert full.shape == x.shape == (vectoriser.size,)
    assert np.all(np.abs(full) <= 3)
    assert np.all(np.isfinite(full))


@pytest.mark.parametrize("language", ["", ".ru"])
def test_the_reference_has_every_feature(root: Path, language: str) -> None:
    text = (root / f"docs/reference/features{language}.md").read_text(encoding="utf-8")
    for feature in FEATURES:
        assert f"| `{feature.name}` | {feature.russian if language else feature.english} |" in text
