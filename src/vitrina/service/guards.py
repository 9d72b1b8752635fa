"""Keys on Litestar's routes: the same door as on the hot ones."""

from __future__ import annotations

from typing import Any

from litestar import Request

from vitrina.core.access import Caller
from vitrina.service.door import Door

__all__ = ["caller_of"]


def caller_of(request: Request[Any, Any, Any], door: Door, scope: str) -> Caller:
    """The caller of this request, who needs `scope`.

    Raises:
        UnauthorisedError: no key or an unknown one.
        PermissionRefusedError: the key lacks the scope.
    """
    headers = {name: value for name, value in request.scope["headers"] if name == b"authorization"}
    return door.caller(headers, scope, str(request.scope["path_template"]))
