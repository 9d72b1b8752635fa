"""Engines over the two databases that a store may be: SQLite (a file) and PostgreSQL (psycopg 3).

The address of a PostgreSQL store may name a schema, `postgresql://user@host/name?schema=shop`, so that several
workspaces share a database; it is made when the store is first migrated.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from vitrina.core.errors import UserError, require

__all__ = ["Address", "connect", "make_schema", "parse_address", "schema_of_folder", "store_address"]

_CACHE_KIB = 65_536
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_BACKENDS = ("sqlite", "postgresql")


class Address(msgspec.Struct, frozen=True):
    """Where a store lies: a SQLAlchemy URL and, on PostgreSQL, the schema of its tables ("" for the default one)."""

    url: URL
    schema: str = ""

    @property
    def is_sqlite(self) -> bool:
        """True for a file, False for a server."""
        return self.url.get_backend_name() == "sqlite"

    def __str__(self) -> str:
        return self.url.render_as_string() + (f"?schema={self.schema}" if self.schema else "")


def schema_of_folder(folder: Path) -> str:
    """The name of a schema for the workspace in `folder`: what `{folder}` stands for in an address.

    >>> schema_of_folder(Path("/srv/My Shop"))
    'my_shop_bb9cd97c'
    """
    path = folder.resolve()
    name = re.sub(r"[^a-z0-9]+", "_", path.name.lower()).strip("_")[:48]
    return f"{name if name[:1].isalpha() else f'w_{name}'}_{blake2b(str(path).encode(), digest_size=4).hexdigest()}"


def store_address(setting: str, folder: Path) -> str:
    """What the setting `storage.url` means in the workspace in `folder`: empty is `store.db`, paths are relative."""
    if not setting:
        return str(folder / "store.db")
    return setting.replace("{folder}", schema_of_folder(folder))


def parse_address(given: str) -> Address:
    """The address that a person wrote: a URL, or a bare path of a SQLite file.

    Raises:
        UserError: it can't be read, names a database in memory, or one that is neither SQLite nor PostgreSQL.
    """
    try:
        url = make_url(given) if "://" in given else URL.create("sqlite", database=given)
        backend = url.get_backend_name()
        if backend not in _BACKENDS:
            raise ArgumentError(f"{backend} is none of {', '.join(_BACKENDS)}")
    except ArgumentError as error:
        raise UserError(
            f"the address of the store can't be read: {error}.",
            code="store.url",
            where="storage.url",
            cure="Write it like sqlite:///store.db or postgresql://user@host/name, or leave it empty.",
        ) from None
    if backend == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise UserError("the store must be a file.", code="store.memory", where=given, cure="Name a file.")
        return Address(url)
    require("psycopg", "postgres")
    schema = url.query.get("schema", "")
    if not isinstance(schema, str) or (schema and not _SCHEMA.fullmatch(schema)):
        raise UserError(
            f"{schema} can't be the name of a schema.",
            code="store.schema",
            where="storage.url",
            cure="Use small letters, digits and _, beginning with a letter; at most 63.",
        )
    return Address(url.difference_update_query(["schema"]).set(drivername="postgresql+psycopg"), schema)


def connect(address: Address, *, writing: bool, autocheckpoint: int = 1000) -> Engine:
    """An engine of the writer's, or of the readers'.

    Args:
        address: where the store lies.
        writing: readers can't write, and see one committed state for as long as they hold a connection.
        autocheckpoint: SQLite pages between checkpoints, done by the writer.
    """
    if address.is_sqlite:
        return _connect_sqlite(address.url, autocheckpoint, writing=writing)
    return _connect_postgresql(address, writing=writing)


def _connect_sqlite(url: URL, autocheckpoint: int, *, writing: bool) -> Engine:
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    arguments: dict[str, Any] = {"timeout": 5.0, "check_same_thread": False, "cached_statements": 512}
    engine = create_engine(url, connect_args=arguments)

    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        cursor.execute("pragma journal_mode = wal")
        cursor.execute("pragma synchronous = full")
        cursor.execute("pragma busy_timeout = 5000")
        cursor.execute("pragma foreign_keys = on")
        cursor.execute("pragma temp_store = memory")
        if writing:
            cursor.execute(f"pragma cache_size = -{_CACHE_KIB}")
            cursor.execute(f"pragma wal_autocheckpoint = {autocheckpoint:d}")
            cursor.execute("pragma journal_size_limit = 67108864")
            cursor.execute("pragma secure_delete = off")  # some builds have it on; an erasure ends with `scrub`
        else:
            cursor.execute("pragma query_only = on")
        cursor.close()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("begin immediate" if writing else "begin")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def _connect_postgresql(address: Address, *, writing: bool) -> Engine:
    # An acknowledged event has to outlive a crash whatever the server's default is; times are UTC everywhere.
    options = ["-c timezone=UTC", "-c synchronous_commit=on"]
    if address.schema:
        options.append(f"-c search_path={address.schema}")
    arguments: dict[str, Any] = {
        "options": " ".join(options),
        "application_name": "vitrina writer" if writing else "vitrina reader",
        "connect_timeout": 5,
        "keepalives_idle": 30,
        # Statements that come again and again are prepared at once: the writer's are few and always the same.
        "prepare_threshold": 1 if writing else 5,
    }
    if writing:
        return create_engine(address.url, connect_args=arguments)
    engine = create_engine(
        address.url, connect_args=arguments, isolation_level="REPEATABLE READ", pool_pre_ping=True, pool_size=8
    )
    return engine.execution_options(postgresql_readonly=True)


def make_schema(address: Address) -> None:
    """Make the schema that the address names, if it names one that isn't there yet."""
    if not address.schema:
        return
    engine = create_engine(address.url, connect_args={"connect_timeout": 5})
    try:
        with engine.begin() as connection:
            connection.execute(text("select pg_advisory_xact_lock(hashtext('vitrina.schema'))"))
            connection.execute(text(f'create schema if not exists "{address.schema}"'))
    finally:
        engine.dispose()
