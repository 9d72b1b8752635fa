"""From calls to rows: identity present, clocks corrected, plan checked, money in minor units.

Pure: nothing is stored here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
from msgspec.structs import force_setattr

from vitrina.collect.bots import BotCheck
from vitrina.collect.dead_letters import DeadLetter, letter
from vitrina.collect.identifiers import erasure_key, is_junk, normal_email, normal_phone
from vitrina.collect.money_fields import Lifted, MoneyFlaw, lift
from vitrina.collect.segment_api import Delivery, Message
from vitrina.collect.tracking_plan import Plan
from vitrina.core.access import Source
from vitrina.core.clock import Micros
from vitrina.core.errors import UserError
from vitrina.core.event import Event
from vitrina.core.ids import hash16, subject_key
from vitrina.storage.journal import JournalRow

__all__ = ["LARGEST_EVENT", "Accepted", "Terms", "accept", "decode_event", "encode_event", "event_key", "event_row"]

LARGEST_EVENT = 32_768
"""Bytes of one event over HTTP, counted in the form in which it is stored."""

_DEEPEST = 64
_LONGEST = 255
_LAST = 253_402_300_799_000_000  # the end of the year 9999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_NAIVE = datetime(1970, 1, 1)  # noqa: DTZ001 a time without an offset is read as UTC
_ONE = timedelta(microseconds=1)
_NONE: dict[str, Any] = {}

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What acceptance depends on besides the calls themselves.

    Attributes:
        plan: the tracking plan.
        currency: of amounts that name none.
        erased: keys (`vitrina.collect.identifiers.erasure_key`) of people whose events are not taken any more.
        bots: the bot check for events by write key, or None.
        proves: whether a `userHash` belongs to a userId; without it no hash is looked at.
        largest: bytes above which an event is refused, 0 for no limit below the body's own.
    """

    plan: Plan
    currency: str = "EUR"
    erased: Collection[bytes] = frozenset()
    bots: BotCheck | None = None
    proves: Callable[[str, str | None], bool] | None = None
    largest: int = LARGEST_EVENT


class Accepted(msgspec.Struct):
    """What became of one delivery.

    Attributes:
        rows: rows for the journal of events; `item` is the `Event`.
        dead: refused calls.
        erased: calls dropped because their person was erased; nothing of them is kept.
    """

    rows: list[JournalRow]
    dead: list[DeadLetter]
    erased: int = 0


class _Refused(Exception):
    """A call that becomes a dead letter: code, place below the call, detail."""

    def __init__(self, code: str, where: str, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.where = where
        self.detail = detail


def encode_event(event: Event) -> bytes:
    """The canonical stored form of an event (JSON)."""
    return _encoder.encode(event)


def decode_event(body: bytes) -> Event:
    """The event of a stored body."""
    return _decoder.decode(body)


def event_key(event: Event) -> bytes:
    """The 16 bytes under which an event is known in the journal: a hash that names nobody."""
    return hash16(event.message_id, b"trusted" if event.trusted else b"public")


def event_row(event: Event) -> JournalRow:
    """The journal row of an event.

    Its id is a hash of the message id, in one name space for trusted sources and another for the rest: a page's write
    key can't take the message id of an order that the server is going to send.
    """
    return JournalRow(event_key(event), event.received_at, event.subject, _encoder.encode(event), event)


def accept(delivery: Delivery, source: Source, now: Micros, terms: Terms, *, gpc: bool = False) -> Accepted:
    """Turn a delivery into rows to store and dead letters.

    Args:
        delivery: what `vitrina.collect.segment_api.read` gave.
        source: whose key it came by; it decides on trust.
        now: when it was received, microseconds UTC.
        terms: plan, currency, erased people, bot check.
        gpc: the request carried Global Privacy Control.

    Raises:
        UserError: `identity.missing` when there are calls and not one of them names anybody.
    """
    accepted = Accepted([], [])
    for unread in delivery.dead:
        if terms.erased and unread.subject is not None and erasure_key(unread.subject) in terms.erased:
            accepted.erased += 1
        else:
            accepted.dead.append(unread)
    batch_sent = _micros(delivery.sent_at) if delivery.sent_at is not None else None
    rows = accepted.rows
    nameless = 0
    for message, place in zip(delivery.messages, delivery.places, strict=True):
        try:
            row = _row(message, place, delivery.context, batch_sent, source, now, terms, gpc)
            if row is None:
                accepted.erased += 1
            else:
                rows.append(row)
        except _Refused as refused:
            nameless += refused.code == "identity.missing"
            accepted.dead.append(_dead(message, place, refused))
    if nameless and nameless == len(delivery.messages) + len(delivery.dead):
        raise UserError(
            "nobody is named: there is neither `userId` nor `anonymousId`.",
            code="identity.missing",
            where="batch" if delivery.kind == "batch" else "userId",
            cure="Send at least one of them.",
        )
    return accepted


def _row(
    message: Message,
    place: int,
    shared: dict[str, Any] | None,
    batch_sent: Micros | None,
    source: Source,
    now: Micros,
    terms: Terms,
    gpc: bool,
) -> JournalRow | None:
    """The row of one call, or None when its person was erased."""
    user, anonymous = _identity(message)
    if terms.erased and _is_erased(user, anonymous, message, terms.erased):
        return None
    context = _context(message, shared, gpc)
    stated, context = _taken_out(message, context)
    proven = stated is not None and user is not None and _proves(stated, user, source, terms)
    occurred = _occurred(message, batch_sent, now)
    kind = message.type
    if kind == "track":
        name = _name(message.event)
        properties = message.properties or _NONE
        lifted, broken = _checked(name, properties, context, terms) if properties or terms.plan.picky else ((), None)
    elif kind is None:
        raise _Refused("event.unknown_type", "type", "no type is given")
    else:
        name = (message.name or "")[:_LONGEST]
        properties, lifted, broken = _other_properties(message), (), None
    event = Event(  # more than 15 keywords would be packed into a dict first, which costs as much again
        message_id=_message_id(message, place, now),
        type=kind,
        name=name,
        user_id=user,
        anonymous_id=anonymous,
        occurred_at=occurred,
        received_at=now,
        available_at=now,
        source=source.name,
        trusted=source.trusted,
        properties=properties,
        traits=message.traits or _NONE,
        context=context,
    )
    for field, value in lifted:
        force_setattr(event, field, value)  # nobody else has seen it yet
    if broken is not None:
        force_setattr(event, "violation", broken.violation)
        force_setattr(event, "quarantined", broken.mode == "quarantine")
    if proven:
        force_setattr(event, "proven", True)
    subject = f"u:{user}" if user is not None else f"a:{anonymous}"
    bots = terms.bots
    if bots is not None and not source.trusted and bots.suspects(name, subject, context, now):
        force_setattr(event, "quarantined", True)
    return _fitting(event, subject, terms.largest)


def _fitting(event: Event, subject: str, largest: int) -> JournalRow:
    """The row of an event that is neither too large nor nested too deeply."""
    try:
        body = _encoder.encode(event)
    except RecursionError:
        raise _Refused("event.too_deep", "") from None
    if largest and len(body) > largest:
        raise _Refused("event.too_large", "", f"{len(body)} bytes")
    if body.count(b"{") + body.count(b"[") > _DEEPEST and _too_deep(event):
        raise _Refused("event.too_deep", "")
    return JournalRow(event_key(event), event.received_at, subject, body, event)


def _too_deep(event: Event) -> bool:
    level: list[object] = [event.properties, event.traits, event.context]
    for _ in range(_DEEPEST):
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                below += cast("dict[str, object]", value).values()
            elif isinstance(value, list):
                below += cast("list[object]", value)
        if not below:
            return False
        level = below
    return True


def _identity(message: Message) -> tuple[str | None, str | None]:
    """The userId and anonymousId; a placeholder counts as absent."""
    given = message.user_id
    user = None if given is None or given == "" else _usable(given, "userId")
    given = message.anonymous_id
    anonymous = None if given is None or given == "" else _usable(given, "anonymousId")
    if user is not None and is_junk(user):
        user = None
    if anonymous is not None and is_junk(anonymous):
        anonymous = None
    if user is None and anonymous is None:
        if message.user_id in (None, "") and message.anonymous_id in (None, ""):
            raise _Refused("identity.missing", "userId")
        raise _Refused("identity.junk", "userId" if message.user_id else "anonymousId")
    return user, anonymous


def _usable(given: str | int, field: str) -> str | None:
    identifier = (given if type(given) is str else str(given)).strip()
    if len(identifier) > _LONGEST or not identifier.isprintable():
        raise _Refused("identity.unusable", field)
    return identifier or None


def _is_erased(user: str | None, anonymous: str | None, message: Message, erased: Collection[bytes]) -> bool:
    """Whether any identifier that the call names is an erased person's."""
    if user and erasure_key(f"u:{user}") in erased:
        return True
    if anonymous and erasure_key(f"a:{anonymous}") in erased:
        return True
    if message.previous_id is not None and erasure_key(f"a:{message.previous_id}") in erased:
        return True
    if not message.traits:
        return False
    email, phone = message.traits.get("email"), message.traits.get("phone")
    address = normal_email(email) if isinstance(email, str) else None
    number = normal_phone(phone) if isinstance(phone, str) else None
    return (address is not None and erasure_key(f"e:{address}") in erased) or (
        number is not None and erasure_key(f"p:{number}") in erased
    )


def _context(message: Message, shared: dict[str, Any] | None, gpc: bool) -> dict[str, Any]:
    context = message.context or _NONE
    if shared:
        context = {**shared, **context}
    if gpc:
        context = {**context, "globalPrivacyControl": True}
    return context


def _taken_out(message: Message, context: dict[str, Any]) -> tuple[object, dict[str, Any]]:
    """The `userHash` of a call or its context, and the context without: no reader of events may make use of it."""
    if "userHash" not in context:
        return message.user_hash, context
    inner = context["userHash"]
    return message.user_hash or inner, {key: value for key, value in context.items() if key != "userHash"}


def _proves(stated: object, user: str, source: Source, terms: Terms) -> bool:
    """Whether a page proved whose call this is; a server needs no proof, so what it sends beside is not looked at."""
    if source.trusted or terms.proves is None:
        return False
    if not terms.proves(user, stated if isinstance(stated, str) else None):
        raise _Refused("identity.hash", "userHash")
    return True


def _micros(value: datetime) -> Micros:
    return (value - (_EPOCH if value.tzinfo is not None else _EPOCH_NAIVE)) // _ONE


def _occurred(message: Message, batch_sent: Micros | None, now: Micros) -> Micros:
    """Received − (sent − original), never later than received."""
    original = message.original_timestamp or message.timestamp
    if original is None:
        return now
    occurred = _micros(original)
    sent = _micros(message.sent_at) if message.sent_at is not None else batch_sent
    if sent is not None:
        occurred = now - (sent - occurred)
    if occurred >= now:
        return now
    if occurred < 0:
        raise _Refused("time.range", "timestamp", str(original))
    return occurred


def _name(event: str | None) -> str:
    if not event:
        raise _Refused("event.name_missing", "event")
    if len(event) > _LONGEST:
        raise _Refused("event.name_long", "event")
    return event


class _Broken(msgspec.Struct, frozen=True):
    """How a call that is stored contradicts the plan, as it stands on the event, and what becomes of it."""

    violation: str
    mode: str


_ITSELF = {"plan.version": "context.protocols.event_version", "plan.event": "event"}
_INDEX = re.compile(r"\[\d+\]")


def _checked(
    name: str, properties: dict[str, Any], context: dict[str, Any], terms: Terms
) -> tuple[Lifted, _Broken | None]:
    """What is lifted out of the properties, and how they contradict the plan where it lets that pass."""
    version = None
    protocols: object = context.get("protocols")
    if isinstance(protocols, dict):
        stated: object = cast("dict[str, object]", protocols).get("event_version")
        version = stated if isinstance(stated, int) else None
    problem = terms.plan.check(name, properties, version)
    broken = None
    if problem is not None:
        mode = terms.plan.mode_of(name, version)
        where = f"properties.{problem.path}" if problem.path else _ITSELF[problem.code]
        if mode == "block":
            raise _Refused(problem.code, where, f"expected {problem.expected}, found {problem.found}")
        broken = _Broken(f"{problem.code} {_INDEX.sub('[]', where)}", mode)
    try:
        return lift(name, properties, terms.currency), broken
    except MoneyFlaw as flaw:
        if broken is not None and broken.mode == "quarantine":
            return (), broken  # it counts nowhere, so amounts that can't be read do no harm
        raise _Refused(flaw.code, f"properties.{flaw.where}", flaw.detail) from None


def _other_properties(message: Message) -> dict[str, Any]:
    properties = message.properties or _NONE
    if message.type == "group" and message.group_id is not None:
        return {**properties, "groupId": str(message.group_id)}
    if message.type == "alias" and message.previous_id is not None:
        return {**properties, "previousId": str(message.previous_id)}
    return properties


def _message_id(message: Message, place: int, now: Micros) -> str:
    """The sender's id; without one a hash of the content, which makes a repeat harmless only if the call has a time."""
    given = message.message_id
    if given is not None and given != "":
        return given if type(given) is str else str(given)
    seed = _encoder.encode(message)
    if message.timestamp is None and message.original_timestamp is None:
        seed += f"{now}/{place}".encode()
    return "h-" + hash16(seed.decode(), b"content").hex()


def _dead(message: Message, place: int, refused: _Refused) -> DeadLetter:
    where = f"batch[{place}]" if place >= 0 else ""
    user, anonymous = message.user_id, message.anonymous_id
    try:
        body = _encoder.encode(message)
    except RecursionError:
        body = b""
    return letter(
        refused.code,
        f"{where}.{refused.where}".strip("."),
        refused.detail,
        subject=subject_key(str(user) if user else None, str(anonymous)) if user or anonymous else None,
        message_id=None if message.message_id is None else str(message.message_id),
        body=body,
    )
