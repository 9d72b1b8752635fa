"""What is lifted out of an event's properties: ids of order, product, decision and offer, and money in minor units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from vitrina.core.errors import UserError
from vitrina.core.event import ORDER, REFUND, Product
from vitrina.core.money import UNIT_PRICE_SCALE, exponent, line_amount, to_minor, to_unit_price

__all__ = ["Lifted", "MoneyFlaw", "lift"]

_EXACT = 1 << 50  # floats below this many minor units are exact to far less than half a unit
_MONEY = frozenset({"value", "revenue", "total", "products"})
_TEXTS = (("category", "category"), ("decisionId", "decision_id"), ("offerId", "offer_id"))
_LIFTED = _MONEY | {"order_id", "product_id", "sku", "category", "decisionId", "offerId"}


class MoneyFlaw(Exception):
    """An amount or currency that can't be taken: code, place below `properties`, detail."""

    def __init__(self, code: str, where: str, detail: str) -> None:
        super().__init__(code)
        self.code = code
        self.where = where
        self.detail = detail


Lifted = Sequence[tuple[str, object]]
"""Fields of `vitrina.core.event.Event` that have a value, with it."""


def lift(name: str, properties: dict[str, Any], currency: str) -> Lifted:
    """Read the fields that the house uses out of the properties of a track call.

    Args:
        name: name of the event.
        properties: as sent; types of known events were checked before.
        currency: of amounts that name none.

    Raises:
        MoneyFlaw: `money.currency`, `money.amount`, or `money.negative` on an order or refund.
    """
    if _LIFTED.isdisjoint(properties):
        return ()
    get = properties.get
    found: list[tuple[str, object]] = []
    value = _id(get("product_id")) or _id(get("sku"))
    if value is not None:
        found.append(("product_id", value))
    for key, field in _TEXTS:
        value = get(key)
        if type(value) is str and value:
            found.append((field, value))
    value = _id(get("order_id"))
    if value is not None:
        found.append(("order_id", value))
    if not _MONEY.isdisjoint(properties):
        found += _money(name, properties, currency)
    return found


def _money(name: str, properties: dict[str, Any], currency: str) -> Lifted:
    """Revenue, value, lines and their currency; nothing when there is no amount at all."""
    get = properties.get
    where = "revenue" if get("total") is None else "total"
    total, value, products = get(where), get("value"), get("products")
    if total is None and value is None and not products:
        return ()
    strict = name in (ORDER, REFUND)
    unit = _currency(get("currency"), currency)
    lines = _lines(cast("list[object]", products), unit, strict) if isinstance(products, list) else ()
    revenue = _minor(total, unit, where, strict)
    margin = _minor(value, unit, "value", strict)
    if strict:
        revenue = _check_signs(name, revenue, margin, lines)
    fields = (("value", margin), ("revenue", revenue), ("products", lines or None))
    found: list[tuple[str, object]] = [(field, amount) for field, amount in fields if amount is not None]
    return [*found, ("currency", unit)] if found else ()


def _check_signs(name: str, revenue: int | None, value: int | None, lines: tuple[Product, ...]) -> int | None:
    """The revenue of an order or refund, from its lines when it isn't stated; a negative amount is a flaw."""
    if revenue is None and lines and name == ORDER:
        revenue = sum([line.revenue for line in lines])
    if revenue is not None and revenue < 0:
        raise MoneyFlaw("money.negative", "total", str(revenue))
    if name == REFUND and value is not None and value < 0:
        raise MoneyFlaw("money.negative", "value", str(value))
    return revenue


def _currency(stated: object, default: str) -> str:
    if stated is None:
        return default
    if isinstance(stated, str) and len(stated) == 3 and stated.isascii() and stated.isalpha():
        return stated.upper()
    raise MoneyFlaw("money.currency", "currency", f"{stated!r}"[:60])


def _minor(amount: object, currency: str, where: str, strict: bool) -> int | None:
    """Minor units of an amount, half-even; of an event that the plan doesn't know, None for what is no amount."""
    if amount is None:
        return None
    kind = type(amount)
    if kind is int and -_EXACT < cast(int, amount) < _EXACT:
        return cast(int, amount) * 10 ** exponent(currency)
    if kind is float:
        scaled = cast(float, amount) * 10 ** exponent(currency)
        if -_EXACT < scaled < _EXACT:
            nearest = round(scaled)
            if abs(scaled - nearest) < 0.49:  # not near a tie, where the decimal text decides
                return nearest
    try:
        return to_minor(amount, currency)
    except UserError as error:
        if strict:
            raise MoneyFlaw("money.amount", where, error.message) from None
        return None


def _lines(products: list[object], currency: str, strict: bool) -> tuple[Product, ...]:
    lines: list[Product] = []
    for i, item in enumerate(products):
        if not isinstance(item, dict):
            continue
        line = cast("dict[str, Any]", item)
        product_id = _id(line.get("product_id")) or _id(line.get("sku"))
        if product_id is None:
            if strict:
                raise MoneyFlaw("money.amount", f"products[{i}].product_id", "a line names no product")
            continue
        quantity, price = _quantity(line.get("quantity")), line.get("price")
        unit_price = _unit_price(price, f"products[{i}].price", strict)
        if strict and (unit_price < 0 or quantity < 0):
            raise MoneyFlaw("money.negative", f"products[{i}].{'price' if unit_price < 0 else 'quantity'}", str(price))
        lines.append(Product(product_id, quantity, unit_price, _line_amount(quantity, unit_price, currency)))
    return tuple(lines)


def _quantity(stated: object) -> int:
    return int(stated) if isinstance(stated, (int, float)) and abs(stated) < _EXACT else 1


def _unit_price(price: object, where: str, strict: bool) -> int:
    if price is None:
        return 0
    if type(price) is float and abs(price) < 1e9:
        scaled = price * UNIT_PRICE_SCALE
        nearest = round(scaled)
        if abs(scaled - nearest) < 0.49:
            return nearest
    try:
        return to_unit_price(price)
    except UserError as error:
        if strict:
            raise MoneyFlaw("money.amount", where, error.message) from None
        return 0


def _line_amount(quantity: int, unit_price: int, currency: str) -> int:
    whole, rest = divmod(quantity * unit_price * 10 ** exponent(currency), UNIT_PRICE_SCALE)
    return whole if rest == 0 else line_amount(quantity, unit_price, currency)


def _id(value: object) -> str | None:
    if type(value) is str:
        return value or None
    return str(value) if type(value) is int else None
