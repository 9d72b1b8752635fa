"""The box of dead letters: look at them, correct and replay them, put them away and take that back.

A replay is the call as it would have come in at first, corrected or not: the same key's name and trust, the same
message id, the time at which it happened. It is received, and can first be used, when it is replayed.
"""

from __future__ import annotations

import json
import threading
from typing import Any, cast

import msgspec
from sqlalchemy import Connection, delete, func, select, update

from vitrina.collect.bots import BotCheck
from vitrina.collect.dead_letters import plain_text
from vitrina.collect.ingest import Terms, accept, event_row
from vitrina.collect.segment_api import KINDS, Delivery, read
from vitrina.collect.tables import dead_letter
from vitrina.core.access import Source
from vitrina.core.clock import Clock, Micros
from vitrina.core.dead_letter import STATUSES, Letter, LetterFilter, Replayed
from vitrina.core.errors import ConflictError, NotFoundError, RefusedError, UserError
from vitrina.core.event import Event
from vitrina.govern.audit import Audit
from vitrina.storage.journal import Journal, JournalRow
from vitrina.storage.store import Store

__all__ = ["Letterbox"]

_table = dead_letter
_TIMES = ("timestamp", "originalTimestamp", "sentAt")


class Letterbox:
    """Dead letters of a workspace.

    Args:
        store, journal: where letters lie, and where events go.
        terms: what is accepted.
        audit, clock: of the workspace.
    """

    def __init__(self, store: Store, journal: Journal, terms: Terms, audit: Audit, clock: Clock) -> None:
        self._store = store
        self._journal = journal
        self._terms = terms
        self._audit = audit
        self._clock = clock
        self._one = threading.Lock()  # a letter is replayed by one at a time

    def list(self, wanted: LetterFilter | None = None, limit: int = 50) -> list[Letter]:
        """Letters, newest first, without their bodies.

        Raises:
            UserError: there is no such status.
        """
        wanted = wanted or LetterFilter()
        if wanted.status and wanted.status not in STATUSES:
            raise UserError(
                f"there is no status {wanted.status}.",
                code="letter.status",
                where="status",
                cure=f"Statuses are {', '.join(STATUSES)}.",
            )
        query = select(_table).order_by(_table.c.number.desc()).limit(limit)
        for name in ("status", "code", "event", "source"):
            value = getattr(wanted, name)
            if value:
                query = query.where(_table.c[name] == value)
        if wanted.before is not None:
            query = query.where(_table.c.number < wanted.before)
        with self._store.read() as connection:
            return [_letter(row, body=False) for row in connection.execute(query)]

    def waiting(self) -> int:
        """How many letters wait to be corrected or discarded."""
        query = select(func.count()).select_from(_table).where(_table.c.status == "waiting")
        with self._store.read() as connection:
            return connection.execute(query).scalar_one()

    def find(self, number: int) -> Letter:
        """One letter with its body.

        Raises:
            NotFoundError: there is none, or it is no longer kept.
        """
        return _letter(self._row(number), body=True)

    def discard(self, number: int, by: str) -> Letter:
        """Put a letter away; doing it again changes nothing.

        Raises:
            NotFoundError: there is none.
            ConflictError: it was replayed.
        """
        return self._move(number, "waiting", "discarded", by, "letter.discard")

    def restore(self, number: int, by: str) -> Letter:
        """Take back a discard; on a letter that waits it changes nothing.

        Raises:
            NotFoundError: there is none.
            ConflictError: it was replayed.
        """
        return self._move(number, "discarded", "waiting", by, "letter.restore")

    def replay(self, number: int, by: str, body: bytes | None = None) -> Replayed:
        """Take in a refused call after all; nothing is stored and the letter stays when it is refused again.

        Args:
            number: of the letter.
            by: who replays it, for the audit log.
            body: the corrected call (JSON); as it was when None. Its message id is always the letter's own.

        Raises:
            NotFoundError: there is no such letter.
            ConflictError: it was replayed already, or discarded.
            UserError: it is refused again; code, place and cure say why.
            RefusedError: it is about a person who was erased; the letter is gone now.
            MachineError: it could not be stored; try again.
        """
        with self._one:
            row = self._row(number)
            _check_waiting(row)
            accepted = self._accept(row, body)
            if accepted is None:
                self._store.write(lambda c: self._forget(c, number, by))
                raise RefusedError(
                    "this letter is about a person who was erased, so it is deleted.",
                    code="letter.erased",
                    where=str(number),
                )
            stored = self._store.writer.append(self._journal, [accepted]).result()[0] is not None
            details = {"letter": number, "corrected": body is not None, "stored": stored}
            self._store.write(lambda c: self._mark(c, number, "replayed", by, "letter.replay", details))
        return Replayed(id=number, status="replayed", stored=stored, message_id=accepted.item.message_id)

    def _accept(self, row: Any, body: bytes | None) -> JournalRow | None:
        """The row of the letter's event as it is accepted now, or None when its person was erased."""
        delivery = _call_of(row, body)
        terms = self._terms
        if terms.bots is not None:  # the check that runs counts the clicks of this minute, not of that one
            terms = msgspec.structs.replace(terms, bots=BotCheck(terms.bots.clicks_per_minute))
        source = Source(row.source, "secret" if row.trusted else "write", bool(row.trusted))
        taken = accept(delivery, source, row.at, terms)
        for refused in taken.dead:
            raise UserError(f"{refused.cause}.", code=refused.code, where=refused.where, cure=refused.cure)
        if not taken.rows:
            return None
        now = self._clock.now()
        event: Event = msgspec.structs.replace(taken.rows[0].item, received_at=now, available_at=now)
        return event_row(event)

    # rows

    def _row(self, number: int) -> Any:
        with self._store.read() as connection:
            return _found(connection, number)

    def _move(self, number: int, before: str, after: str, by: str, action: str) -> Letter:
        def move(connection: Connection) -> Letter:
            row = _found(connection, number)
            if row.status not in (before, after):
                _check_waiting(row)
            if row.status == before:
                self._mark(connection, number, after, by, action, {"letter": number})
            return _letter(_found(connection, number), body=True)

        with self._one:
            return self._store.write(move)

    def _mark(
        self, connection: Connection, number: int, status: str, by: str, action: str, details: dict[str, Any]
    ) -> None:
        now = self._clock.now()
        changed = (
            {"changed_at": None, "changed_by": None} if status == "waiting" else {"changed_at": now, "changed_by": by}
        )
        connection.execute(update(_table).where(_table.c.number == number).values(status=status, **changed))
        self._audit.append(connection, by, action, details)

    def _forget(self, connection: Connection, number: int, by: str) -> None:
        connection.execute(delete(_table).where(_table.c.number == number))
        self._audit.append(connection, by, "letter.erase", {"letter": number})


def _found(connection: Connection, number: int) -> Any:
    row = connection.execute(select(_table).where(_table.c.number == number)).first()
    if row is None:
        raise NotFoundError(
            f"there is no dead letter {number}.",
            code="letter.unknown",
            where="id",
            cure="List those that are kept; they are deleted after 30 days, or when their person is erased.",
        )
    return row


def _check_waiting(row: Any) -> None:
    if row.status == "replayed":
        raise ConflictError(
            f"the dead letter {row.number} was replayed already.",
            code="letter.replayed",
            where="id",
            cure="Nothing was stored again. Send a new event if something else happened.",
        )
    if row.status == "discarded":
        raise ConflictError(
            f"the dead letter {row.number} was discarded.",
            code="letter.discarded",
            where="id",
            cure="Restore it first.",
        )


def _call_of(row: Any, body: bytes | None) -> Delivery:
    """The letter's call, or the corrected one in its place; what that leaves out of type, time and context stays."""
    if body is None and not row.body:
        raise UserError(
            "the body of this letter was too deep to be kept.",
            code="letter.empty",
            where="body",
            cure="Replay it with a corrected body.",
        )
    held = _object(row.body) or {}
    call = held if body is None else _object(body)
    if call is None or (body is None and not held):
        raise UserError(
            "the call can't be read as a JSON object." if body is not None else "the body of this letter was cut off.",
            code="json.unreadable",
            where="body",
            cure="Replay it with the corrected call as one JSON object.",
        )
    call = _completed(call, held)
    kind = call.get("type")
    if kind not in KINDS[1:]:
        raise UserError(
            f"{kind!r} is no type of call.",
            code="event.unknown_type",
            where="type",
            cure=f"Name one of {', '.join(KINDS[1:])}.",
        )
    delivery = read(json.dumps(call).encode(), cast("str", kind))
    for refused in delivery.dead:
        raise UserError(f"{refused.cause}.", code=refused.code, where=refused.where, cure=refused.cure)
    message = delivery.messages[0]
    message.message_id = row.message_id or message.message_id or f"dead-letter-{row.number}"
    return delivery


def _completed(call: dict[str, Any], held: dict[str, Any]) -> dict[str, Any]:
    kept = {name: held[name] for name in ("type", "context") if name in held}
    if not any(call.get(name) for name in _TIMES):
        kept |= {name: held[name] for name in _TIMES if name in held}
    return {**kept, **call}


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def _letter(row: Any, *, body: bool) -> Letter:
    return Letter(
        id=row.number,
        refused_at=Micros(row.at),
        source=row.source,
        trusted=bool(row.trusted),
        event=row.event,
        code=row.code,
        where=row.place,
        cause=row.cause,
        cure=row.cure,
        message_id=row.message_id,
        status=row.status,
        changed_at=row.changed_at,
        changed_by=row.changed_by,
        body=_readable(bytes(row.body)) if body else "",
    )


def _readable(body: bytes) -> str:
    """The body as a person reads it: letters as letters, one field a line."""
    call = _object(body)
    text = body.decode("utf-8", "backslashreplace") if call is None else json.dumps(call, ensure_ascii=False, indent=2)
    return plain_text(text)
