"""`/healthz` (the process is alive) and `/readyz` (it can serve: store writable, threads running)."""

from __future__ import annotations

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency

import vitrina
from vitrina.workspace import Workspace

__all__ = ["HANDLERS", "Health", "Readiness"]


class Health(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str
    version: str


class Readiness(msgspec.Struct, frozen=True):
    """Whether it can serve, and what is in the way."""

    ready: bool
    problems: list[str]


@get("/healthz", sync_to_thread=False, tags=["operations"], summary="Alive")
def get_health() -> Health:
    """200 as long as the process answers."""
    return Health("alive", vitrina.__version__)


@get("/readyz", sync_to_thread=False, tags=["operations"], summary="Can serve")
def get_readiness(workspace: NamedDependency[Workspace]) -> Response[Readiness]:
    """200 when events and decisions can be stored, else 503 with what is in the way."""
    problems = workspace.problems()
    return Response(Readiness(not problems, problems), status_code=503 if problems else 200)


HANDLERS = [get_health, get_readiness]
