"""The first and the last to see a request: its id, its sender, hot routes, what every answer carries and what it cost.

Every 401, 403 and 429 passes here on its way out and is noted for the audit log, whoever gave it.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from litestar import Litestar
from litestar.routes import HTTPRoute

from vitrina.console.page import REFUSAL
from vitrina.core.meter import OTHER
from vitrina.service import problem
from vitrina.service.access import plain
from vitrina.service.door import Door
from vitrina.service.exchange import Clients, Exchange
from vitrina.service.hot import App, answer_error, answer_preflight, answer_problem
from vitrina.service.logs import REQUEST
from vitrina.service.meter import RequestMeter
from vitrina.service.refusals import Refusals

if TYPE_CHECKING:
    from vitrina.workspace import Tracing

__all__ = ["Front"]

_UNCOUNTED = ("/healthz", "/readyz")
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")
_REFUSALS = (401, 403, 429)
_ELSEWHERE = "unknown route"


class Front:
    """Paths in `hot` go straight to their bare app, which takes POST; the rest goes to `other`.

    Args:
        hot: path → what the route is called in metrics and traces, and its app.
        other: everything else.
        door, clients, refusals: who asks, from where, and what was refused.
        meter: what requests cost.
        tracing: traces, where they are asked for.
    """

    def __init__(
        self,
        hot: dict[str, tuple[str, App]],
        other: Litestar,
        *,
        door: Door,
        clients: Clients,
        refusals: Refusals,
        meter: RequestMeter,
        tracing: Tracing | None = None,
    ) -> None:
        self._hot = {path: app for path, (_, app) in hot.items()}
        self._names = {path: name for path, (name, _) in hot.items()}
        self._other = other
        self._door = door
        self._clients = clients
        self._refusals = refusals
        self._note = meter.note
        self._tracing = tracing

    def routes(self) -> list[tuple[str, str]]:
        """(method, path) of every route, but for OPTIONS, which each of them answers."""
        found = [("POST", path) for path in self._hot]
        for route in self._other.routes:
            for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
                found += [(method, plain(route.path)) for method in handler.http_methods if method != "OPTIONS"]
        return found

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One ASGI connection; every request is counted once, with its time to the last byte."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        began = perf_counter()
        exchange = Exchange(dict(scope["headers"]), hot=scope["path"] in self._hot)
        exchange.place(scope)
        REQUEST.set(exchange.request_id)
        if self._tracing is None:
            await self._serve(scope, receive, send, exchange)
            route = self._route(scope)
        else:
            with self._tracing.request(scope["headers"]) as span:
                await self._serve(scope, receive, send, exchange)
                route = self._route(scope)
                span.tell(scope["method"], route, exchange.status, exchange.request_id.decode())
        self._note(route, exchange.status, perf_counter() - began)

    def _route(self, scope: Any) -> str:
        """The template of its path, which names nobody."""
        return self._names.get(scope["path"]) or scope.get("path_template") or OTHER

    async def _serve(self, scope: Any, receive: Any, send: Any, exchange: Exchange) -> None:
        path: str = scope["path"]
        app = self._hot.get(path)

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
        status = exchange.status = message["status"]
        if status in _REFUSALS:
            route = scope["path"] if exchange.hot else scope.get("path_template", _ELSEWHERE)
            code = exchange.code or scope.get(REFUSAL) or f"http.{status}"
            self._refusals.note(route, code, exchange.name)
