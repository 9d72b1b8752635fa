"""Secrets that only this workspace knows: one signs sessions, one proves who a page speaks for."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from sqlalchemy import BigInteger, Column, Connection, LargeBinary, String, select

from vitrina.core.clock import Clock, Micros, iso
from vitrina.core.errors import ConflictError
from vitrina.govern.audit import Audit
from vitrina.storage.declared import declare
from vitrina.storage.store import Store

__all__ = ["Identity", "session_secret"]

_NOW, _BEFORE = "identity", "identity before"
_HASH = 64  # hex digits of SHA-256

workspace_secret = declare(
    "workspace_secret",
    Column("name", String(32), primary_key=True),
    Column("value", LargeBinary(32), nullable=False),
    Column("ends_at", BigInteger, nullable=True),
    subject=None,
    purpose="essential",
    retention="as long as the workspace; one that was replaced until the next is",
    eraser="none",
    exporter="none",
    columns={
        "name": "identity | identity before | session",
        "value": "256 random bits",
        "ends_at": "when it stops to count, microseconds UTC, or null",
    },
)


def _secret(store: Store, name: str) -> bytes:
    """The named secret of this workspace, made on first use."""
    query = select(workspace_secret.c.value).where(workspace_secret.c.name == name)
    with store.read() as connection:
        value = connection.execute(query).scalar()
    if value is not None:
        return value

    def make(connection: Connection) -> bytes:
        present = connection.execute(query).scalar()
        if present is None:
            present = secrets.token_bytes(32)
            connection.execute(workspace_secret.insert().values(name=name, value=present))
        return present

    return store.write(make)


def session_secret(store: Store) -> bytes:
    """The secret that signs sessions."""
    return _secret(store, "session")


class Identity:
    """The secret with which a shop's server makes `userHash`, and for a while the one before it.

    A userHash is the hex HMAC-SHA-256 of the userId, with the hex text of the secret as key. It proves that the shop's
    server let this page speak for this userId.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._now: bytes | None = None
        self._before: bytes | None = None
        self._before_ends: Micros = 0

    def load(self, connection: Connection) -> None:
        """Read what another process may have changed."""
        rows = {row.name: row for row in connection.execute(select(workspace_secret))}
        now, before = rows.get(_NOW), rows.get(_BEFORE)
        self._before = None if before is None else bytes(before.value).hex().encode()
        self._before_ends = 0 if before is None else before.ends_at
        self._now = None if now is None else bytes(now.value).hex().encode()

    def text(self) -> str:
        """The secret in hex; it belongs on servers only."""
        if self._now is None:
            self._now = bytes(_secret(self._store, _NOW)).hex().encode()
        return self._now.decode()

    def user_hash(self, user_id: str) -> str:
        """The userHash of a userId under the secret of now."""
        return _hash(self.text().encode(), user_id)

    def proves(self, user_id: str, user_hash: str | None) -> bool:
        """Whether a userHash belongs to a userId, under the secret of now or one that was replaced and still counts.

        How long it takes doesn't say how much of the hash was right, nor which secret it was made with.
        """
        given = (user_hash or "").lower().encode("utf-8", "surrogatepass")[: _HASH + 1]
        now = hmac.compare_digest(self.user_hash(user_id).encode(), given)
        before = hmac.compare_digest(_hash(self._before or b"", user_id).encode(), given)
        counts = self._before is not None and self._clock.now() < self._before_ends
        return now | (before & counts)

    def rotate(self, grace: Micros, by: str) -> None:
        """Make a new secret; the one of now counts for `grace` longer.

        Raises:
            ConflictError: the secret before this one still counts, and two can't be kept. A grace of 0 ends both.
        """
        self.text()
        now = self._clock.now()

        def change(connection: Connection) -> None:
            self.load(connection)
            if grace > 0 and self._before is not None and now < self._before_ends:
                raise ConflictError(
                    f"the secret before this one still counts until {iso(self._before_ends)}.",
                    code="identity.rotating",
                    where="grace",
                    cure="Wait until then, or end both now with a grace of 0.",
                )
            old = connection.execute(select(workspace_secret.c.value).where(workspace_secret.c.name == _NOW)).scalar()
            connection.execute(workspace_secret.delete().where(workspace_secret.c.name.in_((_NOW, _BEFORE))))
            connection.execute(workspace_secret.insert().values(name=_NOW, value=secrets.token_bytes(32)))
            if grace > 0:
                connection.execute(workspace_secret.insert().values(name=_BEFORE, value=old, ends_at=now + grace))
            Audit(self._store, self._clock).append(connection, by, "identity.rotate", {"grace_seconds": grace // 10**6})
            self.load(connection)

        self._store.write(change)


def _hash(secret: bytes, user_id: str) -> str:
    return hmac.digest(secret, user_id.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()
