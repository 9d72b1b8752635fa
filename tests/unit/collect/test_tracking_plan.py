"""The tracking plan: built-in schemas, versions, plan files."""

from __future__ import annotations

from pathlib import Path

import pytest

from vitrina.collect.tracking_plan import BUILT_IN, EventSchema, Plan, Property, load_plan
from vitrina.core.errors import UserError


def test_built_in_events_have_words_for_everything() -> None:
    names = [schema.event for schema in BUILT_IN]
    assert len(set(names)) == len(names) == 34
    assert {"Product Viewed", "Order Completed", "Order Refunded", "Promotion Clicked", "Unsubscribed"} <= set(names)
    for schema in BUILT_IN:
        assert schema.description
        assert all(field.description for field in schema.properties)
        assert len({field.name for field in schema.properties}) == len(schema.properties)


def test_each_version_is_checked_by_its_own_schema() -> None:
    plan = Plan([EventSchema("E", (Property("a", "text"),)), EventSchema("E", (Property("a", "integer"),), version=2)])
    assert plan.versions("E") == [1, 2]
    assert plan.check("E", {"a": "x"}, 1) is None
    assert plan.check("E", {"a": 1}) is None
    problem = plan.check("E", {"a": "x"})
    assert problem is not None
    assert (problem.path, problem.expected, problem.found) == ("a", "a whole number", "'x'")
    assert plan.check("E", {}, 3) is not None
    assert plan.check("Other", {"a": []}, 9) is None


def test_the_same_version_twice_is_an_error() -> None:
    with pytest.raises(UserError, match="twice"):
        Plan([EventSchema("E", ()), EventSchema("E", ())])


def test_a_plan_file_adds_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        '[[event]]\nname = "Lesson Booked"\n[event.properties]\nseats = "integer"\n'
        '[[event]]\nname = "Product Viewed"\nversion = 2\n[event.properties]\nprice = "text"\n'
    )
    plan = load_plan(path)
    assert plan.check("Lesson Booked", {"seats": "two"}) is not None
    assert plan.check("Product Viewed", {"price": "dear"}) is None
    assert plan.check("Product Viewed", {"price": "dear"}, 1) is not None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[event]\n", "can't be read"),
        ("[[event]]\nversion = 1\n", "name"),
        ('[[event]]\nname = "E"\n[event.properties]\na = "txt"\n', "no kind 'txt'"),
        ('[[event]]\nname = "E"\nproperty = 1\n', "property"),
    ],
)
def test_a_bad_plan_file_says_where(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        load_plan(path)
    assert "plan.toml" in caught.value.where
