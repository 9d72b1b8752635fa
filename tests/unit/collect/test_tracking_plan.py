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


OWN = """
unknown_events = "observe"

[[event]]
name = "Урок забронирован"
mode = "quarantine"
closed = true
required = ["lesson_id"]
[event.properties]
lesson_id = "id"
seats = "integer"

[[event]]
name = "Урок забронирован"
version = 2
mode = "block"
[event.properties]
seats = "text"
"""


def own_plan(tmp_path: Path, text: str = OWN, mode: str = "block") -> Plan:
    path = tmp_path / "plan.toml"
    path.write_text(text, encoding="utf-8")
    return load_plan(path, mode)


@pytest.mark.parametrize(
    ("properties", "version", "code", "path"),
    [
        ({"lesson_id": "7", "seats": 2}, 1, None, None),
        ({"lesson_id": "7", "decisionId": "d", "offerId": "o"}, 1, None, None),
        ({"seats": 2}, 1, "plan.missing", "lesson_id"),
        ({"lesson_id": None}, 1, "plan.missing", "lesson_id"),
        ({}, 1, "plan.missing", "lesson_id"),
        ({"lesson_id": "7", "место": 2}, 1, "plan.unplanned", "место"),
        ({"lesson_id": "7", "seats": "две"}, 1, "plan.type", "seats"),
        ({"seats": "две", "что угодно": 1}, 2, None, None),
        ({}, 3, "plan.version", ""),
    ],
)
def test_a_shop_s_own_event_has_required_and_closed_properties(
    tmp_path: Path, properties: dict[str, object], version: int, code: str | None, path: str | None
) -> None:
    problem = own_plan(tmp_path).check("Урок забронирован", properties, version)
    assert (None if problem is None else (problem.code, problem.path)) == (None if code is None else (code, path))


def test_the_mode_is_the_event_s_else_the_plan_s(tmp_path: Path) -> None:
    plan = own_plan(tmp_path, mode="quarantine")
    assert plan.mode_of("Урок забронирован") == "block"  # of the latest version
    assert plan.mode_of("Урок забронирован", 1) == "quarantine"
    assert plan.mode_of("Product Viewed") == "quarantine"
    assert plan.mode_of("Никто не знает") == "observe"
    problem = plan.check("Никто не знает", {})
    assert problem is not None and problem.code == "plan.event"
    assert Plan().check("Никто не знает", {"a": 1}) is None and Plan().mode_of("Product Viewed") == "block"


@pytest.mark.parametrize(
    ("text", "words", "where"),
    [
        ('unknown_events = "drop"\n', "drop", "plan.toml"),
        ('[[event]]\nname = "E"\nmode = "refuse"\n', "refuse", "event[0]"),
        (
            '[[event]]\nname = "E"\nrequired = ["a"]\n',
            "'a' is required but not among the properties",
            "event[0].required",
        ),
        ('[[event]]\nname = "E"\n[[event]]\nname = "E"\n', "twice", "event[1]"),
        ('[[events]]\nname = "E"\n', "events", "plan.toml"),
        ('[[event]]\nname = ""\n', "length", "event[0]"),
    ],
)
def test_what_a_plan_can_not_say_is_told(tmp_path: Path, text: str, words: str, where: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        own_plan(tmp_path, text)
    assert where in caught.value.where and caught.value.cure
