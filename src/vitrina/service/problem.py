"""Errors on the wire: problem documents (RFC 9457) that name the field at fault and say what to do."""

from __future__ import annotations

import re
from http import HTTPStatus

import msgspec

from vitrina.core.errors import MachineError, OverloadedError, VitrinaError
from vitrina.service.limits import RateLimitedError

__all__ = [
    "PROBLEM_TYPE",
    "Problem",
    "from_error",
    "from_validation",
    "headers_of",
    "make",
    "of_request",
    "unexpected",
]

PROBLEM_TYPE = "application/problem+json"


_NAMED = re.compile(r"(?:missing required|unknown) field `(.+?)`")


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A problem document.

    Attributes:
        type: `urn:vitrina:` and the code.
        title: the status in words.
        status: HTTP status.
        detail: what is wrong, as a sentence.
        code: stable code, `area.cause`.
        field: the field, header or route at fault.
        cure: what to do about it.
        request_id: id of the request, as in the header `X-Request-Id` and in the server's log.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str = ""
    cure: str = ""
    request_id: str = ""


def of_request(document: Problem, request_id: bytes) -> Problem:
    """The problem document of one request."""
    return msgspec.structs.replace(document, request_id=request_id.decode("latin-1"))


def make(status: int, code: str, detail: str, *, field: str = "", cure: str = "") -> Problem:
    """A problem document with the title that belongs to its status."""
    title = HTTPStatus(status).phrase
    return Problem(
        type=f"urn:vitrina:{code}", title=title, status=status, detail=detail, code=code, field=field, cure=cure
    )


def from_error(error: VitrinaError, *, overloaded: int = 503) -> Problem:
    """The problem document of an error; a full queue gets `overloaded`: 429 for events, 503 for decisions."""
    status = overloaded if isinstance(error, OverloadedError) else error.status
    return make(status, error.code, _sentence(error.message), field=error.where, cure=error.cure)


def from_validation(error: msgspec.DecodeError, code: str = "body") -> Problem:
    """The problem document of JSON that can't be read (`.unreadable`) or isn't what it should be (`.invalid`)."""
    text, _, path = str(error).partition(" - at `")
    field = path.rstrip("`").removeprefix("$").removeprefix(".").removeprefix("data").removeprefix(".")
    named = _NAMED.search(text)
    if named:
        field = f"{field}.{named[1]}".removeprefix(".")
    if isinstance(error, msgspec.ValidationError):
        cure = "See /schema/openapi.json for what this route takes."
        return make(400, f"{code}.invalid", _sentence(text), field=field or "body", cure=cure)
    return make(400, f"{code}.unreadable", _sentence(text), field="body", cure="Send one JSON object in UTF-8.")


def unexpected() -> Problem:
    """The problem document of a fault of ours; the cause is in the server's log, not in the answer."""
    return make(
        500, "server.fault", "Something went wrong here.", cure="Try again; if it stays, look into the server's log."
    )


def headers_of(error: VitrinaError) -> dict[str, str]:
    """`Retry-After` where trying again makes sense."""
    if isinstance(error, OverloadedError | RateLimitedError):
        return {"retry-after": str(error.retry_after)}
    return {"retry-after": "5"} if isinstance(error, MachineError) else {}


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else text + "."
