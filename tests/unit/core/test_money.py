"""Amounts between people and integers: exact, rounded half to even, refused with place and cure."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrina.core.errors import UserError
from vitrina.core.money import Money, exponent, from_minor, line_amount, to_minor, to_unit_price

CURRENCIES = st.sampled_from(["EUR", "RUB", "JPY", "KWD"])


@given(st.integers(-(10**14), 10**14), CURRENCIES)
def test_minor_units_come_back(minor: int, currency: str) -> None:
    amount = from_minor(minor, currency)
    assert to_minor(amount, currency) == to_minor(str(amount), currency) == minor
    assert str(Money(minor, currency)) == f"{amount} {currency}"


@given(st.integers(-10_000, 10_000), st.integers(-(10**9), 10**9), CURRENCIES)
def test_a_line_is_rounded_once_half_to_even(quantity: int, unit_price: int, currency: str) -> None:
    exact = Decimal(quantity) * Decimal(unit_price) * 10 ** exponent(currency) / 10_000
    assert line_amount(quantity, unit_price, currency) == int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("0.125", "EUR", 12),
        ("0.135", "EUR", 14),
        (7, "JPY", 7),
        (0.1, "EUR", 10),
        ("1.2345", "KWD", 1234),
        ("-3", "EUR", -300),
    ],
)
def test_amounts_become_minor_units(text: object, currency: str, minor: int) -> None:
    assert to_minor(text, currency) == minor


def test_a_unit_price_keeps_four_decimals() -> None:
    assert to_unit_price("0.00125") == 12
    assert to_unit_price(4.5) == 45_000


@pytest.mark.parametrize("wrong", ["дорого", "", None, True, [], "NaN", "Infinity", float("nan"), "1e16", "1,50"])
def test_what_is_no_amount_is_refused(wrong: object) -> None:
    with pytest.raises(UserError) as refused:
        to_minor(wrong, "EUR", "offer.price")
    assert refused.value.where == "offer.price"
    assert refused.value.code.startswith("money.")
    assert refused.value.cure
