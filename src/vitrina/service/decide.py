"""`POST /v1/decide`: who asks, what for, one decision, answered after its row is in the log."""

from __future__ import annotations

from typing import Any

import msgspec

from vitrina.core.access import Caller
from vitrina.core.decision import DecideRequest
from vitrina.service.body import read
from vitrina.service.door import Door
from vitrina.service.exchange import Exchange, exchange_of
from vitrina.service.hot import answer, answer_error
from vitrina.service.wire import encode_answer
from vitrina.workspace import Workspace

__all__ = ["LIMIT", "Decide"]

LIMIT = 64_000
"""Bytes of a request, as sent and after gzip."""

_decode = msgspec.json.Decoder(DecideRequest).decode


class Decide:
    """The decide route, as bare ASGI."""

    def __init__(self, workspace: Workspace, door: Door) -> None:
        self._workspace = workspace
        self._door = door

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Authorise, read, decide, log, answer."""
        exchange = exchange_of(scope)
        try:
            caller = self._door.admit(exchange, "decide")
            body = await self._decide(exchange, caller, await read(receive, exchange.headers, LIMIT, LIMIT))
        except Exception as error:
            await answer_error(scope, send, error, overloaded=503)
            return
        await answer(send, 200, body)

    async def _decide(self, exchange: Exchange, caller: Caller, body: bytes) -> bytes:
        request, headers = _decode(body), exchange.headers
        if caller.kind == "write":
            placement = self._workspace.catalogue.placement(request.placement)
            self._door.check_decide(request, caller, public=placement is not None and placement.public)
        if headers.get(b"sec-gpc") == b"1":
            request = msgspec.structs.replace(request, global_privacy_control=True)
        decided, ticket = self._workspace.decide_soon(request, caller)
        if ticket is not None:
            await ticket
        language = headers.get(b"accept-language", b"").decode("latin-1") if request.explain else None
        return encode_answer(decided, to_public=caller.kind == "write", language=language)
