"""An outcome: an event that a decision is credited with."""

from __future__ import annotations

import msgspec

from vitrina.core.clock import Micros

__all__ = ["Outcome"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One credited event.

    `kind` is click | conversion | reversal. `value` in minor units of `currency`, negative for a reversal.
    `position` is the place in the slate, from 0. `trusted` false means: shown, never learned from (money by write key,
    clicks that the bot check set aside). `subject` is the leaf that the event belongs to.
    """

    decision_id: str
    offer_id: str
    position: int
    kind: str
    event: str
    message_id: str
    order_id: str | None
    at: Micros
    value: int | None
    currency: str | None
    trusted: bool
    placement: str = ""
    subject: str = ""
