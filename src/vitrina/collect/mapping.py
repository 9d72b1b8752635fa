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
    "FIELDS",
    "GROUPED",
    "KINDS",
    "KIND_WORDS",
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

KIND_WORDS = {
    "order": "An invoice with its lines. A line at price zero or of a quantity below one is a stock move: no revenue.",
    "refund": "A credit note with its lines.",
    "adjustment": "A correction in money; alone among documents it may have a negative price.",
    "stock_write_off": "A movement of stock: it earns and costs nothing.",
    "view": "Somebody looked at a product.",
    "cart": "Somebody put a product into the cart.",
    "click": "Somebody clicked on an offer.",
    "email_opened": "Somebody opened an e-mail.",
    "email_clicked": "Somebody followed a link of an e-mail.",
    "unsubscribed": "Somebody wants no more e-mail.",
    "identify": "States traits of a person.",
    "event": "Any other event, named by the column `name`.",
}
"""What a row (or a group of rows) of each kind says."""

FIELDS = {
    "occurred_at": "When it happened; always needed. A document happened when its earliest line did.",
    "order_id": "Number of the invoice: rows that share it are one document. Kinds with lines need it.",
    "product_id": "Code of the product, upper and lower case apart. Each line of a document needs it.",
    "product_name": "Name of the product, for the people who read.",
    "category": "Category of the product.",
    "quantity": "How many, a whole number. Each line of a document needs it.",
    "unit_price": "Price of one, up to four decimals. Each line of a document needs it.",
    "revenue": "Amount of the row as it was charged; left out, quantity × unit price rounded half to even.",
    "value": "Margin that the row earned.",
    "currency": "ISO 4217 code of the row, where `currency` of `[source]` doesn't hold for all. A document has one.",
    "user_id": "The person as your systems know them. A row without it counts, for nobody in particular.",
    "anonymous_id": "The browser or device.",
    "email": "E-mail address of the person; an identifier and a trait.",
    "phone": "Telephone number of the person; an identifier and a trait.",
    "name": "Name of the event, for the kind `event`.",
    "decision_id": "The decision that this is the outcome of.",
    "offer_id": "The offer of that decision.",
}
"""Every field that a column can be, and what it means."""


class Condition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A test of one column, or a combination: exactly one of the tests, or of `all`, `any`, `no`.

    A cell that is empty fails every test but `missing`.

    Attributes:
        column: name of the column that is tested.
        starts_with: the text begins with this.
        ends_with: the text ends with this.
        equals: a text is the same, a number is equal.
        one_of: as `equals`, for one of these.
        below: the number is smaller.
        above: the number is greater.
        missing: true holds for an empty cell, false for one that isn't.
        all: every one of these conditions holds.
        any: at least one of these conditions holds.
        no: this condition doesn't hold.
    """

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
        name: where the history comes from; shown with each event and each consent record.
        timezone: IANA zone of times without an offset.
        currency: ISO 4217 code of the amounts, unless a column says it row by row.
        time_format: strptime format of times that aren't ISO 8601.
        available_after_seconds: lag between an event and the moment it could first have been used.
        lawful_basis: consent, contract, legitimate_interest or obligation; needed with `purposes`.
        purposes: what the data may be used for: a consent record each for everybody in the file.
        separator: what stands between the columns of a CSV file.
        encoding: of a CSV file, such as cp1251; a byte order mark is understood.
        decimal: what stands before the decimals in numbers of a CSV file.
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
                f"[columns] has no field {field}.", code="mapping.field", where=where, cure=_near(field, list(FIELDS))
            )
    for kind in mapping.kinds:
        if kind.kind not in KINDS:
            raise UserError(
                f"there is no kind {kind.kind}.", code="mapping.kind", where=where, cure=_near(kind.kind, list(KINDS))
            )
        if kind.when is not None:
            compile_condition(kind.when, where)
    code = mapping.source.currency
    if code and not (len(code) == 3 and code.isascii() and code.isalpha() and code.isupper()):
        raise UserError(
            f"{code!r} is not an ISO 4217 code.",
            code="mapping.currency",
            where=where,
            cure='Write three letters: "EUR".',
        )
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
