"""The application: hot routes in front, Litestar's routes and the console's pages behind, one workspace under all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from litestar import Litestar, Request, Response
from litestar.config.response_cache import ResponseCacheConfig
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.openapi.config import OpenAPIConfig
from litestar.static_files import create_static_files_router

import vitrina
from vitrina.console.page import HEADERS, Page
from vitrina.console.routes import HANDLERS as PAGES
from vitrina.console.session import Attempts, Sessions
from vitrina.core.clock import SECOND
from vitrina.core.decision import DecideRequest
from vitrina.core.errors import PermissionRefusedError, VitrinaError
from vitrina.core.meter import OTHER
from vitrina.service import browser_settings, catalogue, dead_letters, decisions, operations, people, problem, tag
from vitrina.service.access import Gate, SignInError, check_complete
from vitrina.service.decide import Decide
from vitrina.service.door import Door
from vitrina.service.exchange import Clients, exchange_of
from vitrina.service.front import Front
from vitrina.service.hot import ANYONE, App
from vitrina.service.ingest import CALLS, METRICS, ClientReport, Collect, Stored
from vitrina.service.life import Life
from vitrina.service.limits import Limits
from vitrina.service.logs import say
from vitrina.service.meter import RequestMeter
from vitrina.service.metrics import Metrics
from vitrina.service.openapi import CompleteDocument, HotOperation
from vitrina.service.refusals import Refusals
from vitrina.service.wire import DecideAnswer
from vitrina.workspace import BatchBody, CallBody, Workspace

__all__ = ["create_app"]

_LOG = logging.getLogger("vitrina.service")
_STATIC = Path(__file__).parent.parent / "console" / "static"
_COLLECT_WORDS = (
    "200 means stored durably. Bad calls in a readable body become dead letters; a repeated messageId is harmless."
)
_DECIDE_WORDS = (
    "One decision with its exact probability, logged before it is answered. The same requestId gives the same answer."
)
_SETTLE_SECONDS = 15
_API = ("/v1/", "/schema", "/healthz", "/readyz", "/metrics")


def create_app(workspace: Workspace, life: Life | None = None) -> Front:
    """The ASGI application of a workspace that is open and started.

    Args:
        workspace: what is served.
        life: of the process that serves it; one of its own when None.

    Raises:
        LookupError: a route has no row in `vitrina.service.access`.
    """
    life = life or Life()
    service = workspace.settings.service
    refusals = Refusals(_audit_of(workspace))
    door = Door(workspace.keys, Limits(service))
    meter = RequestMeter(service.slow_seconds)
    routes: dict[str, tuple[str, App]] = {"/v1/decide": ("/v1/decide", Decide(workspace, door))}
    for path, kind in CALLS.items():
        routes[path] = (f"/v1/{kind}", Collect(workspace, door, kind))
    routes[METRICS] = (METRICS, ClientReport())
    other = _litestar(workspace, door, refusals, Metrics(workspace, meter, refusals, life), life)
    clients = Clients(service.trusted_proxies)
    front = Front(routes, other, door=door, clients=clients, refusals=refusals, meter=meter, tracing=workspace.tracing)
    check_complete(front.routes())
    return front


def _audit_of(workspace: Workspace) -> Callable[[str, str, str, int], None]:
    """Writes refusals into the audit log, off the event loop."""

    def write(caller: str, code: str, route: str, count: int) -> None:
        try:
            workspace.audit.record(
                caller or "unknown", "access.refused", {"code": code, "route": route, "count": count}
            )
        except VitrinaError:
            _LOG.exception("a refusal could not be written to the audit log: %s %s", code, route)

    def record(caller: str, code: str, route: str, count: int) -> None:
        say(_LOG, logging.INFO, "request.refused", {"route": route, "code": code, "count": count})
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # one of Litestar's threads: it may wait
            write(caller, code, route, count)
        else:
            loop.run_in_executor(None, write, caller, code, route, count)

    return record


@asynccontextmanager
async def _settled(refusals: Refusals) -> AsyncGenerator[None]:
    """While the server runs, counts of refusals are written a minute after the first of their kind."""

    async def settle() -> None:
        while True:
            await asyncio.sleep(_SETTLE_SECONDS)
            refusals.settle()

    task = asyncio.create_task(settle())
    try:
        yield
    finally:
        task.cancel()
        refusals.flush()


def _litestar(workspace: Workspace, door: Door, refusals: Refusals, metrics: Metrics, life: Life) -> Litestar:
    sessions = Sessions(workspace.users.session_secret, workspace.clock)
    attempts = Attempts(workspace.clock)
    resources = [
        *browser_settings.HANDLERS,
        *catalogue.HANDLERS,
        *people.HANDLERS,
        *decisions.HANDLERS,
        *dead_letters.HANDLERS,
        *operations.HANDLERS,
        *tag.HANDLERS,
    ]
    static = create_static_files_router(
        path="/static", directories=[_STATIC], cache_control=None, include_in_schema=False
    )
    document = OpenAPIConfig(
        title="Vitrina",
        version=vitrina.__version__,
        description="Events in, decisions out. Errors are problem documents (RFC 9457).",
        path="/schema",
        render_plugins=[CompleteDocument(_operations())],
        use_handler_docstrings=True,
        operation_id_creator=_operation_id,
    )
    return Litestar(
        route_handlers=[*resources, *PAGES, static],
        dependencies={
            "workspace": Provide(lambda: workspace, sync_to_thread=False, use_cache=True),
            "sessions": Provide(lambda: sessions, sync_to_thread=False, use_cache=True),
            "attempts": Provide(lambda: attempts, sync_to_thread=False, use_cache=True),
            "metrics": Provide(lambda: metrics, sync_to_thread=False, use_cache=True),
            "life": Provide(lambda: life, sync_to_thread=False, use_cache=True),
        },
        exception_handlers={Exception: lambda request, error: _answer_error(request, error, workspace, sessions)},
        guards=[Gate(door, workspace, sessions)],
        openapi_config=document,
        response_cache_config=ResponseCacheConfig(),
        request_max_body_size=4_000_000,
        logging_config=None,
        lifespan=[lambda _app: _settled(refusals)],
        debug=False,
    )


def _operation_id(_handler: Any, method: Any, path: list[Any]) -> str:
    """`GetProfilesExport` for GET /v1/profiles/{identifier}/export."""
    parts = [part for part in path if isinstance(part, str) and part != "v1"]
    ends_open = "" if isinstance(path[-1], str) else "ById"
    return f"{str(method.value).capitalize()}{''.join(part.strip('/').capitalize() for part in parts)}{ends_open}"


def _operations() -> list[HotOperation]:
    collect = ("400", "401", "403", "413", "429", "503")
    calls = [
        HotOperation(
            path=path,
            summary=f"Segment's {kind} call",
            description=_COLLECT_WORDS,
            tag="collect",
            body=BatchBody if kind == "batch" else CallBody,
            answer=Stored,
            problems=collect,
        )
        for path, kind in CALLS.items()
        if len(path) > len("/v1/x")
    ]
    decide = HotOperation(
        path="/v1/decide",
        summary="What to show, to this person, here and now",
        description=_DECIDE_WORDS,
        tag="decide",
        body=DecideRequest,
        answer=DecideAnswer,
        problems=("400", "401", "403", "404", "409", "413", "429", "503"),
    )
    return [*calls, decide]


def _answer_error(
    request: Request[Any, Any, Any], error: Exception, workspace: Workspace, sessions: Sessions
) -> Response[Any]:
    document, headers = _problem_of(error)
    exchange = exchange_of(request.scope)
    exchange.code = document.code
    if document.status >= 500 and not isinstance(error, VitrinaError):
        template = request.scope.get("path_template") or OTHER  # the path itself may name a person
        _LOG.error("%s %s failed", request.method, template, exc_info=error)
    if request.url.path.startswith(browser_settings.PREFIX):
        headers |= ANYONE
    if request.url.path.startswith(_API):
        return Response(
            msgspec.json.encode(problem.of_request(document, exchange.request_id)),
            status_code=document.status,
            media_type=problem.PROBLEM_TYPE,
            headers=headers | ({"www-authenticate": 'Basic realm="vitrina"'} if document.status == 401 else {}),
        )
    page = Page(request, workspace, sessions)
    if isinstance(error, SignInError):
        return page.to_sign_in()
    if isinstance(error, PermissionRefusedError):
        return page.error(403, "role", role=page.words.gettext(f"role.{error.where}"))
    if document.status in (404, 405):
        return page.error(404, "404")
    if document.status >= 500:
        at = page.words.formats.moment(workspace.clock.now() // SECOND * SECOND, seconds=True)
        return page.error(document.status, "500", at=at)
    return Response(
        document.detail, status_code=document.status, media_type="text/plain; charset=utf-8", headers=HEADERS
    )


def _problem_of(error: Exception) -> tuple[problem.Problem, dict[str, str]]:
    if isinstance(error, VitrinaError):
        return problem.from_error(error), problem.headers_of(error)
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, msgspec.DecodeError):
        cause = cause.__cause__
    if isinstance(cause, msgspec.DecodeError):
        return problem.from_validation(cause), {}
    if isinstance(error, HTTPException) and error.status_code < 500:
        return _from_litestar(error), {}
    return problem.unexpected(), {}


def _from_litestar(error: HTTPException) -> problem.Problem:
    if error.status_code == 404:
        return problem.make(404, "route.unknown", "There is no such route.", cure="See /schema/openapi.json.")
    if error.status_code == 405:
        return problem.make(
            405, "route.method", "This route doesn't take this method.", cure="See /schema/openapi.json."
        )
    field, detail = "", error.detail
    if isinstance(error.extra, list) and error.extra and isinstance(error.extra[0], dict):
        field, detail = str(error.extra[0].get("key", "")), str(error.extra[0].get("message", detail))
    return problem.make(error.status_code, "request.invalid", detail.rstrip(".") + ".", field=field)
