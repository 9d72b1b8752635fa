"""The routes that must be fast, as bare ASGI: no framework between the socket and the loop.

Each is an `async (scope, receive, send)` callable. `vitrina.service.front` looks at the path and hands everything else
to the Litestar app, which also publishes them in its OpenAPI document (`vitrina.service.openapi`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from vitrina.core.errors import VitrinaError
from vitrina.service import problem
from vitrina.service.exchange import exchange_of

__all__ = ["ANYONE", "App", "answer", "answer_error", "answer_preflight", "answer_problem"]

App = Callable[[Any, Any, Any], Awaitable[None]]

_LOG = logging.getLogger("vitrina.service")
_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", problem.PROBLEM_TYPE.encode())
ANYONE: dict[str, str] = {"access-control-allow-origin": "*", "access-control-expose-headers": "retry-after"}
"""What lets pages of other sites read an answer, and when to try again; keys stand in headers, never in cookies."""

_ANYONE = [(name.encode(), value.encode()) for name, value in ANYONE.items()]
_NO_STORE = (b"cache-control", b"no-store")
_PREFLIGHT = [
    *_ANYONE,
    (b"access-control-allow-methods", b"POST, OPTIONS"),
    # Clients add headers of their own when they repeat a call (X-Retry-Count); * doesn't stand for authorization.
    (b"access-control-allow-headers", b"authorization, content-type, content-encoding, x-retry-count, *"),
    (b"access-control-max-age", b"86400"),
    (b"content-length", b"0"),
]
_encode = msgspec.json.Encoder().encode


async def answer(send: Any, status: int, body: bytes) -> None:
    """A JSON answer."""
    headers = [_JSON, (b"content-length", b"%d" % len(body)), *_ANYONE, _NO_STORE]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answer_problem(scope: Any, send: Any, document: problem.Problem, extra: dict[str, str]) -> None:
    """A problem document with the request's id; `extra` are more headers."""
    exchange = exchange_of(scope)
    exchange.code = document.code
    body = _encode(problem.of_request(document, exchange.request_id))
    headers = [_PROBLEM, (b"content-length", b"%d" % len(body)), _NO_STORE]
    if exchange.hot:
        headers += _ANYONE
    headers += [(name.encode(), value.encode()) for name, value in extra.items()]
    if document.status == 401:
        headers.append((b"www-authenticate", b'Basic realm="vitrina"'))
    if document.status == 413:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": document.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answer_error(scope: Any, send: Any, error: Exception, *, overloaded: int) -> None:
    """The problem document of whatever went wrong; what isn't the caller's mistake is logged."""
    if isinstance(error, VitrinaError):
        document = problem.from_error(error, overloaded=overloaded)
        await answer_problem(scope, send, document, problem.headers_of(error))
    elif isinstance(error, msgspec.DecodeError):
        await answer_problem(scope, send, problem.from_validation(error), {})
    else:
        _LOG.error("a request failed", exc_info=error)  # the log adds its id
        await answer_problem(scope, send, problem.unexpected(), {})


async def answer_preflight(send: Any) -> None:
    """What a browser asks before a page of another site may send something."""
    await send({"type": "http.response.start", "status": 204, "headers": _PREFLIGHT})
    await send({"type": "http.response.body", "body": b""})
