"""A rule means the same as a closure and as SQL, on random rules and random people."""

from __future__ import annotations

import json
import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.understand.shop_events import Duck
from vitrina.core.errors import UserError
from vitrina.core.predicate import AllOf, AnyOf, Compare, InList, Missing, Not, Predicate
from vitrina.understand.audiences import compile_closure, parse, to_wire
from vitrina.understand.audiences.expression import column_resolver, compile_expression

BIG = 2**53
whole = st.one_of(st.integers(-3, 3), st.sampled_from([BIG, BIG - 1, -BIG]))
broken = st.one_of(st.sampled_from([-1.5, -0.0, 0.0, 0.5, 1.0, 2.5, 3.0, float(BIG), 1e-300]), st.floats(-4, 4))
text = st.sampled_from(["", "a", "A", "б", "Б", "1", "true", "null", "\U0001f375", "ab"])
scalar = st.one_of(whole, broken, text, st.booleans())
FIELDS = ("orders", "share", "city", "known", "trait.city", "trait.age", "trait.vip", "trait.never")

rules = st.recursive(
    st.one_of(
        st.builds(Compare, st.sampled_from(FIELDS), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), scalar),
        st.builds(InList, st.sampled_from(FIELDS), st.lists(scalar, max_size=5).map(tuple)),
        st.builds(Missing, st.sampled_from(FIELDS)),
    ),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(AllOf, st.lists(inner, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)
traits = st.dictionaries(
    st.sampled_from(["city", "age", "vip"]),
    st.one_of(scalar, st.none(), st.just([1]), st.just({"a": "b"})),
)
people = st.fixed_dictionaries(
    {
        "orders": st.one_of(st.none(), whole, st.just(2**62)),
        "share": st.one_of(st.none(), broken, st.just(math.nan)),
        "city": st.one_of(st.none(), text),
        "known": st.one_of(st.none(), st.booleans()),
        "traits": traits,
    }
)
SCHEMA = pa.schema(
    [
        ("profile_id", pa.string()), ("orders", pa.int64()), ("share", pa.float64()), ("city", pa.string()),
        ("known", pa.bool_()), ("traits", pa.string()),
    ]
)  # fmt: skip


@pytest.fixture(scope="module")
def duck() -> Duck:
    return Duck()


def values(person: dict[str, Any]) -> dict[str, Any]:
    return {**person, **{f"trait.{name}": value for name, value in person["traits"].items()}}


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(trees=st.lists(rules, min_size=12, max_size=12), shop=st.lists(people, min_size=1, max_size=15))
def test_closure_and_sql_agree(duck: Duck, trees: list[Predicate], shop: list[dict[str, Any]]) -> None:
    rows = [{**p, "profile_id": str(i), "traits": json.dumps(p["traits"])} for i, p in enumerate(shop)]
    table = duck.table("people", pa.Table.from_pylist(rows, schema=SCHEMA))
    resolve = column_resolver(table, trait="traits")
    columns = {f"rule{n}": compile_expression(tree, resolve) for n, tree in enumerate(trees)}
    found = duck.rows(table.select("profile_id", **columns))
    for n, tree in enumerate(trees):
        test = compile_closure(tree)
        assert [found[str(i)][f"rule{n}"] for i in range(len(shop))] == [test(values(p)) for p in shop], tree


@settings(max_examples=100, deadline=None)
@given(tree=rules)
def test_the_wire_form_comes_back_the_same(tree: Predicate) -> None:
    try:
        read = parse(json.loads(json.dumps(to_wire(tree))))
    except UserError as error:
        assert "have no order" in error.message  # noqa: PT017
    else:
        assert repr(read) == repr(tree)


@pytest.mark.parametrize(
    ("rule", "person", "expected"),
    [
        (Compare("orders", "!=", 5), {}, False),
        (Not(Compare("orders", "==", 5)), {}, True),
        (Compare("orders", "==", True), {"orders": 1}, False),
        (Compare("known", "==", 1), {"known": True}, False),
        (InList("orders", (True, "1")), {"orders": 1}, False),
        (InList("known", (1, 0)), {"known": True}, False),
        (InList("orders", (1.0,)), {"orders": 1}, True),
        (Compare("share", "!=", 1), {"share": math.nan}, False),
        (Missing("share"), {"share": math.nan}, True),
        (Missing("city"), {"city": ""}, False),
        (AllOf(()), {}, True),
        (AnyOf(()), {}, False),
        (Compare("orders", ">", 1.5), {"orders": 2}, True),
        (Compare("trait.tags", "==", "a"), {"trait.tags": ["a"]}, False),
    ],
)
def test_two_valued_meaning(rule: Predicate, person: dict[str, Any], expected: bool) -> None:
    assert compile_closure(rule)(person) is expected


def test_a_column_that_is_not_there_is_named(duck: Duck) -> None:
    table = duck.table("people", SCHEMA.empty_table())
    with pytest.raises(UserError, match="no field ordres"):
        compile_expression(Compare("ordres", ">", 1), column_resolver(table))
    with pytest.raises(UserError, match="can't be used"):
        compile_expression(Missing("trait.a.b"), column_resolver(table, trait="traits"))
