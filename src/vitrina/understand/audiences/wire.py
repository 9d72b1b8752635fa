"""A predicate as JSON: read with errors that name the place, the cause and the cure; written back the same."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from vitrina.core.errors import UserError
from vitrina.core.predicate import AllOf, AnyOf, Compare, InList, Missing, Not, Predicate, Scalar

__all__ = ["COMPARISONS", "LARGEST_NUMBER", "fields_of", "parse", "to_wire"]

COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
LARGEST_NUMBER = 2**53
"""Beyond this a whole number has no exact float64, and languages would disagree about it."""

_DEPTH, _NODES, _TEXT = 32, 1_000, 1_000
_EXAMPLE = '{"field": "orders_90d", "op": ">=", "value": 2}'


def parse(rule: object, where: str = "rule", fields: Collection[str] | None = None) -> Predicate:
    """The predicate that a decoded JSON value describes (see `vitrina.core.predicate` for the form).

    Args:
        rule: what the JSON decoder gave.
        where: name of the place, with which every error's path begins.
        fields: names of features that exist; others are refused. `trait.…` and `context.…` are always allowed.
            None lets every name pass.

    Raises:
        UserError: the rule isn't one; `where` of the error is the path, such as `audience.all[1].op`.
    """
    return _Parser(fields).rule(rule, where, 1)


def to_wire(predicate: Predicate) -> dict[str, Any]:
    """The JSON form of a predicate: `parse(to_wire(p)) == p`."""
    match predicate:
        case Compare(field=field, op=op, value=value):
            return {"field": field, "op": op, "value": value}
        case InList(field=field, values=values):
            return {"field": field, "op": "in", "value": list(values)}
        case Missing(field=field):
            return {"field": field, "op": "missing"}
        case Not(inner=inner):
            return {"not": to_wire(inner)}
        case AllOf(inner=several):
            return {"all": [to_wire(inner) for inner in several]}
        case AnyOf(inner=several):
            return {"any": [to_wire(inner) for inner in several]}


def fields_of(predicate: Predicate) -> frozenset[str]:
    """Every field that a rule looks at."""
    match predicate:
        case Compare(field=field) | InList(field=field) | Missing(field=field):
            return frozenset((field,))
        case Not(inner=inner):
            return fields_of(inner)
        case AllOf(inner=several) | AnyOf(inner=several):
            return frozenset[str]().union(*(fields_of(inner) for inner in several))


class _Parser:
    """One reading: which fields exist, and how many rules have been met."""

    def __init__(self, fields: Collection[str] | None) -> None:
        self.fields = fields
        self.count = 0

    def rule(self, rule: object, where: str, depth: int) -> Predicate:
        """A rule of any form."""
        self.count += 1
        if depth > _DEPTH or self.count > _NODES:
            limit = f"{_DEPTH} levels" if depth > _DEPTH else f"{_NODES} rules"
            raise UserError(f"more than {limit}.", code="rule.size", where=where, cure="Make the rule smaller.")
        if not isinstance(rule, Mapping):
            raise UserError(
                f"a rule is an object, this is {_kind(rule)}.", code="rule.type", where=where, cure=f"Write {_EXAMPLE}."
            )
        body = cast("Mapping[str, object]", rule)
        forms = [form for form in ("all", "any", "not", "field") if form in body]
        if len(forms) != 1:
            cause = (
                "all, any, not and field exclude one another" if forms else "none of all, any, not and field is here"
            )
            raise UserError(
                f"{cause}.", code="rule.form", where=where, cure=f"Write one of them, for example {_EXAMPLE}."
            )
        form = forms[0]
        if form == "field":
            return self._test(body, where)
        _only(body, (form,), where)
        if form == "not":
            return Not(self.rule(body["not"], f"{where}.not", depth + 1))
        inner = self._several(body[form], f"{where}.{form}", depth)
        return AllOf(inner) if form == "all" else AnyOf(inner)

    def _several(self, rules: object, where: str, depth: int) -> tuple[Predicate, ...]:
        if not _is_list(rules):
            raise UserError(
                f"a list of rules is needed, this is {_kind(rules)}.",
                code="rule.type",
                where=where,
                cure="Write [ … ] around it.",
            )
        return tuple(
            self.rule(inner, f"{where}[{i}]", depth + 1) for i, inner in enumerate(cast("Sequence[object]", rules))
        )

    def _test(self, body: Mapping[str, object], where: str) -> Predicate:
        field = self._field(body["field"], f"{where}.field")
        op = body.get("op")
        if op == "missing":
            _only(body, ("field", "op"), where)
            return Missing(field)
        if op not in (*COMPARISONS, "in"):
            near = difflib.get_close_matches(str(op), ("missing", "in"), n=1)
            raise UserError(
                "op is not here." if op is None else f"{op!r} is no comparison.",
                code="rule.op",
                where=f"{where}.op",
                cure=f"Did you mean {near[0]}?" if near else f"Use one of {' '.join(COMPARISONS)} in missing.",
            )
        _only(body, ("field", "op", "value"), where)
        if "value" not in body:
            raise UserError(
                "value is not here.", code="rule.value", where=f"{where}.value", cure="Say what to compare with."
            )
        value = body["value"]
        if op == "in":
            if not _is_list(value):
                raise UserError(
                    f"in needs a list, this is {_kind(value)}.",
                    code="rule.value",
                    where=f"{where}.value",
                    cure='Write ["a", "b"].',
                )
            values = cast("Sequence[object]", value)
            return InList(field, tuple(_scalar(item, f"{where}.value[{i}]") for i, item in enumerate(values)))
        scalar = _scalar(value, f"{where}.value")
        if isinstance(scalar, bool) and op not in ("==", "!="):
            raise UserError(
                f"true and false have no order for {op}.",
                code="rule.value",
                where=f"{where}.value",
                cure="Use == or !=.",
            )
        return Compare(field, str(op), scalar)

    def _field(self, field: object, where: str) -> str:
        if not isinstance(field, str) or not field or len(field) > _TEXT:
            raise UserError(
                f"a field is named by a text, this is {_kind(field)}.",
                code="rule.field",
                where=where,
                cure='Write "orders_90d" or "trait.city".',
            )
        prefix, dot, name = field.partition(".")
        if dot and prefix in ("trait", "context"):
            if not name:
                raise UserError(
                    f"{field} names no {prefix}.", code="rule.field", where=where, cure=f"Write {prefix}.NAME."
                )
            return field
        if self.fields is not None and field not in self.fields:
            near = difflib.get_close_matches(field, sorted(self.fields), n=1)
            raise UserError(
                f"there is no feature {field}.",
                code="rule.field",
                where=where,
                cure=f"Did you mean {near[0]}?" if near else "Name a feature, trait.NAME or context.NAME.",
            )
        return field


def _scalar(value: object, where: str) -> Scalar:
    if not isinstance(value, (str, int, float)):
        cure = "Use op missing." if value is None else "Compare with a text, a number, true or false."
        raise UserError(f"{_kind(value)} can't be compared with.", code="rule.value", where=where, cure=cure)
    if isinstance(value, str) and len(value) > _TEXT:
        raise UserError(
            f"the text is longer than {_TEXT} characters.", code="rule.value", where=where, cure="Shorten it."
        )
    if (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and not (math.isfinite(value) and abs(value) <= LARGEST_NUMBER)
    ):
        raise UserError(
            "the number is not finite or beyond 2^53.", code="rule.value", where=where, cure="Use a smaller number."
        )
    return value


def _only(body: Mapping[str, object], allowed: tuple[str, ...], where: str) -> None:
    for name in body:
        if name not in allowed:
            raise UserError(
                f"{name} has no meaning here.",
                code="rule.unknown",
                where=f"{where}.{name}",
                cure=f"Leave it out; known are {', '.join(allowed)}.",
            )


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {bool: "a truth value", int: "a number", float: "a number", str: "a text"}
    if isinstance(value, str) and (not value or len(value) > _TEXT):
        return "an empty text" if not value else "a very long text"
    return names.get(type(value), "a list" if _is_list(value) else "an object")
