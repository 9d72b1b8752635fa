"""The permission that a read of personal features needs."""

from __future__ import annotations

import msgspec

from vitrina.core.clock import Micros
from vitrina.core.consent import Purpose

__all__ = ["Grant", "Refusal"]


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Permission to use one profile's data for one purpose, with the record that proves it.

    Only `vitrina.govern.permission` makes one. Whoever reads personal features asks for it as an argument.
    """

    purpose: Purpose
    profile_id: str
    record_id: str
    basis: str
    at: Micros
    advertising: bool = False
    """True when ad profiling is permitted too (never for minors, never under Global Privacy Control)."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no grant: a reason code (`vitrina.core.reasons`) and the record that says so, if any."""

    purpose: Purpose
    reason: str
    record_id: str | None = None
