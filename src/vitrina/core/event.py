"""An event: something a person or a system did, at a time."""

from __future__ import annotations

from typing import Any

import msgspec

from vitrina.core.clock import Micros
from vitrina.core.ids import subject_key

__all__ = ["CLICK", "ORDER", "REFUND", "VIEW", "Event", "Product"]

VIEW = "Product Viewed"
CLICK = "Promotion Clicked"
ORDER = "Order Completed"
REFUND = "Order Refunded"


class Product(msgspec.Struct, frozen=True, gc=False):
    """One line of an order: `unit_price` in 1/10 000, `revenue` in minor units, `kind` sale | stock_move."""

    product_id: str
    quantity: int
    unit_price: int
    revenue: int
    kind: str = "sale"
    row: int = -1


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What is stored of one event. Times in microseconds UTC, money in minor units.

    Attributes:
        message_id: the sender's id; a second one of the same source class is a repeat.
        type: track | identify | page | screen | group | alias.
        name: event name for track, page or screen name, else "".
        occurred_at: when it happened, clock skew corrected.
        received_at: when it reached us.
        available_at: when it could first have been used (`received_at` live; `occurred_at` + lag for imports).
        source: name of the key or the import it came from.
        trusted: it came by secret key or import, so its money counts.
        backfilled: it came from an import of history.
        value: margin that this outcome earned (order) or lost (refund, positive), minor units, or None.
        revenue: price paid, minor units, or None.
        products: lines of an order.
        properties, traits, context: what the sender wrote, as read.
        quarantined: set by the bot check (counted, never taught) or by the tracking plan (neither; see `set_aside`).
        violation: how it contradicts the tracking plan, as `code place`, or "".
        proven: a valid `userHash` came with the userId, so that the call says who its anonymousId is.
    """

    message_id: str
    type: str
    name: str = ""
    user_id: str | None = None
    anonymous_id: str | None = None
    occurred_at: Micros
    received_at: Micros
    available_at: Micros
    source: str = ""
    trusted: bool = False
    backfilled: bool = False
    order_id: str | None = None
    product_id: str | None = None
    category: str | None = None
    decision_id: str | None = None
    offer_id: str | None = None
    value: int | None = None
    revenue: int | None = None
    currency: str | None = None
    products: tuple[Product, ...] = ()
    properties: dict[str, Any] = {}
    traits: dict[str, Any] = {}
    context: dict[str, Any] = {}
    quarantined: bool = False
    violation: str = ""
    proven: bool = False

    @property
    def subject(self) -> str:
        """The leaf identifier that this event belongs to (see `vitrina.core.ids.subject_key`)."""
        return subject_key(self.user_id, self.anonymous_id)

    @property
    def set_aside(self) -> bool:
        """The tracking plan quarantined it: it is stored and shown, and neither teaches nor counts."""
        return self.quarantined and self.violation != ""
