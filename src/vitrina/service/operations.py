"""`/healthz` (the process is alive), `/readyz` (it can serve) and `/metrics` (what it counts).

Alive means that a restart would not help: the event loop answers, and no thread of ours has died. Ready means that
events and decisions can be stored now: where nothing was written for a few seconds, a small write finds out.
"""

from __future__ import annotations

import asyncio

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency

import vitrina
from vitrina.service.life import Life
from vitrina.service.metrics import CONTENT_TYPE, Metrics
from vitrina.workspace import Obstacle, Workspace

__all__ = ["HANDLERS", "Health", "Readiness"]

_FRESH_SECONDS = 5.0
_PATIENCE_SECONDS = 2.0


class Health(msgspec.Struct, frozen=True):
    """The process answers; `dead` are threads that ended though nobody stopped them."""

    status: str
    version: str
    dead: list[str] = []


class Readiness(msgspec.Struct, frozen=True):
    """Whether it can serve, and what is in the way: a stable code each, and words."""

    ready: bool
    problems: list[Obstacle]


@get("/healthz", sync_to_thread=False, tags=["operations"], summary="Alive")
def get_health(workspace: NamedDependency[Workspace]) -> Response[Health]:
    """200 as long as the process answers and none of its threads has died; 503 when only a restart helps."""
    dead = workspace.vitals.dead()
    return Response(Health("dead" if dead else "alive", vitrina.__version__, dead), status_code=503 if dead else 200)


@get("/readyz", tags=["operations"], summary="Can serve")
async def get_readiness(workspace: NamedDependency[Workspace], life: NamedDependency[Life]) -> Response[Readiness]:
    """200 when events and decisions can be stored, else 503 with what is in the way."""
    problems = [] if not life.stopping else [Obstacle("server.stopping", "It was told to stop.")]
    problems += await _tried(workspace)
    return Response(Readiness(not problems, problems), status_code=503 if problems else 200)


async def _tried(workspace: Workspace) -> list[Obstacle]:
    """What is in the way, after a small write where none was made for a few seconds."""
    try:
        ticket = workspace.probe(_FRESH_SECONDS)
        if ticket is not None:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await ticket
    except TimeoutError:
        slow = Obstacle("store.slow", f"A small write takes more than {_PATIENCE_SECONDS:.0f} s.")
        return [slow, *workspace.problems()]
    except Exception:  # whatever kept it from being written, nothing else can be
        return workspace.problems() or [Obstacle("store.unwritable", "The store can't be written.")]
    return workspace.problems()


@get("/metrics", tags=["operations"], summary="Metrics for Prometheus", media_type="text/plain")
async def get_metrics(metrics: NamedDependency[Metrics]) -> Response[bytes]:
    """Text format 0.0.4. For a key with the scope `metrics`, or an address that the settings name."""
    return Response(await asyncio.to_thread(metrics.text), headers={"content-type": CONTENT_TYPE})


HANDLERS = [get_health, get_readiness, get_metrics]
