"""A predicate as a Python function: the form that eligibility uses at decision time."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from vitrina.core.predicate import AllOf, AnyOf, Compare, InList, Missing, Not, Predicate, Scalar

__all__ = ["compile_closure", "compile_reader"]

S = TypeVar("S")
Getter = Callable[[S], Any]
Test = Callable[[S], bool]

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def compile_closure(predicate: Predicate) -> Callable[[Mapping[str, object]], bool]:
    """A function that says whether a dictionary of values fulfils the rule.

    A field that is not in the dictionary, None, or not a number (NaN) is missing. Text, numbers and truth values are
    three kinds; a comparison across kinds is false.

    >>> test = compile_closure(Compare("orders_90d", ">=", 2))
    >>> test({"orders_90d": 2}), test({}), test({"orders_90d": "2"})
    (True, False, False)
    """
    return compile_reader(predicate, _from_mapping)


def compile_reader(predicate: Predicate, reader: Callable[[str], Getter[S]]) -> Test[S]:
    """The same over any subject: `reader(field)` gives the function that reads that field of it."""
    match predicate:
        case Compare():
            return _compare(reader(predicate.field), predicate.op, predicate.value)
        case InList():
            return _in_list(reader(predicate.field), predicate.values)
        case Missing():
            return _missing(reader(predicate.field))
        case Not():
            return _not(compile_reader(predicate.inner, reader))
        case AllOf():
            return _all(tuple(compile_reader(inner, reader) for inner in predicate.inner))
        case AnyOf():
            return _any(tuple(compile_reader(inner, reader) for inner in predicate.inner))


def _from_mapping(field: str) -> Getter[Mapping[str, object]]:
    return lambda values: values.get(field)


def _compare(get: Getter[S], op: str, constant: Scalar) -> Test[S]:
    holds = _OPERATORS[op]
    if isinstance(constant, (str, bool)):
        kind = type(constant)

        def same_kind(subject: S) -> bool:
            value = get(subject)
            return type(value) is kind and holds(value, constant)

        return same_kind

    def number(subject: S) -> bool:
        value = get(subject)
        kind = type(value)
        return (kind is int or (kind is float and value == value)) and holds(value, constant)

    return number


def _in_list(get: Getter[S], constants: tuple[Scalar, ...]) -> Test[S]:
    texts = frozenset(value for value in constants if isinstance(value, str))
    truths = frozenset(value for value in constants if isinstance(value, bool))
    numbers = frozenset(value for value in constants if isinstance(value, (int, float)) and not isinstance(value, bool))
    among = {str: texts, bool: truths, int: numbers, float: numbers}

    def test(subject: S) -> bool:
        value = get(subject)
        choices = among.get(type(value))
        return choices is not None and value in choices

    return test


def _missing(get: Getter[S]) -> Test[S]:
    def test(subject: S) -> bool:
        value = get(subject)
        return value is None or value != value

    return test


def _not(inner: Test[S]) -> Test[S]:
    return lambda subject: not inner(subject)


def _all(inner: tuple[Test[S], ...]) -> Test[S]:
    def test(subject: S) -> bool:
        for holds in inner:  # noqa: SIM110
            if not holds(subject):
                return False
        return True

    return test


def _any(inner: tuple[Test[S], ...]) -> Test[S]:
    def test(subject: S) -> bool:
        for holds in inner:  # noqa: SIM110
            if holds(subject):
                return True
        return False

    return test
