"""How the fold reads an event: one getter a field."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from vitrina.core.errors import UserError
from vitrina.core.event import Event
from vitrina.understand.features.algebra import LARGEST_AMOUNT, Amount

__all__ = ["EVENT_FIELDS", "amount_reader", "field_reader"]

EVENT_FIELDS: dict[str, str] = {
    "name": "text",
    "type": "text",
    "source": "text",
    "order_id": "text",
    "product_id": "text",
    "category": "text",
    "decision_id": "text",
    "offer_id": "text",
    "currency": "text",
    "value": "integer",
    "revenue": "integer",
    "trusted": "truth",
    "backfilled": "truth",
}
"""Event fields that a filter may name, with their kinds; beside them `properties.NAME` of any kind."""


def field_reader(field: str) -> Callable[[Event], Any]:
    """The function that reads `field` of an event.

    Raises:
        UserError: an event has no such field.
    """
    if field in EVENT_FIELDS:
        return attrgetter(field)
    head, _, name = field.partition(".")
    if head == "properties" and name:
        return lambda event: event.properties.get(name)
    raise UserError(
        f"an event has no field {field}.",
        code="feature.field",
        where=field,
        cure=f"Use one of {', '.join(sorted(EVENT_FIELDS))} or properties.NAME.",
    )


def amount_reader(amount: Amount) -> Callable[[Event], int]:
    """The function that reads an amount in minor units, 0 if there is none, cut at ±`LARGEST_AMOUNT`."""
    read = attrgetter(amount)

    def cut(event: Event) -> int:
        minor = read(event)
        if minor is None:
            return 0
        if -LARGEST_AMOUNT <= minor <= LARGEST_AMOUNT:
            return minor
        return LARGEST_AMOUNT if minor > 0 else -LARGEST_AMOUNT

    return cut
