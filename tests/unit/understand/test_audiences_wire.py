"""Rules as JSON and in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vitrina.core.errors import UserError
from vitrina.core.predicate import AllOf, AnyOf, Compare, InList, Missing, Not, Predicate
from vitrina.understand.audiences import describe, fields_of, parse
from vitrina.understand.audiences.words import LOCALES
from vitrina.understand.features.commerce import FEATURES, feature_words

NAMES = [feature.name for feature in FEATURES]


def test_the_documented_forms_are_read() -> None:
    rule = json.loads(
        '{"all": [{"field": "orders_90d", "op": ">=", "value": 2}, {"not": {"field": "trait.city", "op": "missing"}},'
        ' {"any": [{"field": "context.device", "op": "in", "value": ["mobile", "tablet"]}]}]}'
    )
    assert parse(rule, fields=NAMES) == AllOf(
        (
            Compare("orders_90d", ">=", 2),
            Not(Missing("trait.city")),
            AnyOf((InList("context.device", ("mobile", "tablet")),)),
        )
    )
    assert fields_of(parse(rule)) == {"orders_90d", "trait.city", "context.device"}


@pytest.mark.parametrize(
    ("rule", "where", "message", "cure"),
    [
        (5, "rule", "this is a number", '"op"'),
        (None, "rule", "this is null", '"op"'),
        ({}, "rule", "none of all, any, not and field", "Write one of them"),
        ({"all": [], "any": []}, "rule", "exclude one another", "Write one of them"),
        ({"all": {}}, "rule.all", "list of rules is needed, this is an object", "[ … ]"),
        ({"all": [{"any": [3]}]}, "rule.all[0].any[0]", "this is a number", '"op"'),
        ({"not": [1]}, "rule.not", "this is a list", '"op"'),
        ({"not": {"field": "orders_90d", "op": "missing"}, "value": 1}, "rule.value", "no meaning", "Leave it out"),
        (
            {"field": "orders_90", "op": ">", "value": 1},
            "rule.field",
            "no feature orders_90",
            "Did you mean orders_90d?",
        ),
        ({"field": "nonsense?!", "op": ">", "value": 1}, "rule.field", "no feature", "trait.NAME"),
        ({"field": "trait.", "op": "missing"}, "rule.field", "names no trait", "trait.NAME"),
        ({"field": 3, "op": "missing"}, "rule.field", "this is a number", "trait.city"),
        ({"field": "orders_90d", "value": 1}, "rule.op", "op is not here", ">="),
        ({"field": "orders_90d", "op": "=", "value": 1}, "rule.op", "'=' is no comparison", "Use one of =="),
        ({"field": "orders_90d", "op": "mising"}, "rule.op", "is no comparison", "Did you mean missing?"),
        ({"field": "orders_90d", "op": ">"}, "rule.value", "value is not here", "Say what"),
        ({"field": "orders_90d", "op": ">", "value": None}, "rule.value", "null can't be compared", "op missing"),
        ({"field": "orders_90d", "op": ">", "value": [1]}, "rule.value", "a list can't be compared", "a text"),
        ({"field": "orders_90d", "op": ">", "value": float("nan")}, "rule.value", "not finite", "smaller"),
        ({"field": "orders_90d", "op": ">", "value": 2**53 + 1}, "rule.value", "beyond 2^53", "smaller"),
        ({"field": "orders_90d", "op": ">", "value": True}, "rule.value", "no order", "Use == or !="),
        ({"field": "orders_90d", "op": "in", "value": 3}, "rule.value", "in needs a list", '["a", "b"]'),
        ({"field": "orders_90d", "op": "in", "value": [1, {}]}, "rule.value[1]", "an object can't", "a text"),
        ({"field": "orders_90d", "op": "missing", "value": 1}, "rule.value", "no meaning", "Leave it out"),
        ({"field": "trait.a", "op": "==", "value": "x" * 1_001}, "rule.value", "longer than", "Shorten"),
    ],
)
def test_an_error_names_place_cause_and_cure(rule: Any, where: str, message: str, cure: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(rule, fields=NAMES)
    assert (caught.value.where, message in caught.value.message, cure in caught.value.cure) == (where, True, True), str(
        caught.value
    )


def test_a_bottomless_or_endless_rule_is_refused() -> None:
    deep: Any = {"field": "orders_90d", "op": "missing"}
    for _ in range(40):
        deep = {"not": deep}
    with pytest.raises(UserError, match="32 levels"):
        parse(deep)
    with pytest.raises(UserError, match="1000 rules"):
        parse({"any": [{"field": "a", "op": "missing"}] * 1_001})


RULES: list[tuple[Predicate, str, str]] = [
    (Compare("orders_90d", ">=", 2), "orders in 90 days is at least 2", "заказов за 90 дней — не меньше 2"),
    (
        Not(AnyOf((Compare("trait.vip", "==", True), Missing("trait.city")))),
        "it is not so that (trait “vip” is yes or trait “city” is not known)",
        "неверно, что (свойство «vip» — да или свойство «city»: неизвестно)",
    ),
    (
        InList("context.device", ("mobile", 1234.5)),
        "page’s “device” is one of “mobile”, 1,234.5",
        "«device» страницы — одно из: «mobile», 1\u00a0234,5",
    ),
    (AllOf(()), "everyone", "все"),
    (AnyOf(()), "nobody", "никто"),
    (
        AllOf((Compare("revenue_90d", "<", 100_000),)),
        "revenue in 90 days is less than 100,000",
        "выручка за 90 дней — меньше 100\u00a0000",
    ),
]


@pytest.mark.parametrize(("rule", "english", "russian"), RULES)
def test_words(rule: Predicate, english: str, russian: str) -> None:
    assert describe(rule, "en", feature_words("en")) == english
    assert describe(rule, "ru", feature_words("ru")) == russian


def test_both_languages_say_every_operator_and_feature() -> None:
    for locale in LOCALES:
        words = feature_words(locale)
        assert set(words) == set(NAMES)
        assert len(set(words.values())) == len(NAMES)
        for op in ("==", "!=", "<", "<=", ">", ">="):
            assert describe(Compare("views_7d", op, 1), locale, words)
    with pytest.raises(UserError, match="no words in de"):
        describe(Missing("a"), "de")
