"""Segment's HTTP Tracking API: `POST /v1/batch`, `/v1/track`, `/v1/identify`, the other calls and their letter forms.

A 200 means stored durably: the answer waits for the commit that holds every good event of the body.
"""

from __future__ import annotations

from typing import Any

import msgspec

from vitrina.service.body import read
from vitrina.service.door import Door
from vitrina.service.exchange import exchange_of
from vitrina.service.hot import answer, answer_error
from vitrina.workspace import Workspace

__all__ = ["CALLS", "INFLATED_LIMIT", "METRICS", "WIRE_LIMIT", "ClientReport", "Collect", "Stored"]

WIRE_LIMIT = 500_000
"""Bytes of a body as sent."""

INFLATED_LIMIT = 4_000_000
"""Bytes of a body after gzip."""

_KINDS = ("batch", "track", "identify", "page", "screen", "group", "alias")
CALLS: dict[str, str] = {f"/v1/{kind}": kind for kind in _KINDS} | {f"/v1/{kind[0]}": kind for kind in _KINDS}
"""Path → call."""

METRICS = "/v1/m"
"""Where Segment's browser client reports on itself."""

_METRICS_LIMIT = 100_000


class Stored(msgspec.Struct, frozen=True):
    """Every event of the body is stored, or kept as a dead letter with its reason."""

    success: bool = True


_STORED = msgspec.json.encode(Stored())


class Collect:
    """One call of the tracking API, as bare ASGI."""

    def __init__(self, workspace: Workspace, door: Door, kind: str) -> None:
        self._receive = workspace.receive
        self._door = door
        self._kind = kind

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Authorise, read, store, answer."""
        exchange = exchange_of(scope)
        try:
            if exchange.token:
                self._door.admit(exchange, "collect")
            body = await read(receive, exchange.headers, WIRE_LIMIT, INFLATED_LIMIT)
            caller = self._door.collector(exchange, body)
            await self._receive(body, self._kind, caller.source, gpc=exchange.headers.get(b"sec-gpc") == b"1")
        except Exception as error:
            await answer_error(scope, send, error, overloaded=429)
            return
        await answer(send, 200, _STORED)


class ClientReport:
    """Takes what Segment's browser client reports on itself and keeps nothing: it has no key and names nobody."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Read the report, so that the client is at peace, and throw it away."""
        try:
            await read(receive, exchange_of(scope).headers, _METRICS_LIMIT, _METRICS_LIMIT)
        except Exception as error:
            await answer_error(scope, send, error, overloaded=429)
            return
        await answer(send, 200, _STORED)
