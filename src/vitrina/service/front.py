"""The first and the last to see a request: its id, its sender, hot routes, and what every answer carries.

Every 401, 403 and 429 passes here on its way out and is noted for the audit log, whoever gave it.
"""

from __future__ import annotations

from typing import Any

from litestar import Litestar
from litestar.routes import HTTPRoute

from vitrina.console.page import REFUSAL
from vitrina.service import problem
from vitrina.service.access import plain
from vitrina.service.door import Door
from vitrina.service.exchange import Clients, Exchange
from vitrina.service.hot import App, answer_error, answer_preflight, answer_problem
from vitrina.service.refusals import Refusals

__all__ = ["Front"]

_UNCOUNTED = ("/healthz", "/readyz")
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")
_REFUSALS = (401, 403, 429)
_ELSEWHERE = "unknown route"


class Front:
    """Paths in `hot` go straight to their bare app, which takes POST; the rest goes to `other`."""

    def __init__(
        self, hot: dict[str, App], other: Litestar, *, door: Door, clients: Clients, refusals: Refusals
    ) -> None:
        self._hot = hot
        self._other = other
        self._door = door
        self._clients = clients
        self._refusals = refusals

    def routes(self) -> list[tuple[str, str]]:
        """(method, path) of every route, but for OPTIONS, which each of them answers."""
        found = [("POST", path) for path in self._hot]
        for route in self._other.routes:
            for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
                found += [(method, plain(route.path)) for method in handler.http_methods if method != "OPTIONS"]
        return found

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One ASGI connection."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        path: str = scope["path"]
        app = self._hot.get(path)
        exchange = Exchange(dict(scope["headers"]), hot=app is not None)
        exchange.place(scope)

        async def reply(message: Any) -> None:
            if message["type"] == "http.response.start":
                self._finish(scope, exchange, message)
            await send(message)

        method: str = scope["method"]
        if method != "OPTIONS" and path not in _UNCOUNTED:
            try:
                self._door.arrive(exchange, self._clients.place(scope, exchange.headers))
            except Exception as error:
                await answer_error(scope, reply, error, overloaded=429)
                return
        if app is None:
            await self._other(scope, receive, reply)
        elif method == "POST":
            await app(scope, receive, reply)
        elif method == "OPTIONS":
            await answer_preflight(reply)
        else:
            document = problem.make(405, "method", f"{path} takes POST.", cure="Send it as POST.")
            await answer_problem(scope, reply, document, {"allow": "POST, OPTIONS"})

    def _finish(self, scope: Any, exchange: Exchange, message: Any) -> None:
        headers = message["headers"]
        names = {name for name, _ in headers}
        headers = [*headers, (b"x-request-id", exchange.request_id)]
        if b"x-content-type-options" not in names:
            headers.append(_NOSNIFF)
        if b"cache-control" not in names and scope["path"].startswith("/v1/"):
            headers.append(_NO_STORE)
        message["headers"] = headers
        status: int = message["status"]
        if status in _REFUSALS:
            route = scope["path"] if exchange.hot else scope.get("path_template", _ELSEWHERE)
            code = exchange.code or scope.get(REFUSAL) or f"http.{status}"
            self._refusals.note(route, code, exchange.name)
