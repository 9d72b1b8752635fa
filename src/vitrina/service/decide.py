"""`POST /v1/decide`: who asks, what for, one decision, answered after its row is in the log."""

from __future__ import annotations

from typing import Any

import msgspec

from vitrina.core.decision import DecideRequest
from vitrina.service.body import read
from vitrina.service.door import Door
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

    async def __call__(self, scope: Any, receive: Any, send: Any) -> int:
        """Authorise, read, decide, log, answer; gives the status."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            body = await self._decide(headers, await read(receive, headers, LIMIT, LIMIT))
        except Exception as error:
            return await answer_error(send, error, overloaded=503)
        return await answer(send, 200, body)

    async def _decide(self, headers: dict[bytes, bytes], body: bytes) -> bytes:
        caller = self._door.caller(headers, "decide", "/v1/decide")
        request = _decode(body)
        if caller.kind == "write":
            placement = self._workspace.catalogue.placement(request.placement)
            self._door.check_decide(request, caller, public=placement is None or placement.public)
        if headers.get(b"sec-gpc") == b"1":
            request = msgspec.structs.replace(request, global_privacy_control=True)
        decided, ticket = self._workspace.decide_soon(request, caller)
        if ticket is not None:
            await ticket
        language = headers.get(b"accept-language", b"").decode("latin-1") if request.explain else None
        return encode_answer(decided, to_public=caller.kind == "write", language=language)
