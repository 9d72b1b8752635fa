"""Dead letters: what was refused, where it stood, why, and what cures it. Nothing is dropped in silence."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, delete

from vitrina.collect.tables import dead_letter
from vitrina.core.clock import Micros

__all__ = ["CODES", "DeadLetter", "delete_letters", "letter", "store_letters"]

_BODY = 65_536

CODES: dict[str, tuple[str, str]] = {
    "event.type": (
        "a field has another type than the Segment specification gives it",
        "Send the type that is named, or leave the field out.",
    ),
    "event.not_finite": (
        "NaN, Infinity or a number beyond 1.8e308 is not a value",
        "Send null or leave the field out.",
    ),
    "event.surrogate": (
        "text holds half of a surrogate pair or a byte that is not UTF-8",
        "Encode text as UTF-8 and cut it between characters.",
    ),
    "event.too_deep": ("objects are nested too deeply", "Keep nesting below 64 levels."),
    "event.too_large": (
        "the event is larger than 32 KB",
        "Send less; put large content elsewhere and send its address.",
    ),
    "event.unknown_type": (
        "the type is none of track, identify, page, screen, group, alias",
        "Name one of these types.",
    ),
    "event.name_missing": ("a track call needs a name in `event`", "Name what happened, for example Product Viewed."),
    "event.name_long": ("the name of the event is longer than 255 characters", "Use a short, fixed name."),
    "batch.sent_at": (
        "`sentAt` of the batch is not a time, so clocks were not corrected",
        "Write it like 2026-05-01T12:00:00.000Z.",
    ),
    "identity.missing": ("neither `userId` nor `anonymousId` is given", "Send at least one of them."),
    "identity.junk": (
        "the identifier is a placeholder that many people would share",
        "Send the person's own id, or only an anonymousId.",
    ),
    "identity.unusable": (
        "an identifier is longer than 255 characters or holds a control character",
        "Send the plain identifier.",
    ),
    "time.range": (
        "the time lies before 1970 or beyond the year 9999",
        "Correct `timestamp`, `originalTimestamp` or `sentAt`.",
    ),
    "plan.type": ("a property has another type than the tracking plan gives it", "Send the type that the plan names."),
    "plan.version": ("the tracking plan has no such version of this event", "Name a version that the plan holds."),
    "money.negative": (
        "an amount is negative",
        "Send amounts of orders and refunds as positive numbers; take money back with Order Refunded.",
    ),
    "money.currency": ("the currency is not an ISO 4217 code", "Send three letters, for example EUR."),
    "money.amount": ("an amount can't be read or is beyond 10^15", 'Send a number or text such as "12.50".'),
}
"""Every code, what it means, and the cure."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One refused event.

    Attributes:
        code: stable code, one of `CODES`.
        where: place of the fault, for example `batch[3].properties.price`.
        cause: what is wrong there, as a sentence.
        cure: what to do about it.
        subject: leaf the event would have belonged to, or None when it names nobody.
        message_id: the sender's id, if any.
        body: the event as read, JSON, at most 64 KB.
    """

    code: str
    where: str
    cause: str
    cure: str
    subject: str | None = None
    message_id: str | None = None
    body: bytes = b""


def letter(
    code: str,
    where: str,
    detail: str = "",
    *,
    subject: str | None = None,
    message_id: str | None = None,
    body: bytes = b"",
) -> DeadLetter:
    """A dead letter whose cause and cure come from `CODES`; `detail` says more about this one."""
    cause, cure = CODES[code]
    return DeadLetter(
        code=code,
        where=where,
        cause=f"{cause}: {detail}" if detail else cause,
        cure=cure,
        subject=subject,
        message_id=message_id,
        body=body[:_BODY],
    )


def store_letters(connection: Connection, letters: Sequence[DeadLetter], source: str, now: Micros) -> None:
    """Write dead letters in the caller's transaction."""
    if letters:
        connection.execute(
            dead_letter.insert(),
            [
                {
                    "at": now,
                    "source": source,
                    "code": letter.code,
                    "place": letter.where,
                    "cause": letter.cause,
                    "cure": letter.cure,
                    "subject": letter.subject,
                    "message_id": letter.message_id,
                    "body": letter.body,
                }
                for letter in letters
            ],
        )


def delete_letters(connection: Connection, before: Micros) -> int:
    """Delete dead letters refused before an instant (retention). Gives how many."""
    return connection.execute(delete(dead_letter).where(dead_letter.c.at < before)).rowcount
