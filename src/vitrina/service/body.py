"""Reading a request's body within bounds: of bytes on the wire, and of bytes after gzip."""

from __future__ import annotations

import zlib
from typing import Any

from vitrina.core.errors import UserError

__all__ = ["BodyTooLargeError", "inflate", "read"]

_GZIP = 16 + zlib.MAX_WBITS
_DRAIN = 16  # chunks of a refused body that are read and thrown away, so that the sender gets to see the answer


class BodyTooLargeError(UserError):
    """More bytes than this route takes (HTTP 413)."""

    status = 413


def _too_large(limit: int, what: str) -> BodyTooLargeError:
    size = f"{limit // 1_000_000} MB" if limit >= 1_000_000 else f"{limit // 1000} KB"
    return BodyTooLargeError(
        f"the body is larger than {size} {what}.", code="body.large", where="body", cure="Send it in smaller parts."
    )


async def read(receive: Any, headers: dict[bytes, bytes], wire_limit: int, inflated_limit: int) -> bytes:
    """The whole body, gunzipped where `content-encoding` says so.

    Args:
        receive: the ASGI callable.
        headers: of the request, names in lower case.
        wire_limit: bytes as sent.
        inflated_limit: bytes after gzip; decompression stops there.

    Raises:
        BodyTooLargeError: above either limit.
        UserError: unreadable gzip, another encoding, or the sender went away.
    """
    announced = headers.get(b"content-length", b"0")
    if len(announced) > 15 or not announced.isdigit() or int(announced) > wire_limit:
        await _drain(receive)
        raise _too_large(wire_limit, "on the wire")
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        body = await _rest(receive, body, wire_limit)
    if len(body) > wire_limit:
        raise _too_large(wire_limit, "on the wire")
    encoding = headers.get(b"content-encoding")
    if encoding is None or encoding == b"identity":
        return body
    if encoding.lower() not in (b"gzip", b"x-gzip"):
        raise UserError(
            f"the content encoding {encoding.decode('latin-1')} is not known here.",
            code="body.encoding",
            where="content-encoding",
            cure="Use gzip, or none.",
        )
    return inflate(body, inflated_limit)


async def _rest(receive: Any, first: bytes, wire_limit: int) -> bytes:
    parts, size = [first], len(first)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise UserError("the sender went away in the middle of the body.", code="body.cut", where="body")
        part = message.get("body", b"")
        size += len(part)
        if size > wire_limit:
            if message.get("more_body"):
                await _drain(receive)
            raise _too_large(wire_limit, "on the wire")
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def _drain(receive: Any) -> None:
    for _ in range(_DRAIN):
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return


def inflate(packed: bytes, limit: int) -> bytes:
    """Gunzip at most `limit` bytes.

    Raises:
        BodyTooLargeError: there is more than that.
        UserError: this is not gzip, or it is cut off.
    """
    out, rest = bytearray(), packed
    try:
        while rest:
            member = zlib.decompressobj(_GZIP)
            out += member.decompress(rest, limit - len(out) + 1)
            if len(out) > limit:
                raise _too_large(limit, "after gzip")
            if not member.eof:
                raise UserError(
                    "the gzip body is cut off.", code="body.gzip", where="body", cure="Send it again, whole."
                )
            rest = member.unused_data.lstrip(b"\0")
    except zlib.error:
        raise UserError(
            "the body is said to be gzip but can't be unpacked.",
            code="body.gzip",
            where="content-encoding",
            cure="Pack it with gzip, or leave the header out.",
        ) from None
    if not packed:
        raise UserError("the gzip body is empty.", code="body.gzip", where="body", cure="Send one JSON object.")
    return bytes(out)
