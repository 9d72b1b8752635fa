"""Dead letters over HTTP: what was refused, and how it is corrected and replayed.

They hold what people sent, so they have a scope of their own.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from vitrina.console.threads import in_thread
from vitrina.core.clock import iso
from vitrina.core.dead_letter import Letter, LetterFilter, Replayed
from vitrina.service.access import caller_of
from vitrina.workspace import Workspace

__all__ = ["HANDLERS", "LetterPage", "WireLetter"]

_MOST = 500


class WireLetter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One refused call; `body` is left out of lists."""

    id: int
    refused_at: str
    source: str
    trusted: bool
    event: str
    code: str
    where: str
    cause: str
    cure: str
    message_id: str | None
    status: str
    changed_at: str | None
    changed_by: str | None
    body: str | None = None


class LetterPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Letters, newest first; `before` asks for the next page, null on the last one."""

    letters: list[WireLetter]
    before: int | None


def _wire(letter: Letter) -> WireLetter:
    fields = msgspec.structs.asdict(letter)
    fields["refused_at"] = iso(letter.refused_at)
    fields["changed_at"] = None if letter.changed_at is None else iso(letter.changed_at)
    fields["body"] = letter.body or None
    return WireLetter(**fields)


@get("/v1/dead-letters", tags=["dead letters"], summary="What was refused")
@in_thread
def list_letters(
    workspace: NamedDependency[Workspace],
    status: FromQuery[str] = "waiting",
    code: FromQuery[str] = "",
    event: FromQuery[str] = "",
    source: FromQuery[str] = "",
    before: FromQuery[int | None] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=_MOST)] = 50,
) -> LetterPage:
    """Letters of a status (`waiting`, `replayed`, `discarded`; empty: all), newest first, without their bodies."""
    wanted = LetterFilter(status=status, code=code, event=event, source=source, before=before)
    letters = workspace.letters.list(wanted, limit)
    return LetterPage(
        letters=[_wire(letter) for letter in letters], before=letters[-1].id if len(letters) == limit else None
    )


@get("/v1/dead-letters/{letter_id:int}", tags=["dead letters"], summary="One refused call with its body")
@in_thread
def get_letter(
    workspace: NamedDependency[Workspace],
    letter_id: FromPath[int],
) -> WireLetter:
    """The call as it was read, and what is wrong with it.

    Raises:
        NotFoundError: there is no such letter, or it is no longer kept.
    """
    return _wire(workspace.letters.find(letter_id))


@post("/v1/dead-letters/{letter_id:int}/replay", status_code=200, tags=["dead letters"], summary="Take it in after all")
async def replay_letter(
    request: Request[Any, Any, Any],
    workspace: NamedDependency[Workspace],
    letter_id: FromPath[int],
) -> Replayed:
    """Replay a letter as it is or, where there is a body, as that says: the corrected call as one JSON object.

    It keeps the message id, the trust and the time of the letter, and is stored once.

    Raises:
        NotFoundError: there is no such letter.
        ConflictError: it was replayed or discarded.
        UserError: it is refused again, and why.
        RefusedError: its person was erased.
    """
    caller = caller_of(request)
    body = await request.body()
    return await asyncio.to_thread(workspace.letters.replay, letter_id, caller.name, body or None)


@delete("/v1/dead-letters/{letter_id:int}", status_code=200, tags=["dead letters"], summary="Put it away")
@in_thread
def discard_letter(
    request: Request[Any, Any, Any],
    workspace: NamedDependency[Workspace],
    letter_id: FromPath[int],
) -> Response[WireLetter]:
    """Discard a letter; `restore` takes that back until it is deleted.

    Raises:
        NotFoundError: there is no such letter.
        ConflictError: it was replayed.
    """
    caller = caller_of(request)
    return Response(_wire(workspace.letters.discard(letter_id, caller.name)))


@post("/v1/dead-letters/{letter_id:int}/restore", status_code=200, tags=["dead letters"], summary="Take a discard back")
@in_thread
def restore_letter(
    request: Request[Any, Any, Any],
    workspace: NamedDependency[Workspace],
    letter_id: FromPath[int],
) -> WireLetter:
    """A discarded letter waits again.

    Raises:
        NotFoundError: there is no such letter.
        ConflictError: it was replayed.
    """
    caller = caller_of(request)
    return _wire(workspace.letters.restore(letter_id, caller.name))


HANDLERS = [list_letters, get_letter, replay_letter, discard_letter, restore_letter]
