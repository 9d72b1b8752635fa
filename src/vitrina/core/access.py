"""Who is calling, and what callers may be allowed: the source of events, the caller of decisions, scopes and roles."""

from __future__ import annotations

import msgspec

__all__ = ["INTERNAL", "ROLES", "SCOPES", "WRITE_SCOPES", "Caller", "Source"]

SCOPES = {
    "collect": "Send events.",
    "decide": "Ask for decisions.",
    "catalogue": "Read and change offers, creatives and placements.",
    "people": "Read, export and erase people; record their consents.",
    "decisions": "Read decisions and why they were made.",
    "dead-letters": "Read, correct, replay and discard refused calls.",
    "metrics": "Read the figures of the running server.",
}
"""What a secret key may do, in words; without any scope it may do everything."""

WRITE_SCOPES = frozenset({"collect", "decide"})
"""What every write key may do, within bounds of its own: it stands in web pages."""

ROLES = ("viewer", "marketer", "admin")
"""Roles of the console, least first; each may do what those before it may."""


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

    def may(self, scope: str) -> bool:
        """Whether the caller has a scope."""
        return scope in self.scopes or "*" in self.scopes


INTERNAL = Caller("vitrina", "internal", frozenset({"*"}))
