"""Who may come in: keys for programs, users for people, and the secrets that only this workspace knows.

A key has 256 random bits and is shown once; its prefix and its SHA-256 are kept. A password is kept as argon2id
(RFC 9106, the parameters of argon2-cffi's default profile).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time

import msgspec
from sqlalchemy import BigInteger, Column, Connection, LargeBinary, String, select

from vitrina.core.access import Caller
from vitrina.core.clock import Clock, Micros
from vitrina.core.errors import ConflictError, NotFoundError, UserError
from vitrina.storage.declared import declare
from vitrina.storage.store import Store

__all__ = ["ROLES", "SCOPES", "KeyInfo", "Keys", "User", "Users"]

SCOPES = ("collect", "decide", "catalogue", "people", "decisions", "dead-letters", "metrics")
"""What a secret key may do; without any it may do everything."""

ROLES = ("viewer", "marketer", "admin")
"""Roles of the console, least first."""

_WRITE_SCOPES = frozenset({"collect", "decide"})
_PREFIX = {"write": "vw_", "secret": "vs_"}
_SHOWN = 11  # characters of a key that are kept to recognise it by
_RELOAD_SECONDS = 5.0
_SHORTEST_PASSWORD = 10

api_key = declare(
    "api_key",
    Column("id", String(32), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("hash", LargeBinary(32), nullable=False, unique=True),
    Column("scopes", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger, nullable=True),
    subject=None,
    purpose="essential",
    retention="as long as the workspace; a revoked key stays as a record",
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
        "revoked_at": "when it was revoked, microseconds UTC, or null",
    },
)

console_user = declare(
    "console_user",
    Column("id", String(32), primary_key=True),
    Column("email", String(320), nullable=False, unique=True),
    Column("password", String(200), nullable=False),
    Column("role", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    subject=None,
    purpose="essential",
    retention="as long as the person works here",
    eraser="none",
    exporter="none",
    columns={
        "id": "short id, in sessions and in the audit log",
        "email": "address of the member of staff, in lower case",
        "password": "argon2id hash",
        "role": "viewer | marketer | admin",
        "created_at": "when it was made, microseconds UTC",
        "changed_at": "when password or role changed, microseconds UTC; older sessions end",
    },
)

workspace_secret = declare(
    "workspace_secret",
    Column("name", String(32), primary_key=True),
    Column("value", LargeBinary(32), nullable=False),
    subject=None,
    purpose="essential",
    retention="as long as the workspace",
    eraser="none",
    exporter="none",
    columns={"name": "identity | session", "value": "256 random bits"},
)


class KeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A key as a list shows it: never the key itself. Times in microseconds UTC."""

    id: str
    name: str
    kind: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: Micros
    revoked_at: Micros | None


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A member of staff who may sign in. Times in microseconds UTC."""

    id: str
    email: str
    role: str
    created_at: Micros
    changed_at: Micros


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


class Keys:
    """Keys of programs. `find` answers from memory; what another process made or revoked counts within 5 seconds."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._callers: dict[bytes, Caller] = {}
        self._loaded = 0.0
        self._lock = threading.Lock()
        self._identity: bytes | None = None

    def create(self, kind: str, scopes: tuple[str, ...] = (), name: str = "") -> str:
        """Make a key and return it; it can't be shown again.

        Args:
            kind: write (public: events, and decisions of public placements) or secret.
            scopes: of a secret key, from `SCOPES`; empty means everything.
            name: what it is for.

        Raises:
            UserError: unknown kind or scope, or scopes on a write key.
        """
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
        token = _PREFIX[kind] + secrets.token_urlsafe(32)
        granted = " ".join(sorted(_WRITE_SCOPES)) if kind == "write" else " ".join(scopes) or "*"
        row = {
            "id": f"k_{secrets.token_hex(6)}",
            "name": name or kind,
            "kind": kind,
            "prefix": token[:_SHOWN],
            "hash": hashlib.sha256(token.encode()).digest(),
            "scopes": granted,
            "created_at": self._clock.now(),
        }
        self._store.write(lambda connection: connection.execute(api_key.insert().values(**row)))
        self._loaded = 0.0
        return token

    def list(self) -> list[KeyInfo]:
        """Every key, oldest first."""
        with self._store.read() as connection:
            rows = connection.execute(select(api_key).order_by(api_key.c.created_at, api_key.c.id)).all()
        return [
            KeyInfo(
                id=row.id,
                name=row.name,
                kind=row.kind,
                prefix=row.prefix,
                scopes=tuple(row.scopes.split()),
                created_at=row.created_at,
                revoked_at=row.revoked_at,
            )
            for row in rows
        ]

    def revoke(self, key: str) -> None:
        """Revoke a key by its id or its prefix: from now on it opens nothing.

        Raises:
            NotFoundError: there is no such key.
        """
        known = [info.id for info in self.list() if key in (info.id, info.prefix) or key.startswith(info.prefix)]
        if not known:
            raise NotFoundError(
                f"there is no key {key}.", code="key.unknown", where="key", cure="See `vitrina keys list`."
            )
        change = api_key.update().where(api_key.c.id.in_(known), api_key.c.revoked_at.is_(None))
        self._store.write(lambda connection: connection.execute(change.values(revoked_at=self._clock.now())))
        self._load()

    def find(self, token: str) -> Caller | None:
        """The caller that a key stands for; None for an unknown or revoked one."""
        now = time.monotonic()
        if now - self._loaded > _RELOAD_SECONDS:
            self._load()
        return self._callers.get(hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest())

    def _load(self) -> None:
        with self._lock, self._store.read() as connection:
            self._loaded = time.monotonic()
            rows = connection.execute(select(api_key).where(api_key.c.revoked_at.is_(None))).all()
            self._callers = {
                bytes(row.hash): Caller(f"{row.name} {row.id}", row.kind, frozenset(row.scopes.split())) for row in rows
            }

    def identity_secret(self) -> str:
        """The secret in hex with which a shop's server makes `userHash`; it belongs on servers only."""
        if self._identity is None:
            self._identity = _secret(self._store, "identity")
        return self._identity.hex()

    def user_hash(self, user_id: str) -> str:
        """Hex HMAC-SHA-256 of a userId with the identity secret (its hex text as key)."""
        return hmac.digest(self.identity_secret().encode(), user_id.encode("utf-8", "surrogatepass"), "sha256").hex()


class Users:
    """People who sign in to the console."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def create(self, email: str, password: str, role: str = "admin") -> User:
        """Let a person sign in.

        Raises:
            UserError: the address, the password (shorter than ten characters) or the role won't do.
            ConflictError: the address is there already.
        """
        from argon2 import PasswordHasher

        address = _address(email)
        if len(password) < _SHORTEST_PASSWORD:
            raise UserError(
                "the password is too short.",
                code="user.password",
                where="password",
                cure=f"Take at least {_SHORTEST_PASSWORD} characters.",
            )
        if role not in ROLES:
            raise UserError(
                f"there is no role {role}.", code="user.role", where="role", cure=f"Roles are {', '.join(ROLES)}."
            )
        now = self._clock.now()
        user = User(id=f"m_{secrets.token_hex(6)}", email=address, role=role, created_at=now, changed_at=now)
        hashed = PasswordHasher().hash(password)

        def insert(connection: Connection) -> User:
            if connection.execute(select(console_user.c.id).where(console_user.c.email == address)).first():
                raise ConflictError(f"{address} may sign in already.", code="user.exists", where="email")
            connection.execute(console_user.insert().values(**msgspec.structs.asdict(user), password=hashed))
            return user

        return self._store.write(insert)

    def list(self) -> list[User]:
        """Everybody who may sign in, oldest first."""
        with self._store.read() as connection:
            rows = connection.execute(select(console_user).order_by(console_user.c.created_at, console_user.c.id)).all()
        return [_user(row) for row in rows]

    def count(self) -> int:
        """How many may sign in."""
        return len(self.list())

    def find(self, user_id: str) -> User | None:
        """A user by id, or None."""
        with self._store.read() as connection:
            row = connection.execute(select(console_user).where(console_user.c.id == user_id)).first()
        return None if row is None else _user(row)

    def sign_in(self, email: str, password: str) -> User | None:
        """The user whose address and password these are, or None; an unknown address takes as long as a known one."""
        from argon2 import PasswordHasher
        from argon2.exceptions import Argon2Error, InvalidHashError

        with self._store.read() as connection:
            query = select(console_user).where(console_user.c.email == email.strip().lower())
            row = connection.execute(query).first()
        hasher = PasswordHasher()
        if row is None:
            hasher.hash(password)
            return None
        try:
            hasher.verify(row.password, password)
        except (Argon2Error, InvalidHashError):
            return None
        return _user(row)

    def session_secret(self) -> bytes:
        """The secret that signs sessions."""
        return _secret(self._store, "session")


def _user(row: object) -> User:
    return User(**{name: getattr(row, name) for name in User.__struct_fields__})


def _address(email: str) -> str:
    address = email.strip().lower()
    name, at, host = address.partition("@")
    if not (name and at and host) or " " in address or len(address) > 320:
        raise UserError(
            f"{email!r} is no e-mail address.", code="user.email", where="email", cure="Write it like ann@example.com."
        )
    return address
