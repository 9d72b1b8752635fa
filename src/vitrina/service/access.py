"""Who may call which route: the whole table, and the gate that holds every route to it.

A route without a row doesn't open: `create_app` refuses to start. `docs/reference/access.md` is written from the table,
and a test walks every route with every kind of caller.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection

from vitrina.console.page import Page
from vitrina.console.session import Sessions
from vitrina.core.access import ROLES, Caller
from vitrina.core.config import networks_of
from vitrina.core.errors import PermissionRefusedError, VitrinaError
from vitrina.service.door import Door
from vitrina.service.exchange import exchange_of
from vitrina.service.ingest import CALLS, METRICS
from vitrina.service.tag import manifest
from vitrina.workspace import Workspace

__all__ = ["ACCESS", "Access", "Gate", "SignInError", "caller_of", "check_complete", "plain"]

_TYPES = re.compile(r":\w+}")
_RELAYED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class Access(msgspec.Struct, frozen=True):
    """What a route needs: a key with `scope`, or a person of the console with at least `role`, or nothing.

    `near` lets in without a key who asks from an address in `service.metrics_from`, with no proxy between.
    """

    method: str
    path: str
    scope: str = ""
    role: str = ""
    near: bool = False


def _keys(scope: str, *routes: str) -> list[Access]:
    return [Access(method, path, scope=scope) for method, path in map(str.split, routes)]


def _people(role: str, *routes: str) -> list[Access]:
    return [Access(method, path, role=role) for method, path in map(str.split, routes)]


def _anybody(*routes: str) -> list[Access]:
    return [Access(method, path) for method, path in map(str.split, routes)]


def _things(kind: str) -> list[Access]:
    return _keys("catalogue", *(f"{method} /v1/{kind}s/{{{kind}_id}}" for method in ("PUT", "GET", "DELETE")))


ACCESS: tuple[Access, ...] = (
    *_keys("collect", *(f"POST {path}" for path in CALLS)),
    *_keys("decide", "POST /v1/decide"),
    *_things("offer"),
    *_things("creative"),
    *_things("placement"),
    *_keys("catalogue", "POST /v1/offers/import"),
    *_keys(
        "people",
        "GET /v1/profiles/{identifier}",
        "GET /v1/profiles/{identifier}/export",
        "DELETE /v1/profiles/{identifier}",
        "GET /v1/erasures/{erasure_id}",
        "PUT /v1/profiles/{identifier}/consents/{purpose}",
    ),
    *_keys("decisions", "GET /v1/decisions/{decision_id}/why"),
    *_keys(
        "dead-letters",
        "GET /v1/dead-letters",
        "GET /v1/dead-letters/{letter_id}",
        "POST /v1/dead-letters/{letter_id}/replay",
        "DELETE /v1/dead-letters/{letter_id}",
        "POST /v1/dead-letters/{letter_id}/restore",
    ),
    Access("GET", "/metrics", scope="metrics", near=True),
    *_people(
        "viewer",
        "GET /decisions",
        "GET /decisions/{decision_id}",
        "GET /decisions/{decision_id}/json",
        "GET /find",
    ),
    *_anybody(
        "GET /",
        "GET /sign-in",
        "POST /sign-in",
        "POST /sign-out",
        "POST /preferences",
        f"POST {METRICS}",
        "GET /v1/projects/{write_key}/settings",
        "GET /v1/tag.js",
        *(f"GET {build.path}" for build in manifest()),
        "GET /static/{file_path}",
        "HEAD /static/{file_path}",
        "GET /healthz",
        "GET /readyz",
        "GET /schema",
        "GET /schema/openapi.json",
        "GET /schema/{path}",
    ),
)
"""Every route. OPTIONS is no row: it says which methods there are, to anybody."""


class SignInError(VitrinaError):
    """A page of the console is asked for by nobody who is signed in."""

    exit_code = 3
    status = 401


def plain(path: str) -> str:
    """A path as the table writes it.

    >>> plain("/v1/offers/{offer_id:str}")
    '/v1/offers/{offer_id}'
    """
    return _TYPES.sub("}", path)


def check_complete(routes: Iterable[tuple[str, str]]) -> None:
    """Make sure that every (method, path) has its row.

    Raises:
        LookupError: one has none.
    """
    rows = {(row.method, row.path) for row in ACCESS}
    bare = sorted(f"{method} {path}" for method, path in routes if (method, path) not in rows)
    if bare:
        raise LookupError(f"no row in vitrina.service.access says who may call {', '.join(bare)}")


class Gate:
    """Litestar's guard of all its routes: asked before the body is read."""

    def __init__(self, door: Door, workspace: Workspace, sessions: Sessions, table: Iterable[Access] = ACCESS) -> None:
        self._door = door
        self._workspace = workspace
        self._sessions = sessions
        self._rows = {(row.method, row.path): row for row in table}
        self._near = networks_of(workspace.settings.service.metrics_from)

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _handler: object) -> None:
        """Let the request pass.

        Raises:
            UnauthorisedError, PermissionRefusedError: it has no key, or one that may not do this.
            SignInError: nobody is signed in.
        """
        assert isinstance(connection, Request)
        if connection.method == "OPTIONS":
            return
        row = self._rows[connection.method, plain(connection.scope["path_template"])]
        if row.near and self._is_near(connection):
            return
        if row.scope:
            self._door.admit(exchange_of(connection.scope), row.scope)
        elif row.role:
            await self._admit_person(connection, row.role)

    def _is_near(self, request: Request[Any, Any, Any]) -> bool:
        headers, client = request.headers, request.client
        if client is None or "authorization" in headers or any(name in headers for name in _RELAYED):
            return False
        address = ip_address(client.host)
        return any(address in network for network in self._near)

    async def _admit_person(self, request: Request[Any, Any, Any], role: str) -> None:
        user = await asyncio.to_thread(Page(request, self._workspace, self._sessions).visitor)
        if user is None:
            raise SignInError("nobody is signed in.", code="session.missing", cure="Sign in.")
        exchange_of(request.scope).name = f"user {user.id}"
        if ROLES.index(user.role) < ROLES.index(role):
            raise PermissionRefusedError(
                f"this page is for a {role}.", code="role", where=role, cure="Ask an admin for the role."
            )


def caller_of(request: Request[Any, Any, Any]) -> Caller:
    """The caller whose key the gate let in."""
    caller = exchange_of(request.scope).caller
    assert caller is not None
    return caller
