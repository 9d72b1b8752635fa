"""What the bodies share: reading one, ids, currencies and money. Every refusal names the field at fault."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from vitrina.core.errors import UserError
from vitrina.core.money import Money, to_minor

__all__ = ["AmountBody", "WireBody", "amount_body", "check_currency", "check_id", "decode_body", "invalid", "money_of"]

B = TypeVar("B")
_ID = re.compile(r"[^\s/?#]{1,200}")
_CURRENCY = re.compile(r"[A-Z]{3}")


class WireBody(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """A body: camelCase, unknown fields refused, defaults left out of answers."""


class AmountBody(WireBody, frozen=True, kw_only=True):
    """An amount of money: a decimal string or a number, answered as a string; `currency` is an ISO 4217 code."""

    amount: str | int | float
    currency: str


def decode_body(body: bytes, kind: type[B]) -> B:
    """A body of `kind` (one of the `…Body` types) from JSON.

    Raises:
        UserError: unreadable JSON, an unknown, missing or wrong field; `where` is its path.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"this is not JSON: {error}.", code="catalogue.unreadable", cure="Send one JSON object."
        ) from None


def invalid(error: msgspec.ValidationError) -> UserError:
    """The error of msgspec as one that names the field."""
    said = str(error)
    what, _, path = said.partition(" - at `$")
    where = path.rstrip("`").lstrip(".")
    unknown = re.search(r"unknown field `(.+?)`", what) or re.search(r"missing required field `(.+?)`", what)
    if unknown:
        where = f"{where}.{unknown[1]}".lstrip(".")
    return UserError(f"{what}.", code="catalogue.invalid", where=where, cure="Correct this field.")


def check_id(given: str, inside: str | None) -> None:
    """Refuse an id that can't be one, or that the body contradicts (`inside`)."""
    if not _ID.fullmatch(given):
        raise UserError(
            f"{given!r} can't be an id.",
            code="catalogue.id",
            where="id",
            cure="Use 1 to 200 characters without spaces, /, ? or #.",
        )
    if inside is not None and inside != given:
        raise UserError(
            f"the body names {inside}, the address {given}.", code="catalogue.id", where="id", cure="Use one id."
        )


def check_currency(currency: str, where: str) -> str:
    """The currency, if it looks like an ISO 4217 code; else a `UserError` at `where`."""
    if not _CURRENCY.fullmatch(currency):
        raise UserError(
            f"{currency!r} is no currency.",
            code="catalogue.currency",
            where=where,
            cure="Use three capital letters, such as EUR.",
        )
    return currency


def money_of(body: AmountBody | None, where: str, *, negative: bool = False) -> Money | None:
    """The money of an amount at the field `where`; a `UserError` below zero, unless `negative` amounts are meant."""
    if body is None:
        return None
    currency = check_currency(body.currency, f"{where}.currency")
    minor = to_minor(body.amount, currency, f"{where}.amount")
    if minor < 0 and not negative:
        raise UserError(
            f"a {where} can't be negative.",
            code="catalogue.negative",
            where=f"{where}.amount",
            cure="Write an amount of 0 or more.",
        )
    return Money(minor, currency)


def amount_body(money: Money | None) -> AmountBody | None:
    """The wire form of money."""
    return None if money is None else AmountBody(amount=str(money.amount), currency=money.currency)
