"""A dead letter as people and programs see it: what was refused, why, and what became of it."""

from __future__ import annotations

import msgspec

from vitrina.core.clock import Micros

__all__ = ["STATUSES", "Letter", "LetterFilter", "Replayed", "Violation"]

STATUSES: dict[str, str] = {
    "waiting": "nobody has dealt with it yet",
    "replayed": "it was replayed, as it was or corrected; it can't be replayed again",
    "discarded": "it was put away; until it is deleted this can be undone",
}
"""What can become of a dead letter."""


class Letter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One refused call. Times in microseconds UTC.

    Attributes:
        id: its number.
        refused_at: when it came and was refused.
        source: name of the key it came by; `trusted` says whether that key is trusted with money.
        event: name of the event, or the type of the call.
        code, where, cause, cure: what is wrong, where, and what to do.
        message_id: the sender's id, or None.
        status: one of `STATUSES`; `changed_at` and `changed_by` say since when and by whom.
        body: the call as it was read (JSON), cut where it was too long; "" in lists.
    """

    id: int
    refused_at: Micros
    source: str
    trusted: bool
    event: str
    code: str
    where: str
    cause: str
    cure: str
    message_id: str | None
    status: str
    changed_at: Micros | None = None
    changed_by: str | None = None
    body: str = ""


class LetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters are asked for; "" and None ask for all.

    Attributes:
        status: one of `STATUSES`.
        code, event, source: exactly this one.
        before: only those with a smaller number (the next page).
    """

    status: str = ""
    code: str = ""
    event: str = ""
    source: str = ""
    before: int | None = None


class Replayed(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came of a replay. `stored` is False when an event with this `message_id` had been stored already."""

    id: int
    status: str
    stored: bool
    message_id: str


class Violation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How often an event contradicts the tracking plan in one way.

    Attributes:
        event: its name.
        code: how, such as plan.type.
        where: the property; `[]` stands for any place in a list.
        mode: what became of those events: observe (they count) | quarantine (set aside) | block (dead letters).
        count: how many events.
    """

    event: str
    code: str
    where: str
    mode: str
    count: int
