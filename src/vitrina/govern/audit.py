"""The audit log: who did what, chained so that a changed or missing entry shows.

Each entry holds the SHA-256 of the entry before it and of its own canonical JSON (sorted keys, RFC 8785 for the values
used here: text, integers, booleans). The chain doesn't stop the owner of the disk from writing all of it anew; it stops
one entry from being changed unseen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Integer, LargeBinary, String, Text, select

from vitrina.core.clock import Clock
from vitrina.storage.declared import declare
from vitrina.storage.store import Store

__all__ = ["Audit", "AuditEntry", "Verified", "audit_entry"]

audit_entry = declare(
    "audit_entry",
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("action", String(64), nullable=False),
    Column("details", Text, nullable=False),
    Column("previous", LargeBinary(32), nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    subject=None,
    purpose="obligation: proof of what was done",
    retention="three years",
    eraser="none",
    exporter="none",
    columns={
        "seq": "number of the entry, from 1 without gaps",
        "at": "when, microseconds UTC",
        "actor": "key, user or part that did it; never a customer",
        "action": "what was done, area.verb",
        "details": "JSON object without personal data",
        "previous": "hash of the entry before",
        "hash": "SHA-256 of previous and the entry's canonical JSON",
    },
)

_encode = msgspec.json.Encoder(order="sorted").encode


class AuditEntry(msgspec.Struct, frozen=True):
    """One entry, as read back."""

    seq: int
    at: int
    actor: str
    action: str
    details: dict[str, str | int | bool]


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a walk along the chain found.

    Attributes:
        entries: how many are whole, from the first on.
        broken_at: number of the first that was changed or is missing; None when the chain holds.
        last_hash: hash of the last whole entry, hex.
    """

    entries: int
    broken_at: int | None
    last_hash: str


class Audit:
    """The audit log of a workspace."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def record(self, actor: str, action: str, details: Mapping[str, str | int | bool] | None = None) -> None:
        """Append an entry and wait for its commit. `details` must not name a customer."""
        self._store.write(lambda connection: self.append(connection, actor, action, details))

    def append(
        self, connection: Connection, actor: str, action: str, details: Mapping[str, str | int | bool] | None = None
    ) -> None:
        """Append an entry in the caller's transaction, beside what it speaks of."""
        last = connection.execute(
            select(audit_entry.c.seq, audit_entry.c.hash).order_by(audit_entry.c.seq.desc()).limit(1)
        ).first()
        seq, previous = (last.seq + 1, bytes(last.hash)) if last is not None else (1, bytes(32))
        text = _encode(dict(details or {})).decode()
        at = self._clock.now()
        connection.execute(
            audit_entry.insert().values(
                seq=seq,
                at=at,
                actor=actor,
                action=action,
                details=text,
                previous=previous,
                hash=_chain(previous, seq, at, actor, action, text),
            )
        )

    def entries(self, limit: int = 100, action: str = "") -> list[AuditEntry]:
        """The newest entries whose action begins with `action`, newest first."""
        query = select(audit_entry).order_by(audit_entry.c.seq.desc()).limit(limit)
        if action:
            query = query.where(audit_entry.c.action.startswith(action, autoescape=True))
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        return [AuditEntry(row.seq, row.at, row.actor, row.action, msgspec.json.decode(row.details)) for row in rows]

    def verify(self) -> Verified:
        """Walk the chain from its beginning to the first entry whose hash or place is wrong."""
        previous, number = bytes(32), 0
        with self._store.read() as connection:
            for row in connection.execute(select(audit_entry).order_by(audit_entry.c.seq)):
                hashed = _chain(previous, row.seq, row.at, row.actor, row.action, row.details)
                if row.seq != number + 1 or bytes(row.previous) != previous or bytes(row.hash) != hashed:
                    return Verified(entries=number, broken_at=number + 1, last_hash=previous.hex())
                previous, number = hashed, number + 1
        return Verified(entries=number, broken_at=None, last_hash=previous.hex())


def _chain(previous: bytes, seq: int, at: int, actor: str, action: str, details: str) -> bytes:
    body = _encode({"seq": seq, "at": at, "actor": actor, "action": action, "details": details})
    return hashlib.sha256(previous + body).digest()
