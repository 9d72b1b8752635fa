"""`/healthz` (the process is alive), `/readyz` (it can serve) and `/metrics` (what it counts).

Alive means that a restart would not help: the event loop answers, and no thread of ours has died. Ready means that
events and decisions can be stored now: where nothing was written for a few seconds, a small write finds out.
"""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency

import vitrina
from vitrina.core.config import networks_of
from vitrina.service.door import Door
from vitrina.service.guards import caller_of
from vitrina.service.life import Life
from vitrina.service.metrics import CONTENT_TYPE, Metrics
from vitrina.workspace import Obstacle, Workspace

__all__ = ["HANDLERS", "Health", "Readiness", "may_read_metrics"]

_FRESH_SECONDS = 5.0
_PATIENCE_SECONDS = 2.0
_RELAYED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


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
async def get_metrics(
    request: Request[Any, Any, Any],
    workspace: NamedDependency[Workspace],
    door: NamedDependency[Door],
    metrics: NamedDependency[Metrics],
) -> Response[bytes]:
    """Text format 0.0.4. For a key with the scope `metrics`, or an address that the settings name."""
    may_read_metrics(request, door, networks_of(workspace.settings.service.metrics_from))
    return Response(await asyncio.to_thread(metrics.text), headers={"content-type": CONTENT_TYPE})


def may_read_metrics(
    request: Request[Any, Any, Any], door: Door, networks: tuple[IPv4Network | IPv6Network, ...]
) -> None:
    """Let in who asks from one of the networks without a proxy between, or by a key with the scope `metrics`.

    Raises:
        UnauthorisedError, PermissionRefusedError: nobody of these asks.
    """
    headers = request.headers
    asked_here = "authorization" not in headers and not any(name in headers for name in _RELAYED)
    if asked_here and request.client is not None:
        address = ip_address(request.client.host)
        if any(address in network for network in networks):
            return
    caller_of(request, door, "metrics")


HANDLERS = [get_health, get_readiness, get_metrics]
