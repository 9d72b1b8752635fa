"""The routes that must be fast, as bare ASGI: no framework between the socket and the loop.

Each is an `async (scope, receive, send)` callable. `HotRoutes` looks at the path and hands everything else to the
Litestar app, which also publishes them in its OpenAPI document (`vitrina.service.openapi`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

import msgspec

from vitrina.core.errors import VitrinaError
from vitrina.core.meter import OTHER
from vitrina.service import problem
from vitrina.service.logs import REQUEST, new_request_id
from vitrina.service.meter import RequestMeter

if TYPE_CHECKING:
    from vitrina.workspace import Tracing

__all__ = ["ANYONE", "App", "HotRoutes", "answer", "answer_error", "answer_problem"]

App = Callable[[Any, Any, Any], Awaitable[Any]]
"""An ASGI application; a hot one gives the status that it answered with."""

_LOG = logging.getLogger("vitrina.service")
_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", problem.PROBLEM_TYPE.encode())
ANYONE: dict[str, str] = {"access-control-allow-origin": "*", "access-control-expose-headers": "retry-after"}
"""What lets pages of other sites read an answer, and when to try again; keys stand in headers, never in cookies."""

_ANYONE = [(name.encode(), value.encode()) for name, value in ANYONE.items()]
_NO_STORE = (b"cache-control", b"no-store")
_REQUEST_ID = b"x-request-id"
_PREFLIGHT = [
    *_ANYONE,
    (b"access-control-allow-methods", b"POST, OPTIONS"),
    # Clients add headers of their own when they repeat a call (X-Retry-Count); * doesn't stand for authorization.
    (b"access-control-allow-headers", b"authorization, content-type, content-encoding, x-retry-count, *"),
    (b"access-control-max-age", b"86400"),
    (b"content-length", b"0"),
]
_encode = msgspec.json.Encoder().encode


async def answer(send: Any, status: int, body: bytes) -> int:
    """A JSON answer; gives its status."""
    headers = [_JSON, (b"content-length", b"%d" % len(body)), *_ANYONE, _NO_STORE, (_REQUEST_ID, REQUEST.get())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return status


async def answer_problem(send: Any, document: problem.Problem, extra: dict[str, str]) -> int:
    """A problem document; `extra` are more headers. Gives its status."""
    body = _encode(document)
    headers = [_PROBLEM, (b"content-length", b"%d" % len(body)), *_ANYONE, _NO_STORE, (_REQUEST_ID, REQUEST.get())]
    headers += [(name.encode(), value.encode()) for name, value in extra.items()]
    if document.status == 401:
        headers.append((b"www-authenticate", b'Basic realm="vitrina"'))
    if document.status == 413:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": document.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return document.status


async def answer_error(send: Any, error: Exception, *, overloaded: int) -> int:
    """The problem document of whatever went wrong, and its status; what isn't the caller's mistake is logged."""
    if isinstance(error, VitrinaError):
        document = problem.from_error(error, overloaded=overloaded)
        return await answer_problem(send, document, problem.headers_of(error))
    if isinstance(error, msgspec.DecodeError):
        return await answer_problem(send, problem.from_validation(error), {})
    _LOG.error("a request failed", exc_info=error)
    return await answer_problem(send, problem.unexpected(), {})


async def _answer_preflight(send: Any) -> int:
    await send({"type": "http.response.start", "status": 204, "headers": _PREFLIGHT})
    await send({"type": "http.response.body", "body": b""})
    return 204


class HotRoutes:
    """Paths that go straight to their bare app; the rest goes to `other`. Every request is counted here, once.

    Args:
        routes: by path, what it is called in metrics and traces, and its app.
        other: takes the rest.
        meter: what requests cost.
        tracing: traces, where they are asked for.
    """

    def __init__(
        self, routes: Mapping[str, tuple[str, App]], other: App, meter: RequestMeter, tracing: Tracing | None = None
    ) -> None:
        self._routes = routes
        self._other = other
        self._note = meter.note
        self._tracing = tracing

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One ASGI connection."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        began = perf_counter()
        REQUEST.set(new_request_id())
        if self._tracing is None:
            route, status = await self._serve(scope, receive, send)
        else:
            with self._tracing.request(scope["headers"]) as span:
                route, status = await self._serve(scope, receive, send)
                span.tell(scope["method"], route, status, REQUEST.get().decode())
        self._note(route, status, perf_counter() - began)

    async def _serve(self, scope: Any, receive: Any, send: Any) -> tuple[str, int]:
        """Answer one request; gives its route, as a template, and the status."""
        found = self._routes.get(scope["path"])
        if found is None:
            return await self._pass_on(scope, receive, send)
        route, app = found
        if scope["method"] == "POST":
            return route, await app(scope, receive, send)
        if scope["method"] == "OPTIONS":
            return route, await _answer_preflight(send)
        document = problem.make(405, "method", f"{scope['path']} takes POST.", cure="Send it as POST.")
        return route, await answer_problem(send, document, {"allow": "POST, OPTIONS"})

    async def _pass_on(self, scope: Any, receive: Any, send: Any) -> tuple[str, int]:
        status = 500

        async def note(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_REQUEST_ID, REQUEST.get())]
            await send(message)

        await self._other(scope, receive, note)
        return scope.get("path_template") or OTHER, status
