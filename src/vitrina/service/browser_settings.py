"""`GET /v1/projects/{writeKey}/settings`: what Segment's browser client loads before it sends anything.

The answer names this server as the place to send to, so that a page has to be told one address only (`cdnURL`). Without
the answer the client sends nothing, and says so in the page's console.
"""

from __future__ import annotations

import re
from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from vitrina.console.threads import in_thread
from vitrina.core.errors import NotFoundError
from vitrina.service.hot import ANYONE
from vitrina.workspace import Workspace

__all__ = ["HANDLERS", "PREFIX"]

PREFIX = "/v1/projects/"
_HOST = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")
_SECONDS = 300


@get(f"{PREFIX}{{write_key:str}}/settings", tags=["collect"], summary="Settings of Segment's browser client")
@in_thread
def get_settings(
    request: Request[Any, Any, Any], workspace: NamedDependency[Workspace], write_key: FromPath[str]
) -> Response[dict[str, Any]]:
    """One destination, this server, and no reports of the client on itself.

    Behind a proxy that speaks TLS, the address begins with what `X-Forwarded-Proto` says.

    Raises:
        NotFoundError: it is no write key of this workspace.
    """
    caller = workspace.keys.find(write_key)
    if caller is None or caller.kind != "write":
        raise NotFoundError(
            "there is no such write key.",
            code="key.unknown",
            where="writeKey",
            cure="Make one with `vitrina keys create --kind write`; a secret key doesn't belong into a page.",
        )
    host, protocol = request.headers.get("host", ""), request.headers.get("x-forwarded-proto", request.url.scheme)
    here = {"apiHost": f"{host}/v1", "protocol": "https" if protocol == "https" else "http"}
    settings = {
        "integrations": {"Segment.io": {"apiKey": write_key, **(here if _HOST.fullmatch(host) else {})}},
        "plan": {"track": {"__default": {"enabled": True, "integrations": {}}}},
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }
    headers = {**ANYONE, "cache-control": f"private, max-age={_SECONDS}"}
    return Response(settings, headers=headers)


HANDLERS = [get_settings]
