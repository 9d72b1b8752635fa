"""What a kind of fault did, and how a workspace is set up for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

__all__ = ["BUSY", "CHECKED_EVERY", "Kind", "Report"]

BUSY = {
    "VITRINA_STORAGE_DRAIN_SECONDS": "0.3",
    "VITRINA_STORAGE_DRAIN_ROWS": "300",
    "VITRINA_STORAGE_COMPACT_FILES": "3",
}
CHECKED_EVERY = 10


class Report(msgspec.Struct):
    """What a kind of fault did.

    Attributes:
        kind: its name.
        points: how often it happened.
        events, decisions: answered with 200 by then.
        refused: answers of 429 and 503, sent again later.
        wrong: what was wrong afterwards, in words; empty is what it has to be.
        slowest: seconds of the slowest recovery or stop.
        note: how it was done.
    """

    kind: str
    points: int = 0
    events: int = 0
    decisions: int = 0
    refused: int = 0
    wrong: list[str] = []
    slowest: float = 0.0
    note: str = ""

    def took(self, seconds: float) -> None:
        self.slowest = max(self.slowest, round(seconds, 2))


Kind = Callable[[Path, int, int], Report]
"""Lays a workspace in a folder under load, lets a fault happen so many times, by a seed."""
