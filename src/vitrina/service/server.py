"""`vitrina serve`: one process, one event loop; ends gracefully and keeps what was acknowledged."""

from __future__ import annotations

import gc
import logging
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

import vitrina
from vitrina.core.errors import MachineError
from vitrina.service.app import create_app
from vitrina.service.life import Life, tell_manager
from vitrina.service.logs import configure, say
from vitrina.service.watch import Watch
from vitrina.workspace import Workspace

__all__ = ["run", "serve"]

_LOG = logging.getLogger("vitrina.service")
_GRACE = 4
"""Seconds that requests in flight get when the server is told to stop."""

_COLLECT = (5_000, 5, 2_000)
"""When garbage is looked for (see `gc.set_threshold`). With Python's own figures the whole heap is walked again and
again as profiles fill it: 0.3 s each with 30,000 people, and nobody is answered. What we make dies young or stays."""

_FIRST = "admin@localhost.local"


def serve(
    directory: Path | str = ".",
    *,
    host: str | None = None,
    port: int | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Open a workspace and serve it until a signal says stop.

    Args:
        directory: the workspace's folder.
        host, port: where to listen; what the settings say when None. Port 0 takes a free one.
        on_ready: called with the address once it listens.

    Raises:
        MachineError: the address can't be listened on.
    """
    workspace = vitrina.open(directory)
    try:
        workspace.start()
        run(workspace, host=host, port=port, on_ready=on_ready)
    finally:
        workspace.close()


def run(
    workspace: Workspace,
    *,
    host: str | None = None,
    port: int | None = None,
    on_ready: Callable[[str], None] | None = None,
    worker: str = "0",
) -> None:
    """Serve an open, started workspace until a signal says stop; see `serve`.

    Args:
        worker: which of the processes that serve it this is; a label of its metrics.
    """
    settings = workspace.settings.service
    host, port = host or settings.host, settings.port if port is None else port
    configure(settings.log)
    life, watch = Life(worker), Watch(workspace)
    if settings.switch_interval:
        sys.setswitchinterval(settings.switch_interval)
    gc.set_threshold(*_COLLECT)
    config = uvicorn.Config(
        create_app(workspace, life),
        host=host,
        port=port,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http="httptools",
        lifespan="on",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=75,
        backlog=2048,
    )
    server = _Server(config, life, settings.stop_seconds, lambda address: _welcome(workspace, address, on_ready))
    _hold_signals()
    watch.start()
    try:
        server.run()
    except SystemExit as stop:
        if stop.code not in (0, None):
            raise _not_listening(host, port) from None
    finally:
        watch.stop()
        say(_LOG, logging.INFO, "server.stopped", {"served_seconds": round(time.time() - life.began, 1)})
    if not server.listened:
        raise _not_listening(host, port)


def _hold_signals() -> None:
    """Uvicorn raises the signal that stopped it once more when it is done; we still have to close what we hold."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)


class _Server(uvicorn.Server):
    """A server that says when and where it listens, and goes on for a moment when told to stop.

    So whoever asks /readyz learns that it is about to go before it refuses connections.
    """

    def __init__(self, config: uvicorn.Config, life: Life, linger: float, on_ready: Callable[[str], None]) -> None:
        super().__init__(config)
        self._life = life
        self._linger = linger
        self._until: float | None = None
        self._said_so = False
        self._on_ready = on_ready
        self.listened = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Told to stop: not ready any more, and in a moment not listening; told again: at once."""
        if self._life.stopping or not self._linger:
            super().handle_exit(sig, frame)
        self._life.stopping = True
        if self._until is None:
            self._until = time.monotonic() + self._linger

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to stop listening now."""
        if self._until is not None:
            if not self._said_so:
                self._said_so = True
                tell_manager("STOPPING=1")
                say(_LOG, logging.INFO, "server.stopping", {"linger_seconds": self._linger})
            if time.monotonic() >= self._until:
                self.should_exit = True
        return await super().on_tick(counter)

    async def startup(self, sockets: list[Any] | None = None) -> None:
        """Listen, then tell the address."""
        await super().startup(sockets=sockets)
        if self.servers:
            name = self.servers[0].sockets[0].getsockname()
            self.listened = True
            self._on_ready(f"http://{name[0] if ':' not in name[0] else f'[{name[0]}]'}:{name[1]}")


def _welcome(workspace: Workspace, address: str, on_ready: Callable[[str], None] | None) -> None:
    tell_manager("READY=1")
    told = {"version": vitrina.__version__, "address": address, "store": workspace.vitals.read().store.kind}
    say(_LOG, logging.INFO, "server.ready", told)
    if workspace.settings.service.log == "text":
        _greet(workspace, address)
    elif workspace.users.count() == 0:
        say(_LOG, logging.WARNING, "console.nobody", {"cure": "vitrina users create"})
    if on_ready is not None:
        on_ready(address)


def _greet(workspace: Workspace, address: str) -> None:
    """Words for whoever started it in a terminal; a log for machines never gets to see a password."""
    lines = [f"Vitrina listens at {address}/ (Ctrl-C ends)."]
    if workspace.users.count() == 0:
        password = secrets.token_urlsafe(12)
        workspace.users.create(_FIRST, password)
        lines.append(
            f"First user of the console: {_FIRST}, password {password} (shown once; more with `vitrina users create`)."
        )
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()


def _not_listening(host: str, port: int) -> MachineError:
    return MachineError(
        f"{host}:{port} can't be listened on.",
        code="server.address",
        where="service.port",
        cure="Another program may be there: choose another with --port.",
    )
