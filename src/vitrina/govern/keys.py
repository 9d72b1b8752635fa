"""Keys of programs: made, replaced, ended, and found again in a request.

A key has 256 random bits and is shown once; its first characters and its SHA-256 are kept. Whatever changes a key is
written to the audit log in the same transaction.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Connection, LargeBinary, Row, String, select

from vitrina.core.access import SCOPES, WRITE_SCOPES, Caller
from vitrina.core.clock import HOUR, SECOND, Clock, Micros, iso
from vitrina.core.errors import ConflictError, NotFoundError, UserError, VitrinaError
from vitrina.govern.audit import Audit
from vitrina.govern.secret import Identity
from vitrina.storage.declared import declare
from vitrina.storage.store import Store

__all__ = ["KeyInfo", "Keys"]

_PREFIX = {"write": "vw_", "secret": "vs_"}
_SHOWN = 11  # characters of a key that are kept to recognise it by
_RELOAD_SECONDS = 5.0
_COARSE = HOUR  # a key's last use is known to the hour: one write an hour, not one a request
_LONGEST_NAME = 100
_FOR_EVER = (1 << 63) - 1

api_key = declare(
    "api_key",
    Column("id", String(32), primary_key=True),
    Column("name", String(_LONGEST_NAME), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("hash", LargeBinary(32), nullable=False, unique=True),
    Column("scopes", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=True),
    Column("revoked_at", BigInteger, nullable=True),
    Column("replaced_by", String(32), nullable=True),
    Column("last_used_at", BigInteger, nullable=True),
    subject=None,
    purpose="essential",
    retention="as long as the workspace; a key that ended stays as a record",
    eraser="none",
    exporter="none",
    columns={
        "id": "short id, shown in lists and in the audit log",
        "name": "what it is for, as its maker wrote",
        "kind": "write | secret",
        "prefix": "first characters of the key, to recognise it by",
        "hash": "SHA-256 of the key",
        "scopes": "what it may do, separated by spaces; * is everything",
        "created_at": "when it was made, microseconds UTC",
        "expires_at": "when it ends by itself, microseconds UTC, or null",
        "revoked_at": "when it was revoked, or will be after a rotation, microseconds UTC, or null",
        "replaced_by": "id of the key that a rotation made in its place, or null",
        "last_used_at": "the hour in which it was used last, microseconds UTC, or null",
    },
)


class KeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A key as a list shows it: never the key itself. Times in microseconds UTC.

    `status` works | ending (replaced, works until `revoked_at`) | revoked | expired.
    """

    id: str
    name: str
    kind: str
    prefix: str
    scopes: tuple[str, ...]
    status: str
    created_at: Micros
    expires_at: Micros | None
    revoked_at: Micros | None
    replaced_by: str | None
    last_used_at: Micros | None


class _Known:
    """A key in memory: whom it stands for, until when, and the hour of use that is written already."""

    __slots__ = ("caller", "expires", "id", "revoked", "used")

    def __init__(self, row: Row[Any]) -> None:
        self.id: str = row.id
        self.caller = Caller(f"{row.name} {row.id}", row.kind, frozenset(row.scopes.split()))
        self.expires: Micros = _FOR_EVER if row.expires_at is None else row.expires_at
        self.revoked: Micros = _FOR_EVER if row.revoked_at is None else row.revoked_at
        self.used: Micros = row.last_used_at or 0


class Keys:
    """The keys of a workspace.

    `find` answers from memory. What another process changed counts at the next request where both see `mark`, a file
    that grows by a byte with every change, else within five seconds.
    """

    def __init__(self, store: Store, clock: Clock, mark: Path) -> None:
        self._store = store
        self._clock = clock
        self._mark = str(mark)
        self._audit = Audit(store, clock)
        self._identity = Identity(store, clock)
        self._known: dict[bytes, _Known] = {}
        self._loaded = 0.0
        self._seen = -1
        self._lock = threading.Lock()

    # changes

    def create(
        self,
        kind: str,
        scopes: tuple[str, ...] = (),
        name: str = "",
        *,
        expires: Micros | None = None,
        by: str = "python",
    ) -> str:
        """Make a key and return it; it can't be shown again.

        Args:
            kind: write (public: events, and decisions of public placements) or secret.
            scopes: of a secret key, from `SCOPES`; empty means everything.
            name: what it is for, at most 100 characters.
            expires: when it ends by itself; None means never.
            by: who makes it, for the audit log.

        Raises:
            UserError: unknown kind or scope, scopes on a write key, a name or an end that can't be.
        """
        granted = _granted(kind, scopes)
        _check_name(name)
        if expires is not None and expires <= self._clock.now():
            raise UserError(
                f"the key would end at {iso(expires)}, which is past.",
                code="key.expires",
                where="expires",
                cure="Name a later moment.",
            )
        token, row = self._new(kind, granted, name or kind, expires)

        def insert(connection: Connection) -> None:
            connection.execute(api_key.insert().values(**row))
            self._audit.append(connection, by, "key.create", _details(row))

        self._change(insert)
        return token

    def rotate(self, key: str, grace: Micros, *, by: str = "python") -> tuple[str, KeyInfo]:
        """Make a key that may do the same in place of another, which works for `grace` longer.

        It lives as long as the old one was made for.

        Args:
            key: id, first characters or the key itself.
            grace: microseconds; with 0 the old key ends now.
            by: who does it, for the audit log.

        Returns:
            The new key, which can't be shown again, and the old one as it is now.

        Raises:
            NotFoundError: there is no such key.
            ConflictError: it ended already, or was replaced.
        """
        old = self._named(key)
        if old.status != "works":
            raise ConflictError(
                f"the key {old.id} {'was replaced by ' + str(old.replaced_by) if old.replaced_by else 'has ended'}.",
                code="key.ended",
                where="key",
                cure="Rotate the key that is in use: see `vitrina keys list`.",
            )
        now = self._clock.now()
        expires = None if old.expires_at is None else now + old.expires_at - old.created_at
        token, row = self._new(old.kind, " ".join(old.scopes), old.name, expires)

        def replace(connection: Connection) -> None:
            connection.execute(api_key.insert().values(**row))
            change = api_key.update().where(api_key.c.id == old.id)
            connection.execute(change.values(revoked_at=now + grace, replaced_by=row["id"]))
            details = {"id": old.id, "replaced_by": row["id"], "grace_seconds": grace // SECOND}
            self._audit.append(connection, by, "key.rotate", details)

        self._change(replace)
        return token, self._named(old.id)

    def revoke(self, key: str, *, by: str = "python") -> KeyInfo:
        """Revoke a key by its id, its first characters or itself: from the next request on it opens nothing.

        Raises:
            NotFoundError: there is no such key.
        """
        known, now = self._named(key), self._clock.now()
        if known.status != "revoked":
            self._set(known.id, by, "key.revoke", revoked_at=now)
        return self._named(known.id)

    def restore(self, key: str, *, by: str = "python") -> KeyInfo:
        """Take a revocation back, or the end that a rotation set: the key works again.

        Raises:
            NotFoundError: there is no such key.
            ConflictError: it wasn't revoked.
        """
        known = self._named(key)
        if known.revoked_at is None:
            raise ConflictError(
                f"the key {known.id} was not revoked.",
                code="key.not_revoked",
                where="key",
                cure="Nothing has to be taken back; a key that ran out is replaced by a new one.",
            )
        self._set(known.id, by, "key.restore", revoked_at=None, replaced_by=None)
        return self._named(known.id)

    def rotate_identity(self, grace: Micros, *, by: str = "python") -> str:
        """Make a new identity secret; a `userHash` made with the old one counts for `grace` longer (microseconds).

        Raises:
            ConflictError: the secret before this one still counts.
        """
        self._identity.rotate(grace, by)
        self._tell()
        return self._identity.text()

    # reading

    def list(self) -> list[KeyInfo]:
        """Every key, oldest first."""
        now = self._clock.now()
        with self._store.read() as connection:
            rows = connection.execute(select(api_key).order_by(api_key.c.created_at, api_key.c.id)).all()
        return [_info(row, now) for row in rows]

    def find(self, token: str) -> Caller | None:
        """The caller that a key stands for; None for one that opens nothing."""
        known = self._look(token)
        if known is None:
            return None
        now = self._clock.now()
        if now >= known.revoked or now >= known.expires:
            return None
        if now - known.used >= _COARSE:
            self._note_use(known, now // _COARSE * _COARSE)
        return known.caller

    def ended(self, token: str) -> tuple[str, str] | None:
        """Of a key that opens nothing any more, its name and why: revoked | expired; None for one that never was."""
        known = self._look(token)
        if known is None:
            return None
        return known.caller.name, "revoked" if self._clock.now() >= known.revoked else "expired"

    def identity_secret(self) -> str:
        """The secret in hex with which a shop's server makes `userHash`; it belongs on servers only."""
        self._refresh()
        return self._identity.text()

    def user_hash(self, user_id: str) -> str:
        """Hex HMAC-SHA-256 of a userId with the identity secret (its hex text as key)."""
        self._refresh()
        return self._identity.user_hash(user_id)

    def proves(self, user_id: str, user_hash: str | None) -> bool:
        """Whether a userHash belongs to a userId; see `Identity.proves`."""
        self._refresh()
        return self._identity.proves(user_id, user_hash)

    # how

    def _new(self, kind: str, scopes: str, name: str, expires: Micros | None) -> tuple[str, dict[str, Any]]:
        token = _PREFIX[kind] + secrets.token_urlsafe(32)
        return token, {
            "id": f"k_{secrets.token_hex(6)}",
            "name": name,
            "kind": kind,
            "prefix": token[:_SHOWN],
            "hash": _digest(token),
            "scopes": scopes,
            "created_at": self._clock.now(),
            "expires_at": expires,
        }

    def _named(self, key: str) -> KeyInfo:
        now, digest = self._clock.now(), _digest(key)
        with self._store.read() as connection:
            rows = connection.execute(select(api_key)).all()
        found = [row for row in rows if key in (row.id, row.prefix) or digest == bytes(row.hash)]
        if len(found) != 1:
            raise NotFoundError(
                f"there is no key {key[:_SHOWN]}{'…' if len(key) > _SHOWN else ''}.",
                code="key.unknown",
                where="key",
                cure="See `vitrina keys list`, and name its id.",
            )
        return _info(found[0], now)

    def _set(self, key_id: str, by: str, action: str, **values: object) -> None:
        def change(connection: Connection) -> None:
            connection.execute(api_key.update().where(api_key.c.id == key_id).values(**values))
            self._audit.append(connection, by, action, {"id": key_id})

        self._change(change)

    def _change(self, change: Callable[[Connection], None]) -> None:
        self._store.write(change)
        self._tell()

    def _tell(self) -> None:
        """Let every process of this workspace know that something changed."""
        with contextlib.suppress(OSError), Path(self._mark).open("ab") as file:
            file.write(b".")
        self._loaded = 0.0

    def _look(self, token: str) -> _Known | None:
        self._refresh()
        return self._known.get(_digest(token))

    def _refresh(self) -> None:
        try:
            size = os.stat(self._mark).st_size  # noqa: PTH116 - with every request: a Path costs more than the look
        except OSError:
            size = 0
        if size != self._seen or time.monotonic() - self._loaded > _RELOAD_SECONDS:
            self._load(size)

    def _load(self, size: int) -> None:
        with self._lock, self._store.read() as connection:
            rows = connection.execute(select(api_key)).all()
            self._known = {bytes(row.hash): _Known(row) for row in rows}
            self._identity.load(connection)
            self._seen, self._loaded = size, time.monotonic()

    def _note_use(self, known: _Known, hour: Micros) -> None:
        """Write the hour of use with the next group of writes; nobody waits for it."""
        known.used = hour
        change = api_key.update().where(api_key.c.id == known.id).values(last_used_at=hour)
        with contextlib.suppress(VitrinaError):  # a store that can't be written is said elsewhere
            self._store.writer.call(lambda connection: connection.execute(change))


def _granted(kind: str, scopes: tuple[str, ...]) -> str:
    """What a new key may do, as it is kept."""
    if kind not in _PREFIX:
        raise UserError(f"{kind} is no kind of key.", code="key.kind", where="kind", cure="Say write or secret.")
    unknown = [scope for scope in scopes if scope not in SCOPES and scope != "*"]
    if unknown:
        cure = f"Scopes are {', '.join(SCOPES)}."
        raise UserError(f"there is no scope {unknown[0]}.", code="key.scope", where="scope", cure=cure)
    if kind == "write" and scopes:
        raise UserError(
            "a write key has no scopes.",
            code="key.scope",
            where="scope",
            cure="It sends events and asks for public decisions.",
        )
    if kind == "write":
        return " ".join(sorted(WRITE_SCOPES))
    return "*" if "*" in scopes or not scopes else " ".join(dict.fromkeys(scopes))


def _check_name(name: str) -> None:
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise UserError(
            "the name can't be kept.",
            code="key.name",
            where="name",
            cure=f"Use at most {_LONGEST_NAME} characters, all of them visible.",
        )


def _details(row: dict[str, Any]) -> dict[str, str | int | bool]:
    named = {name: row[name] for name in ("id", "name", "kind", "scopes")}
    return named if row["expires_at"] is None else {**named, "expires": iso(row["expires_at"])}


def _info(row: Row[Any], now: Micros) -> KeyInfo:
    if row.revoked_at is not None and row.revoked_at <= now:
        status = "revoked"
    elif row.expires_at is not None and row.expires_at <= now:
        status = "expired"
    else:
        status = "works" if row.revoked_at is None else "ending"
    names = (name for name in KeyInfo.__struct_fields__ if name not in ("scopes", "status"))
    fields = {name: getattr(row, name) for name in names}
    return KeyInfo(**fields, scopes=tuple(row.scopes.split()), status=status)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
