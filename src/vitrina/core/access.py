"""Who is calling: the source of events and the caller of decisions."""

from __future__ import annotations

import msgspec

__all__ = ["INTERNAL", "Caller", "Source"]


class Source(msgspec.Struct, frozen=True):
    """Where events come from. `kind` write | secret | import | internal; money counts only when `trusted`."""

    name: str
    kind: str
    trusted: bool


class Caller(msgspec.Struct, frozen=True):
    """Who asks for something. `kind` write | secret | console | internal; `scopes` as given to the key or role."""

    name: str
    kind: str
    scopes: frozenset[str] = frozenset()

    @property
    def source(self) -> Source:
        """The caller as a source of events."""
        return Source(self.name, self.kind, trusted=self.kind != "write")


INTERNAL = Caller("vitrina", "internal", frozenset({"*"}))
