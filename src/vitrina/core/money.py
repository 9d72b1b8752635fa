"""Money: `Decimal` and a currency at the borders, integers in minor units inside."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

import msgspec

from vitrina.core.errors import UserError

__all__ = ["UNIT_PRICE_SCALE", "Money", "exponent", "from_minor", "line_amount", "to_minor", "to_unit_price"]

UNIT_PRICE_SCALE = 10_000
"""Unit prices are int64 in 1/10 000 of the major unit."""

_EXPONENTS = {
    "BIF": 0,
    "CLP": 0,
    "DJF": 0,
    "GNF": 0,
    "ISK": 0,
    "JPY": 0,
    "KMF": 0,
    "KRW": 0,
    "PYG": 0,
    "RWF": 0,
    "UGX": 0,
    "VND": 0,
    "VUV": 0,
    "XAF": 0,
    "XOF": 0,
    "XPF": 0,
    "BHD": 3,
    "IQD": 3,
    "JOD": 3,
    "KWD": 3,
    "LYD": 3,
    "OMR": 3,
    "TND": 3,
}
_LARGEST = Decimal(10) ** 15


class Money(msgspec.Struct, frozen=True):
    """An amount in the minor units of a currency.

    >>> str(Money(1234, "EUR"))
    '12.34 EUR'
    """

    minor: int
    currency: str

    @property
    def amount(self) -> Decimal:
        """The amount in major units."""
        return from_minor(self.minor, self.currency)

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


def exponent(currency: str) -> int:
    """Number of decimal places of an ISO 4217 currency (2 unless the standard says otherwise)."""
    return _EXPONENTS.get(currency, 2)


def _decimal(value: object, where: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise UserError(
            f"{value!r} is not an amount.",
            code="money.type",
            where=where,
            cure='Write a number or text such as "12.50".',
        )
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise UserError(
            f"{value!r} is not an amount.", code="money.unreadable", where=where, cure='Write it like "12.50".'
        ) from None
    if not amount.is_finite() or abs(amount) > _LARGEST:
        raise UserError(
            f"{value!r} is no amount of money.",
            code="money.range",
            where=where,
            cure="Use a finite amount below 10^15.",
        )
    return amount


def to_minor(value: object, currency: str, where: str = "amount") -> int:
    """Minor units of an amount (number or decimal text), rounded half-even.

    >>> to_minor("12.345", "EUR"), to_minor(7, "JPY")
    (1234, 7)
    """
    return int((_decimal(value, where).scaleb(exponent(currency))).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def to_unit_price(value: object, where: str = "price") -> int:
    """A unit price in 1/10 000 of the major unit, rounded half-even."""
    return int((_decimal(value, where) * UNIT_PRICE_SCALE).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def line_amount(quantity: int, unit_price: int, currency: str) -> int:
    """Minor units of `quantity` pieces at `unit_price` (1/10 000), rounded half-even once per line.

    >>> line_amount(3, 12_345, "EUR")
    370
    """
    whole, rest = divmod(quantity * unit_price * 10 ** exponent(currency), UNIT_PRICE_SCALE)
    half = UNIT_PRICE_SCALE // 2
    return whole + 1 if rest > half or (rest == half and whole & 1) else whole


def from_minor(minor: int, currency: str) -> Decimal:
    """The amount in major units, with the currency's number of decimals."""
    return Decimal(minor).scaleb(-exponent(currency))
