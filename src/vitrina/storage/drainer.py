"""The drainer: moves journals into the lake in its own thread, compacts now and then, and says when it can't."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from vitrina.core.errors import VitrinaError
from vitrina.storage.lake import READER, Lake
from vitrina.storage.stream import Stream

__all__ = ["Drainer"]

log = logging.getLogger(__name__)

_COMPACT_SECONDS = 600.0
_LOOK_SECONDS = 1.0
_DAY_SECONDS = 86_400.0


class Drainer:
    """Drains streams every `seconds`, or as soon as `rows` wait.

    Args:
        daily: called once a day, and when it starts: retention.

    Attributes:
        fault: why the last move failed, or None.
    """

    def __init__(
        self, lake: Lake, streams: Sequence[Stream], *, seconds: float, rows: int, daily: Callable[[], None]
    ) -> None:
        self._lake = lake
        self._streams = tuple(streams)
        self._seconds = seconds
        self._rows = rows
        self._daily = daily
        self._cleaned: float | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._last = 0.0
        self._compacted = time.monotonic()
        self.fault: str | None = None

    def start(self) -> None:
        """Begin to drain."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="vitrina-drainer", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Finish the move in hand and stop."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def drain(self, *, gently: bool = False) -> int:
        """Move everything that waits, now; gives how many rows. `gently`: see `Lake.drain`."""
        moved = sum(self._lake.drain(stream, gently=gently) for stream in self._streams)
        if moved:
            _give_back()
        return moved

    def _run(self) -> None:
        self._last = time.monotonic()
        while not self._stop.wait(_LOOK_SECONDS):
            try:
                if self._due():
                    self.drain(gently=True)
                    self._last = time.monotonic()
                    self._compact()
                    self._clean()
                self.fault = None
            except VitrinaError as error:
                self.fault = str(error)
                log.warning("the lake can't be written: %s", error.code)
            except Exception as error:
                self.fault = f"{type(error).__name__}: {error}"
                log.exception("the drainer failed; it tries again")

    def _due(self) -> bool:
        if time.monotonic() - self._last >= self._seconds:
            return True
        journals = [stream.journal for stream in self._streams]
        return any(journal.last() - journal.offset(READER) >= self._rows for journal in journals)

    def _clean(self) -> None:
        if self._cleaned is None or time.monotonic() - self._cleaned >= _DAY_SECONDS:
            self._daily()
            self._cleaned = time.monotonic()

    def _compact(self) -> None:
        if time.monotonic() - self._compacted < _COMPACT_SECONDS:
            return
        for stream in self._streams:
            self._lake.compact(stream)
            self._lake.vacuum(stream, hours=1)
        self._compacted = time.monotonic()


def _give_back() -> None:
    """Hand the memory of a move back: Arrow's allocator would keep it, and a little more of it after every move."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
