"""People who sign in to the console. A password is kept as argon2id (RFC 9106, argon2-cffi's default profile)."""

from __future__ import annotations

import secrets

import msgspec
from sqlalchemy import BigInteger, Column, Connection, String, select

from vitrina.core.access import ROLES
from vitrina.core.clock import Clock, Micros
from vitrina.core.errors import ConflictError, UserError
from vitrina.govern.secret import session_secret
from vitrina.storage.declared import declare
from vitrina.storage.store import Store

__all__ = ["User", "Users"]

_SHORTEST_PASSWORD = 10

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


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A member of staff who may sign in. Times in microseconds UTC."""

    id: str
    email: str
    role: str
    created_at: Micros
    changed_at: Micros


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
        return session_secret(self._store)


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
