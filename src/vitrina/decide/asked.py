"""A request that was checked: who, where, when, how many, in what context."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from vitrina.core.access import Caller
from vitrina.core.catalogue import Placement
from vitrina.core.clock import Clock, Micros, from_datetime
from vitrina.core.decision import DecideRequest
from vitrina.core.errors import PermissionRefusedError, UserError
from vitrina.core.ids import subject_key
from vitrina.decide.candidates import Candidates

__all__ = ["LARGEST_SLATE", "Asked", "check"]

LARGEST_SLATE = 20
_LOGGED_ENTRIES = 16
_LOGGED_CHARACTERS = 64


class Asked(msgspec.Struct, frozen=True, gc=False):
    """One question to the engine.

    Attributes:
        subject: leaf identifier asked for; `other_subject` the anonymous one beside a userId.
        now: moment of the decision, microseconds UTC.
        slots: positions to fill, 1–20.
        gpc: the request carries Global Privacy Control.
    """

    request: DecideRequest
    caller: Caller
    candidates: Candidates
    subject: str
    other_subject: str | None
    now: Micros
    slots: int
    gpc: bool
    replayed: bool

    @property
    def placement(self) -> Placement:
        """Where the answer is shown."""
        return self.candidates.placement

    @property
    def context(self) -> dict[str, Any]:
        """What the page said."""
        return self.request.context

    @property
    def locale(self) -> str:
        """The page's language, or ""."""
        locale = self.request.context.get("locale")
        return locale if isinstance(locale, str) else ""

    def context_values(self) -> dict[str, object]:
        """The context as rules name it: `context.NAME`."""
        return {f"context.{name}": value for name, value in self.request.context.items()}

    def logged_context(self) -> dict[str, Any]:
        """The scalars of the context, at most 16, texts cut to 64 characters: a row of the log stays small."""
        context = self.request.context
        if not context:
            return context
        kept: dict[str, Any] = {}
        for name, value in context.items():
            if value is None or isinstance(value, dict):
                continue
            kept[name[:_LOGGED_CHARACTERS]] = value[:_LOGGED_CHARACTERS] if isinstance(value, str) else value
            if len(kept) == _LOGGED_ENTRIES:
                break
        return kept


def check(request: DecideRequest, caller: Caller, candidates: Candidates, clock: Clock, *, replayed: bool) -> Asked:
    """The request, checked and with its moment.

    Raises:
        UserError: it names nobody, asks for no or too many slots, or for a time without being a preview.
        PermissionRefusedError: a write key asked for a preview.
    """
    subject = subject_key(request.user_id, request.anonymous_id)
    if not subject:
        raise UserError(
            "the request names nobody.", code="decide.identity", where="userId", cure="Send a userId or an anonymousId."
        )
    slots = candidates.placement.slots if request.slots is None else request.slots
    if not 1 <= slots <= LARGEST_SLATE:
        raise UserError(
            f"{slots} slots can't be filled.", code="decide.slots", where="slots", cure=f"Ask for 1 to {LARGEST_SLATE}."
        )
    if request.preview and caller.kind == "write":
        raise PermissionRefusedError(
            "a write key can't preview.", code="decide.preview", where="preview", cure="Use a secret key."
        )
    return Asked(
        request,
        caller,
        candidates,
        subject,
        f"a:{request.anonymous_id}" if request.user_id and request.anonymous_id else None,
        clock.now() if request.at is None else _moment(request),
        slots,
        request.global_privacy_control,
        replayed,
    )


def _moment(request: DecideRequest) -> Micros:
    if not request.preview:
        raise UserError(
            "only a preview can be asked for another time.",
            code="decide.at",
            where="at",
            cure='Add "preview": true, or leave "at" out.',
        )
    try:
        return from_datetime(datetime.fromisoformat(str(request.at)))
    except ValueError:
        raise UserError(
            f"{request.at} is no time.", code="decide.at", where="at", cure='Write it like "2026-12-24T18:00:00Z".'
        ) from None
