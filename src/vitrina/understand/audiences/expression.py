"""A predicate as an Ibis expression: the form that selects people (or events) in bulk, on DuckDB or Spark.

The meaning is that of `closure`: an expression is true or false, never null. Integers are compared exactly, also with
fractions; numbers inside JSON text are compared as float64.
"""

# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportReturnType=false
# (Ibis: columns and methods that its type hints don't know.)

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import ibis
import ibis.expr.types as ir

from vitrina.core.errors import UserError
from vitrina.core.predicate import AllOf, AnyOf, Compare, InList, Missing, Not, Predicate, Scalar

__all__ = ["Resolve", "column_resolver", "compile_expression"]

Resolve = Callable[[str], ir.Value]
"""Gives the column (text, number, truth value or JSON) that a field stands for."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_ -]*")


def compile_expression(predicate: Predicate, resolve: Resolve) -> ir.BooleanValue:
    """The rule as a Boolean expression without nulls.

    Args:
        predicate: the rule.
        resolve: from field to column, see `column_resolver`.

    Raises:
        UserError: the table has no such field.
    """
    match predicate:
        case Compare(field=field, op=op, value=constant):
            return _compare(resolve(field), op, constant)
        case InList(field=field, values=constants):
            return _in_list(resolve(field), constants)
        case Missing(field=field):
            return _missing(resolve(field))
        case Not(inner=inner):
            return ~compile_expression(inner, resolve)
        case AllOf(inner=several):
            return ibis.and_(ibis.literal(True), *(compile_expression(inner, resolve) for inner in several))
        case AnyOf(inner=several):
            return ibis.or_(_false(), *(compile_expression(inner, resolve) for inner in several))


def column_resolver(table: ir.Table, **json_columns: str) -> Resolve:
    """Fields as columns of `table`; a keyword names the column of JSON text behind a prefix.

    `column_resolver(profiles, trait="traits")` reads `trait.city` from the JSON text in `traits`, and every other field
    from the column of that name.
    """

    def resolve(field: str) -> ir.Value:
        prefix, _, name = field.partition(".")
        if name and prefix in json_columns:
            if not _NAME.fullmatch(name):
                raise UserError(
                    f"the name {name} can't be used in a rule.",
                    code="rule.name",
                    where=field,
                    cure="Use letters, digits, underscores, hyphens and spaces.",
                )
            return table[json_columns[prefix]].cast("json")[name]
        if field not in table.columns:
            raise UserError(
                f"there is no field {field}.",
                code="rule.field",
                where=field,
                cure=f"Use one of {', '.join(table.columns)}.",
            )
        return table[field]

    return resolve


def _compare(column: ir.Value, op: str, constant: Scalar) -> ir.BooleanValue:
    value = _as_kind(column, constant)
    if value is None:
        return _false()
    bound: Any = constant
    if value.type().is_integer() and isinstance(constant, float):
        if not constant.is_integer() and op in ("==", "!="):
            return value.notnull() if op == "!=" else _false()
        bound = math.floor(constant) if op in ("<=", ">", "==", "!=") else math.ceil(constant)
    holds: Any = {
        "==": lambda: value == bound,
        "!=": lambda: value != bound,
        "<": lambda: value < bound,
        "<=": lambda: value <= bound,
        ">": lambda: value > bound,
        ">=": lambda: value >= bound,
    }[op]()
    return _known(value) & holds


def _in_list(column: ir.Value, constants: tuple[Scalar, ...]) -> ir.BooleanValue:
    tests: list[ir.BooleanValue] = []
    for kind in (str, bool, float):
        choices = [choice for choice in constants if _kind(choice) is kind]
        value = _as_kind(column, choices[0]) if choices else None
        if value is not None and value.type().is_integer():
            choices = [int(choice) for choice in choices if isinstance(choice, int) or float(choice).is_integer()]
        if value is not None and choices:
            tests.append(_known(value) & value.isin(choices))
    return ibis.or_(*tests) if tests else _false()


def _missing(column: ir.Value) -> ir.BooleanValue:
    if column.type().is_json():
        return column.isnull() | (column.cast("string") == "null")
    return ~_known(column)


def _known(value: ir.Value) -> ir.BooleanValue:
    known = value.notnull()
    return known & ~value.isnan() if value.type().is_floating() else known


def _kind(constant: Scalar) -> type:
    return float if isinstance(constant, (int, float)) and not isinstance(constant, bool) else type(constant)


def _as_kind(column: ir.Value, constant: Scalar) -> ir.Value | None:
    """The column, if it can hold values of the constant's kind; for JSON the part that does."""
    kind, column_type = _kind(constant), column.type()
    if column_type.is_json():
        return {str: lambda: column.str, bool: lambda: column.bool, float: lambda: column.float}[kind]()
    fits = {str: column_type.is_string(), bool: column_type.is_boolean(), float: column_type.is_numeric()}[kind]
    return column if fits and not (kind is float and column_type.is_boolean()) else None


def _false() -> ir.BooleanValue:
    return ibis.literal(False)
