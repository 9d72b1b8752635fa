"""The wire format of Segment's HTTP Tracking API, read in one call; event by event only when that fails.

Source: Segment, "HTTP Tracking API Source" and "Spec: Common Fields". Of duplicate keys in one object the last wins.
Times without an offset are read as UTC.
"""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any, Literal, cast

import msgspec

from vitrina.collect.dead_letters import DeadLetter, letter
from vitrina.core.errors import UserError

__all__ = ["KINDS", "BatchBody", "CallBody", "Delivery", "Message", "MessageType", "read"]

MessageType = Literal["track", "identify", "page", "screen", "group", "alias"]

KINDS = ("batch", "track", "identify", "page", "screen", "group", "alias")
"""What a body may be: a batch, or one call of the type named."""

_TYPES = frozenset(KINDS[1:])
_DEEPEST = 64


class Message(msgspec.Struct, rename="camel", kw_only=True, gc=False, omit_defaults=True):
    """One call as sent. Unknown keys are ignored; numbers are taken as ids."""

    type: MessageType | None = None
    message_id: str | int | None = None
    user_id: str | int | None = None
    user_hash: str | None = None
    anonymous_id: str | int | None = None
    previous_id: str | int | None = None
    group_id: str | int | None = None
    event: str | None = None
    name: str | None = None
    category: str | None = None
    timestamp: datetime | None = None
    original_timestamp: datetime | None = None
    sent_at: datetime | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: dict[str, Any] | None = None


class BatchBody(msgspec.Struct, rename="camel"):
    """The body of `/v1/batch`. Unknown keys are ignored."""

    batch: list[Message]
    sent_at: datetime | None = None
    context: dict[str, Any] | None = None
    write_key: str | None = None


class CallBody(Message, rename="camel", kw_only=True, gc=False):
    """The body of a single call, such as `/v1/track`. Unknown keys are ignored."""

    write_key: str | None = None


class Delivery(msgspec.Struct):
    """What one request brought.

    Attributes:
        kind: one of `KINDS`.
        messages: the calls that could be read.
        places: where each stood: its index in the batch, or −1 for a single call.
        sent_at: when the client sent the batch, by its own clock.
        context: context of the whole batch; a message's own keys win.
        write_key: key in the body, if any.
        dead: calls that could not be read.
    """

    kind: str
    messages: list[Message]
    places: list[int]
    sent_at: datetime | None = None
    context: dict[str, Any] | None = None
    write_key: str | None = None
    dead: list[DeadLetter] = []


_batch = msgspec.json.Decoder(BatchBody)
_single = msgspec.json.Decoder(CallBody)


def read(body: bytes, kind: str) -> Delivery:
    """The calls in a request body.

    Args:
        body: JSON, UTF-8, already inflated.
        kind: one of `KINDS`; a single call is of this type whatever it says itself.

    Raises:
        UserError: `json.unreadable` when it isn't JSON (with line and column), `json.shape` when it isn't an object or
            a batch lacks its list. Faults inside single calls become dead letters instead.
    """
    try:
        if kind == "batch":
            batch = _batch.decode(body)
            calls = batch.batch
            return Delivery(kind, calls, list(range(len(calls))), batch.sent_at, batch.context, batch.write_key)
        single = _single.decode(body)
        single.type = cast(MessageType, kind)
        return Delivery(kind, [single], [-1], write_key=single.write_key)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _one_by_one(body, kind)


def _one_by_one(body: bytes, kind: str) -> Delivery:
    document = _document(body)
    key = document.get("writeKey")
    delivery = Delivery(kind, [], [], write_key=key if isinstance(key, str) else None)
    if kind != "batch":
        document["type"] = kind
        _keep(delivery, document, -1)
        return delivery
    items = document.get("batch")
    if not isinstance(items, list):
        raise UserError(
            "a batch needs a list of calls.", code="json.shape", where="batch", cure='Send {"batch": [...]}.'
        )
    context = document.get("context")
    if isinstance(context, dict) and _flaw(cast("dict[str, Any]", context)) is None:
        delivery.context = cast("dict[str, Any]", context)
    try:
        delivery.sent_at = msgspec.convert(document.get("sentAt"), datetime | None)
    except msgspec.ValidationError as error:
        delivery.dead.append(letter("batch.sent_at", "sentAt", str(error)))
    for index, item in enumerate(cast("list[object]", items)):
        _keep(delivery, item, index)
    return delivery


def _keep(delivery: Delivery, item: object, index: int) -> None:
    """Add one parsed call to the messages, or its dead letter."""
    prefix = f"batch[{index}]" if index >= 0 else ""
    flaw = _flaw(item)
    if flaw is None:
        try:
            delivery.messages.append(msgspec.convert(item, Message))
            delivery.places.append(index)
            return
        except msgspec.ValidationError as error:
            flaw = _type_flaw(str(error), item)
    code, path, detail = flaw
    delivery.dead.append(
        letter(
            code,
            (prefix + path).lstrip("."),
            detail,
            subject=_subject(item),
            message_id=_text(item, "messageId"),
            body=_dump(item),
        )
    )


def _type_flaw(message: str, item: object) -> tuple[str, str, str]:
    detail, _, path = message.partition(" - at `$")
    path = path.rstrip("`")
    if path == ".type" and isinstance(item, dict):
        return "event.unknown_type", path, f"{cast('dict[str, Any]', item)['type']!r}"[:200]
    return "event.type", path, detail


def _text(item: object, key: str) -> str | None:
    value = cast("dict[str, Any]", item).get(key) if isinstance(item, dict) else None
    return _clean(str(value)) if isinstance(value, (str, int)) and not isinstance(value, bool) else None


def _subject(item: object) -> str | None:
    user, anonymous = _text(item, "userId"), _text(item, "anonymousId")
    return f"u:{user}" if user else f"a:{anonymous}" if anonymous else None


def _clean(text: str) -> str:
    """The text with halves of surrogate pairs made visible, so that it can be stored."""
    return text.encode("utf-8", "backslashreplace").decode()


def _dump(item: object) -> bytes:
    """The call as JSON, with NaN and Infinity as text; nothing when it is nested too deeply for that."""
    try:
        return json.dumps(json.loads(json.dumps(item), parse_constant=str)).encode()
    except (RecursionError, ValueError):
        return b""


def _document(body: bytes) -> dict[str, Any]:
    """The body by a tolerant parser: NaN, halves of surrogate pairs and wrong bytes pass, to be found later."""
    text = body.decode("utf-8-sig", "surrogateescape")
    try:
        document: object = json.loads(text, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise UserError(
            f"this is not JSON: {error.msg}.",
            code="json.unreadable",
            where=f"line {error.lineno}, column {error.colno}",
            cure="Correct the body; a client library encodes it for you.",
        ) from None
    except RecursionError:
        raise UserError(
            "this JSON is nested too deeply to be read.",
            code="json.unreadable",
            cure=f"Keep nesting below {_DEEPEST} levels.",
        ) from None
    if not isinstance(document, dict):
        raise UserError(
            "the body has to be a JSON object.", code="json.shape", cure='Send {"batch": [...]} or one call.'
        )
    return cast("dict[str, Any]", document)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 300 else math.inf


def _flaw(item: object) -> tuple[str, str, str] | None:
    """The first thing in a parsed call that can't be stored: code, path, detail."""
    waiting: list[tuple[object, str, int]] = [(item, "", 0)]
    while waiting:
        value, path, depth = waiting.pop()
        code = _value_flaw(value, depth)
        if code is not None:
            return code, _clean(path)[:200], ""
        if isinstance(value, dict):
            for key, inner in cast("dict[str, object]", value).items():
                if not _encodable(key):
                    return "event.surrogate", _clean(f"{path}.{key}"), "in the name of the field"
                waiting.append((inner, f"{path}.{key}", depth + 1))
        elif isinstance(value, list):
            waiting += [(inner, f"{path}[{i}]", depth + 1) for i, inner in enumerate(cast("list[object]", value))]
    return None


def _value_flaw(value: object, depth: int) -> str | None:
    if depth > _DEEPEST:
        return "event.too_deep"
    if isinstance(value, float) and not math.isfinite(value):
        return "event.not_finite"
    if isinstance(value, str) and not _encodable(value):
        return "event.surrogate"
    return None


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
