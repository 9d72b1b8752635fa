"""What the door refused, for the audit log: the first of a kind at once, its repeats as a count a minute later.

A key that is tried a thousand times a second must not become a thousand records a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from vitrina.core.meter import OTHER, Tally

__all__ = ["Refusals"]

_WINDOW = 60.0
_MOST = 1_000


class Refusals:
    """Counts refusals by route, code and caller; `record` is called with (caller, code, route, count).

    Attributes:
        counted: refusals since the process began, by route and code.
    """

    def __init__(
        self, record: Callable[[str, str, str, int], None], timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._record = record
        self._timer = timer
        self._since: dict[tuple[str, str, str], float] = {}
        self._more: dict[tuple[str, str, str], int] = {}
        self.counted: Tally[tuple[str, str]] = Tally(most=_MOST, other=(OTHER, OTHER))

    def note(self, route: str, code: str, caller: str) -> None:
        """One refusal of `caller` ("" when unknown) at `route` with the reason `code`."""
        self.counted.add((route, code))
        kind, now = (caller, code, route), self._timer()
        began = self._since.get(kind)
        if began is not None and now - began < _WINDOW:
            self._more[kind] = self._more.get(kind, 0) + 1
            return
        if began is None and len(self._since) >= _MOST:
            self.flush()
        self._since[kind] = now
        self._record(*kind, 1 + self._more.pop(kind, 0))

    def settle(self) -> None:
        """Write the counts whose minute is over, so that an attack that stopped is in the log too."""
        now = self._timer()
        for kind in [kind for kind, began in self._since.items() if now - began >= _WINDOW]:
            del self._since[kind]
            count = self._more.pop(kind, 0)
            if count:
                self._record(*kind, count)

    def flush(self) -> None:
        """Write the counts that are still held, and start anew."""
        for kind, count in self._more.items():
            self._record(*kind, count)
        self._more.clear()
        self._since.clear()
