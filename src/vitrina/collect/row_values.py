"""One row of a file → one `Line`, or the field and reason for which it is refused.

A reason that is shown quotes the cell. One that is kept says only what kind of cell it was: no erasure of a person
would find their address in a report of what stood in a column of prices. Row and field say where to look in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from vitrina.collect.mapping import GROUPED, MappingFile
from vitrina.collect.tabular import BadRow
from vitrina.core.clock import Micros, from_datetime, iso
from vitrina.core.errors import UserError
from vitrina.core.money import line_amount, to_minor, to_unit_price

__all__ = ["Line", "RowReader", "bad_row"]


class Line(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row that could be read. `document` groups lines, `fits` has a bit for each kind whose condition holds."""

    document: str
    row: int
    at: Micros
    fits: int
    user_id: str | None
    anonymous_id: str | None
    product_id: str | None
    quantity: int | None
    unit_price: int | None
    revenue: int | None
    value: int | None
    currency: str
    category: str | None
    name: str
    order_id: str | None
    decision_id: str | None
    offer_id: str | None
    traits: dict[str, Any]


_TEXTS = frozenset(
    {
        "order_id",
        "product_id",
        "product_name",
        "category",
        "currency",
        "user_id",
        "anonymous_id",
        "email",
        "phone",
        "name",
    }
    | {"decision_id", "offer_id"}
)


class _Fault(Exception):
    """A reason against a row; `cell` is what it speaks of, if anything, and comes before the words."""

    def __init__(self, field: str, words: str, *cell: Any) -> None:
        super().__init__(words)
        self.field = field
        self.reason = f"{cell[0]!r} {words}" if cell else words
        self.kept = f"{_kind(cell[0])} {words}" if cell else ""


def bad_row(row: int, field: str, reason: str) -> BadRow:
    """A refused row."""
    return BadRow(row, field, reason)


class RowReader:
    """Reads rows of one file by its mapping.

    Args:
        columns: column names, in the order of the values given to `read`.
        tests: for each kind, whether a row (column → value) is of it.
        now: rows that happened later are refused.
    """

    def __init__(
        self,
        mapping: MappingFile,
        columns: Sequence[str],
        tests: Sequence[Callable[[Mapping[str, Any]], bool]],
        now: Micros,
    ) -> None:
        self._columns = columns
        self._tests = tests
        self._now = now
        self._source = mapping.source
        self._zone = ZoneInfo(mapping.source.timezone)
        self._place = {
            field: columns.index(column) for field, column in mapping.columns.items() if not field.startswith("trait.")
        }
        self._texts = tuple((field, place) for field, place in self._place.items() if field in _TEXTS)
        self._traits = {f[6:]: columns.index(c) for f, c in mapping.columns.items() if f.startswith("trait.")}
        self._grouped = any(kind.kind in GROUPED for kind in mapping.kinds)
        self._times: dict[Any, Micros] = {}
        self._prices: dict[Any, int] = {}
        self.products: dict[str, tuple[str, str]] = {}

    def read(self, row: int, values: Sequence[Any]) -> Line | BadRow:
        """The line of a row, or why it is refused."""
        try:
            return self._read(row, values)
        except _Fault as fault:
            return BadRow(row, fault.field, fault.reason, fault.kept)
        except UserError as error:
            return BadRow(row, error.where, error.message)

    def _read(self, row: int, values: Sequence[Any]) -> Line:
        named = dict(zip(self._columns, values, strict=True))
        fits = 0
        for i, test in enumerate(self._tests):
            if test(named):
                fits |= 1 << i
        texts = {field: _text(values[place]) for field, place in self._texts}
        text = texts.get
        order_id, product_id, category = text("order_id"), text("product_id"), text("category")
        if self._grouped and order_id is None:
            raise _Fault("order_id", "is missing, and without it the row belongs to no document")
        currency = self._currency(text("currency"))
        quantity = self._integer(values, "quantity")
        unit_price = self._unit_price(values)
        if product_id is not None:
            self._remember(product_id, text("product_name"), category)
        revenue = self._revenue(values, quantity, unit_price, currency)
        return Line(
            document=order_id if self._grouped and order_id is not None else str(row),
            row=row,
            at=self._time(values[self._place["occurred_at"]]),
            fits=fits,
            user_id=text("user_id"),
            anonymous_id=text("anonymous_id"),
            product_id=product_id,
            quantity=quantity,
            unit_price=unit_price,
            revenue=revenue,
            value=self._amount(values, "value", currency),
            currency=currency,
            category=category,
            name=text("name") or "",
            order_id=order_id,
            decision_id=text("decision_id"),
            offer_id=text("offer_id"),
            traits=self._read_traits(values, text("email"), text("phone")),
        )

    def _revenue(
        self, values: Sequence[Any], quantity: int | None, unit_price: int | None, currency: str
    ) -> int | None:
        if "revenue" in self._place:
            return self._amount(values, "revenue", currency)
        if quantity is None or unit_price is None or not currency:
            return None
        return line_amount(quantity, unit_price, currency)

    def _remember(self, product_id: str, name: str | None, category: str | None) -> None:
        if name or category or product_id not in self.products:
            before = self.products.get(product_id, ("", ""))
            self.products[product_id] = (name or before[0], category or before[1])

    def _read_traits(self, values: Sequence[Any], email: str | None, phone: str | None) -> dict[str, Any]:
        traits = {name: _trait(values[place]) for name, place in self._traits.items()}
        traits["email"], traits["phone"] = email, phone
        return {name: value for name, value in traits.items() if value is not None}

    def _currency(self, stated: str | None) -> str:
        if stated is None:
            return self._source.currency
        code = stated
        if not (len(code) == 3 and code.isascii() and code.isalpha() and code.isupper()):
            raise _Fault("currency", "is not an ISO 4217 code such as EUR", code)
        return code

    def _number_text(self, value: Any) -> Any:
        if isinstance(value, str):
            text = value.strip().replace("\u00a0", "").replace(" ", "")
            return text.replace(self._source.decimal, ".") if self._source.decimal != "." else text
        return value

    def _integer(self, values: Sequence[Any], field: str) -> int | None:
        place = self._place.get(field)
        value = None if place is None else values[place]
        if value is None or value == "" or isinstance(value, int):
            return None if value is None or value == "" else int(value)
        try:
            number = float(self._number_text(value))
        except ValueError:
            raise _Fault(field, "is not a number", value) from None
        if not (abs(number) < 1e15 and number == int(number)):
            raise _Fault(field, "is not a whole number", value)
        return int(number)

    def _unit_price(self, values: Sequence[Any]) -> int | None:
        place = self._place.get("unit_price")
        value = None if place is None else values[place]
        if value is None or value == "":
            return None
        price = self._prices.get(value)
        if price is None:
            if len(self._prices) > 100_000:
                self._prices.clear()
            try:
                price = to_unit_price(self._number_text(value), "unit_price")
            except UserError as error:
                raise _no_amount(error, value) from None
            self._prices[value] = price
        return price

    def _amount(self, values: Sequence[Any], field: str, currency: str) -> int | None:
        place = self._place.get(field)
        value = None if place is None else values[place]
        if value is None or value == "":
            return None
        if not currency:
            raise _Fault("currency", f"{field} is given without a currency")
        try:
            return to_minor(self._number_text(value), currency, field)
        except UserError as error:
            raise _no_amount(error, value) from None

    def _time(self, value: Any) -> Micros:
        try:
            known = self._times.get(value)
        except TypeError:
            known = None
        if known is not None:
            return known
        instant = self._parse_time(value)
        if instant > self._now:
            raise _Fault("occurred_at", f"{iso(instant)} lies in the future")
        if len(self._times) > 100_000:
            self._times.clear()
        self._times[value] = instant
        return instant

    def _parse_time(self, value: Any) -> Micros:
        if isinstance(value, str) and value.strip():
            text = value.strip()
            try:
                value = (
                    datetime.strptime(text, self._source.time_format)  # noqa: DTZ007 - the zone is added below
                    if self._source.time_format
                    else datetime.fromisoformat(text)
                )
            except ValueError:
                cure = (
                    f"the format {self._source.time_format}"
                    if self._source.time_format
                    else "ISO 8601 (else set time_format in [source])"
                )
                raise _Fault("occurred_at", f"is not a time in {cure}", text) from None
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - the zone is added below
        if not isinstance(value, datetime):
            if value is None or value == "":
                raise _Fault("occurred_at", "the time is missing")
            raise _Fault("occurred_at", "is not a time", value)
        if value.tzinfo is None:
            value = value.replace(tzinfo=self._zone)
        if not 1970 <= value.year <= 9998:
            raise _Fault("occurred_at", f"the year {value.year} can't be right")
        return from_datetime(value.astimezone(UTC))


def _no_amount(error: UserError, value: Any) -> _Fault:
    """The reason against a cell that is no money."""
    if error.code in {"money.type", "money.unreadable"}:
        return _Fault(error.where, "is not an amount", value)
    if error.code == "money.range":
        return _Fault(error.where, "is no amount of money", value)
    return _Fault(error.where, error.message)


def _kind(value: Any) -> str:
    """What kind of cell it is, without what stands in it.

    >>> _kind(" anna@shop.example "), _kind(7.5), _kind([1])
    ('text of 17 characters', 'a number', 'a list')
    """
    if isinstance(value, str):
        return f"text of {len(value.strip())} characters"
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return "a number"
    return f"a {type(value).__name__}"


def _text(value: Any) -> str | None:
    """Text of an identifier: whole floats lose their .0 (as spreadsheets add it to columns with gaps)."""
    if type(value) is str:
        return value.strip() or None
    if value is None:
        return None
    if isinstance(value, float):
        if value != value:
            return None
        if value.is_integer():
            return str(int(value))
    text = str(value).strip()
    return text or None


def _trait(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, float) and value != value:
        return None
    return value if isinstance(value, (int, float, bool)) or value is None else str(value)
