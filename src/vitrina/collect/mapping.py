"""The mapping file: how the columns of somebody's export become events.

A mapping is TOML with three parts, `[source]`, `[columns]` and `[[kinds]]`. Rows with the same order id become one
event; a group gets the first kind whose `when` holds for every one of its rows. See `docs/reference/mapping.md`.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from vitrina.core.consent import LawfulBasis, Purpose
from vitrina.core.errors import UserError

__all__ = [
    "GROUPED",
    "KINDS",
    "Condition",
    "Kind",
    "MappingFile",
    "SourceSettings",
    "compile_condition",
    "load_mapping",
]

Row = Mapping[str, Any]

GROUPED = {
    "order": "Order Completed",
    "refund": "Order Refunded",
    "adjustment": "Order Adjusted",
    "stock_write_off": "Stock Written Off",
}
"""Kinds whose rows are lines of one document, with the event that they become."""

_SINGLE = {
    "view": "Product Viewed",
    "cart": "Product Added",
    "click": "Promotion Clicked",
    "email_opened": "Email Opened",
    "email_clicked": "Email Link Clicked",
    "unsubscribed": "Unsubscribed",
    "identify": "",
    "event": "",
}
KINDS = {**GROUPED, **_SINGLE}
"""Every kind and its event; `identify` states traits, `event` takes its name from the column `name`."""

FIELDS = (
    "order_id", "product_id", "product_name", "category", "quantity", "unit_price", "revenue", "value", "currency",
    "occurred_at", "user_id", "anonymous_id", "email", "phone", "name", "decision_id", "offer_id",
)  # fmt: skip


class Condition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A test of one column, or a combination: exactly one of the tests, or of `all`, `any`, `no`."""

    column: str | None = None
    starts_with: str | None = None
    ends_with: str | None = None
    equals: str | int | float | None = None
    one_of: tuple[str | int | float, ...] | None = None
    below: float | None = None
    above: float | None = None
    missing: bool | None = None
    all: tuple[Condition, ...] | None = None
    any: tuple[Condition, ...] | None = None
    no: Condition | None = None


class Kind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows that are of this kind: those for which `when` holds (all, when it is left out)."""

    kind: str
    when: Condition | None = None


class SourceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the file comes from and on what basis its people's data may be used.

    Attributes:
        timezone: IANA zone of times without an offset.
        time_format: strptime format of times that aren't ISO 8601.
        available_after_seconds: lag between an event and the moment it could first have been used.
        purposes: written as consent records with `lawful_basis` for every userId and anonymousId in the file.
        separator, encoding, decimal: of CSV files.
    """

    name: str
    timezone: str = "UTC"
    currency: str = ""
    time_format: str = ""
    available_after_seconds: float = 0.0
    lawful_basis: LawfulBasis | None = None
    purposes: tuple[Purpose, ...] = ()
    separator: str = ","
    encoding: str = "utf-8"
    decimal: str = "."


class MappingFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole mapping file. `columns` is field → column name; traits are `trait.NAME`."""

    source: SourceSettings
    columns: dict[str, str]
    kinds: tuple[Kind, ...] = (Kind(kind="order"),)


def _near(word: str, words: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.4)
    return f"Did you mean {near[0]}?" if near else f"Use one of: {', '.join(words)}."


def load_mapping(path: Path) -> MappingFile:
    """Read and check a mapping file.

    Raises:
        UserError: unreadable, an unknown kind, field or time zone, or purposes without a lawful basis.
    """
    where = str(path)
    try:
        mapping = msgspec.toml.decode(path.read_bytes(), type=MappingFile)
    except FileNotFoundError:
        raise UserError(
            "there is no such mapping file.", code="mapping.missing", where=where, cure="Check the path."
        ) from None
    except (msgspec.ValidationError, msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"the mapping can't be read: {error}.", code="mapping.invalid", where=where, cure="Correct it."
        ) from None
    _check(mapping, where)
    return mapping


def _check(mapping: MappingFile, where: str) -> None:
    for field in mapping.columns:
        if field not in FIELDS and not field.startswith("trait."):
            raise UserError(
                f"[columns] has no field {field}.", code="mapping.field", where=where, cure=_near(field, FIELDS)
            )
    for kind in mapping.kinds:
        if kind.kind not in KINDS:
            raise UserError(
                f"there is no kind {kind.kind}.", code="mapping.kind", where=where, cure=_near(kind.kind, list(KINDS))
            )
        if kind.when is not None:
            compile_condition(kind.when, where)
    try:
        ZoneInfo(mapping.source.timezone)
    except (KeyError, ValueError, OSError):
        raise UserError(
            f"there is no time zone {mapping.source.timezone}.",
            code="mapping.timezone",
            where=where,
            cure="Use a name such as Europe/London.",
        ) from None
    if mapping.source.purposes and mapping.source.lawful_basis is None:
        raise UserError(
            "purposes are declared without lawful_basis.", code="mapping.basis", where=where,
            cure='Add lawful_basis = "contract" (or consent, legitimate_interest, obligation).',
        )  # fmt: skip
    _check_columns(mapping, where)


def _check_columns(mapping: MappingFile, where: str) -> None:
    if "occurred_at" not in mapping.columns:
        raise UserError(
            "[columns] lacks occurred_at.",
            code="mapping.time",
            where=where,
            cure="Name the column that holds the time.",
        )
    grouped = any(kind.kind in GROUPED for kind in mapping.kinds)
    if grouped and "order_id" not in mapping.columns:
        raise UserError(
            "[columns] lacks order_id.",
            code="mapping.order",
            where=where,
            cure="Name the column with the invoice number.",
        )
    if grouped and not mapping.source.currency and "currency" not in mapping.columns:
        raise UserError(
            "no currency is given.",
            code="mapping.currency",
            where=where,
            cure='Add currency = "EUR" to [source], or map the column.',
        )


def condition_columns(condition: Condition) -> set[str]:
    """Names of the columns that a condition reads."""
    inner = [*(condition.all or ()), *(condition.any or ()), *([condition.no] if condition.no else [])]
    found = {condition.column} if condition.column else set[str]()
    return found.union(*(condition_columns(c) for c in inner)) if inner else found


def compile_condition(condition: Condition, where: str = "mapping") -> Callable[[Row], bool]:
    """A function of one row (column → value) that tells whether the condition holds.

    A missing value fails every test but `missing`.
    """
    if condition.all is not None:
        parts = [compile_condition(c, where) for c in condition.all]
        return lambda row: all(part(row) for part in parts)
    if condition.any is not None:
        parts = [compile_condition(c, where) for c in condition.any]
        return lambda row: any(part(row) for part in parts)
    if condition.no is not None:
        part = compile_condition(condition.no, where)
        return lambda row: not part(row)
    if condition.column is None:
        raise UserError(
            "a condition names no column.",
            code="mapping.condition",
            where=where,
            cure='Write { column = "…", equals = … }.',
        )
    return _compile_test(condition, condition.column, where)


def _compile_test(condition: Condition, column: str, where: str) -> Callable[[Row], bool]:
    if condition.missing is not None:
        wanted = condition.missing
        return lambda row: (row.get(column) in (None, "")) is wanted
    for name, test in _TESTS.items():
        operand = getattr(condition, name)
        if operand is not None:
            return _present(column, test, operand)
    raise UserError(
        f"the condition on {column} has no test.",
        code="mapping.condition",
        where=where,
        cure=f"Use one of: {', '.join(_TESTS)}, missing.",
    )


def _present(column: str, test: Callable[[Any, Any], bool], operand: Any) -> Callable[[Row], bool]:
    def holds(row: Row) -> bool:
        value = row.get(column)
        return value is not None and value != "" and test(value, operand)

    return holds


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _equal(value: Any, operand: Any) -> bool:
    return str(value) == operand if isinstance(operand, str) else _number(value) == operand


_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "starts_with": lambda value, operand: str(value).startswith(operand),
    "ends_with": lambda value, operand: str(value).endswith(operand),
    "equals": _equal,
    "one_of": lambda value, operand: any(_equal(value, one) for one in operand),
    "below": lambda value, operand: _number(value) < operand,
    "above": lambda value, operand: _number(value) > operand,
}
