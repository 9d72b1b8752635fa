"""Looks after the process now and then, and logs what became late, full or unwell, and that it is well again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

from vitrina.service.logs import Value, say
from vitrina.workspace import Workspace

__all__ = ["Watch"]

_LOG = logging.getLogger("vitrina.service")
_LOOK_SECONDS = 5.0
_LEARNER_SECONDS = 300.0
_LAKE_ROUNDS = 10
_LAKE_SECONDS = 60.0
_LEAST_FREE = 1 << 30

Trouble = tuple[str, str]
"""What is the matter, and with what: `("lag", "fold.events")`."""


class Watch:
    """Every few seconds compares the signs of a workspace with their bounds. A line is written when one is crossed."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        settings = workspace.settings
        self._latest = {
            "fold": settings.service.behind_seconds,
            "lake": max(_LAKE_SECONDS, _LAKE_ROUNDS * settings.storage.drain_seconds),
            "learner": _LEARNER_SECONDS,
        }
        self._known: set[Trouble] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look in a thread of its own until `stop`."""
        self._thread = threading.Thread(target=self._run, name="vitrina-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def look(self) -> None:
        """One look, in the caller's thread."""
        found = dict(self._troubles())
        for trouble in found.keys() - self._known:
            say(_LOG, logging.WARNING, f"{trouble[0]}.trouble", {"of": trouble[1], **found[trouble]})
        for trouble in self._known - found.keys():
            say(_LOG, logging.INFO, f"{trouble[0]}.well", {"of": trouble[1]})
        self._known = set(found)

    def _troubles(self) -> Iterator[tuple[Trouble, dict[str, Value]]]:
        vitals = self._workspace.vitals
        if not self._workspace.store.writer.healthy:
            yield ("store", "writer"), {}
        for name in vitals.dead():
            yield ("thread", name), {}
        for part in vitals.parts():
            if part.fault:
                yield ("part", part.name), {}
        signs = vitals.read()
        if signs.store.disk_free < _LEAST_FREE:
            yield ("disk", "workspace"), {"free_bytes": signs.store.disk_free}
        for lag in signs.lags:
            if lag.seconds > self._latest[lag.reader]:
                yield ("lag", f"{lag.reader}.{lag.journal}"), {"rows": lag.rows, "seconds": round(lag.seconds, 1)}

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            try:
                self.look()
            except Exception:  # the database is away, for one: the writer says so
                _LOG.warning("the signs of the workspace can't be read", exc_info=True)
