"""What requests cost: a histogram for each route and status, and a line in the log for those that take too long."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from vitrina.core.meter import OTHER, Distribution, Histogram
from vitrina.service.logs import say

__all__ = ["RequestMeter"]

_LOG = logging.getLogger("vitrina.service")
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_MOST = 400
_WINDOW = 10.0


class RequestMeter:
    """Requests of this process, by route and status. Used on the event loop alone; `read` from anywhere.

    Args:
        slow: seconds above which a request is logged; 0 logs none.
    """

    def __init__(self, slow: float = 0.0) -> None:
        self._slow = slow or float("inf")
        self._seen: dict[tuple[str, int], Histogram] = {}
        self._said: dict[str, float] = {}
        self._more: dict[str, int] = {}

    def note(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered.

        Args:
            route: the template of its path, never the path.
            status: of the answer.
            seconds: from its first to its last byte.
        """
        seen = self._seen.get((route, status))
        if seen is None:
            seen = self._open(route, status)
        seen.observe(seconds)
        if seconds >= self._slow:
            self._say_slow(route, status, seconds)

    def read(self) -> Mapping[tuple[str, int], Distribution]:
        """The histograms so far."""
        return {key: seen.read() for key, seen in list(self._seen.items())}

    def _open(self, route: str, status: int) -> Histogram:
        key = (route, status) if len(self._seen) < _MOST else (OTHER, 0)
        return self._seen.setdefault(key, Histogram(_BOUNDS))

    def _say_slow(self, route: str, status: int, seconds: float) -> None:
        """Log it, but a route not more often than every ten seconds: what came between is given as a number."""
        now = time.monotonic()
        if now - self._said.get(route, -_WINDOW) < _WINDOW:
            self._more[route] = self._more.get(route, 0) + 1
            return
        self._said[route] = now
        fields = {"route": route, "status": status, "seconds": round(seconds, 3), "more": self._more.pop(route, 0)}
        say(_LOG, logging.WARNING, "request.slow", fields)
