"""Dead letters: what was refused, where it stood, why, and what cures it. Nothing is dropped in silence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec
from sqlalchemy import Connection, delete, select

from vitrina.collect.tables import dead_letter
from vitrina.core.access import Source
from vitrina.core.clock import Micros

if TYPE_CHECKING:
    from vitrina.collect.segment_api import Delivery

__all__ = ["CODES", "DeadLetter", "delete_letters", "letter", "letter_rows", "plain_text", "store_letters"]

_BODY = 65_536
_MOST = 8_000_000
_LONGEST = 255
_ASKED = 500

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
    "identity.hash": (
        "the `userHash` does not belong to this userId",
        "Make it on your server: hex HMAC-SHA-256 of the userId with the identity secret, or leave it out.",
    ),
    "time.range": (
        "the time lies before 1970 or beyond the year 9999",
        "Correct `timestamp`, `originalTimestamp` or `sentAt`.",
    ),
    "plan.type": ("a property has another type than the tracking plan gives it", "Send the type that the plan names."),
    "plan.version": ("the tracking plan has no such version of this event", "Name a version that the plan holds."),
    "plan.missing": ("a property that the tracking plan requires is not there", "Send it, or make it optional."),
    "plan.unplanned": (
        "the tracking plan gives this event no such property",
        "Leave the property out, or add it to the plan.",
    ),
    "plan.event": ("the tracking plan doesn't know this event", "Correct its name, or add it to the plan."),
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


def letter_rows(
    letters: Sequence[DeadLetter], delivery: Delivery, source: Source, now: Micros, *, gpc: bool = False
) -> list[dict[str, Any]]:
    """Rows of the table `dead_letter`, each complete enough to be replayed alone.

    What the batch said for all of its calls (context, `sentAt`, Global Privacy Control) is put into each body, a call's
    own words first; a delivery may blow up that way to `_MOST` bytes, beyond which bodies are kept as they came.

    Args:
        letters: what was refused.
        delivery: what it came in.
        source: whose key it came by.
        now: when it was refused, microseconds UTC.
        gpc: the request carried Global Privacy Control.
    """
    rows: list[dict[str, Any]] = []
    room = _MOST
    for letter in letters:
        body, event = _complete(letter.body, delivery, gpc, room)
        room -= len(body)
        rows.append(
            {
                "at": now,
                "source": source.name,
                "trusted": source.trusted,
                "code": letter.code,
                "place": letter.where,
                "cause": letter.cause,
                "cure": letter.cure,
                "subject": letter.subject,
                "message_id": letter.message_id,
                "event": event,
                "body": body,
            }
        )
    return rows


def _complete(body: bytes, delivery: Delivery, gpc: bool, room: int) -> tuple[bytes, str]:
    """The body of a call with what its batch said for all, and what the call is about."""
    try:
        call: object = json.loads(body)
    except (ValueError, RecursionError):
        return body, ""
    if not isinstance(call, dict):
        return body, ""
    stated = cast("dict[str, Any]", call)
    name = next((stated[key] for key in ("event", "type") if isinstance(stated.get(key), str)), "")
    own = stated.get("context")
    if own is None or isinstance(own, dict):
        context = {**(delivery.context or {}), **cast("dict[str, Any]", own or {})}
        if gpc:
            context["globalPrivacyControl"] = True
        if context:
            stated["context"] = context
    if delivery.sent_at is not None:
        stated.setdefault("sentAt", delivery.sent_at.isoformat())
    whole = json.dumps(stated).encode()
    return (whole if len(whole) <= min(_BODY, room) else body), plain_text(name)[:_LONGEST]


def plain_text(text: str) -> str:
    """Text that every database and terminal takes: halves of surrogate pairs and NUL are made visible."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def store_letters(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Write dead letters (see `letter_rows`) in the caller's transaction; one that a sender repeats is kept once."""
    kept = _kept(connection, {row["message_id"] for row in rows} - {None})
    fresh: list[dict[str, Any]] = []
    for row in rows:
        key = row["message_id"], row["code"], row["source"]
        if row["message_id"] is None or key not in kept:
            kept.add(key)
            fresh.append(row)
    if fresh:
        connection.execute(dead_letter.insert(), fresh)


def _kept(connection: Connection, message_ids: set[str]) -> set[tuple[str, str, str]]:
    """Which of these messages have a letter, by what makes a letter the same."""
    columns, names = (dead_letter.c.message_id, dead_letter.c.code, dead_letter.c.source), sorted(message_ids)
    found: set[tuple[str, str, str]] = set()
    for start in range(0, len(names), _ASKED):
        query = select(*columns).where(dead_letter.c.message_id.in_(names[start : start + _ASKED]))
        found.update((row.message_id, row.code, row.source) for row in connection.execute(query))
    return found


def delete_letters(connection: Connection, before: Micros) -> int:
    """Delete dead letters refused before an instant (retention). Gives how many."""
    return connection.execute(delete(dead_letter).where(dead_letter.c.at < before)).rowcount
