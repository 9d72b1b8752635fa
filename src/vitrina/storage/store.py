"""The store: one SQL database behind SQLAlchemy Core; many readers, one writer."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError

from vitrina.core.errors import MachineError, UserError
from vitrina.storage.declared import metadata
from vitrina.storage.journal import Journal, declare_journal
from vitrina.storage.writer import Writer

__all__ = ["Store"]

T = TypeVar("T")

declare_journal("events", dedupe=True)
declare_journal("decisions", dedupe=False)

_CACHE_KIB = 65_536
_SCRUB = ("pragma wal_checkpoint(truncate)", "vacuum", "pragma wal_checkpoint(truncate)")


def _connect_sqlite(url: URL, autocheckpoint: int, *, writing: bool) -> Engine:
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


def _connect(url: URL, autocheckpoint: int, *, writing: bool) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _connect_sqlite(url, autocheckpoint, writing=writing)
    engine = create_engine(url)
    return engine if writing else engine.execution_options(postgresql_readonly=True)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url) if "://" in url else URL.create("sqlite", database=url)
        parsed.get_dialect()
    except ArgumentError as error:
        raise UserError(
            f"the address of the store can't be read: {error}.",
            code="store.url",
            where=url,
            cure="Write it like sqlite:///store.db, or leave it empty.",
        ) from None
    return parsed


class Store:
    """A database with one writer. Open it with `Store.open`, close it with `close`.

    Attributes:
        writer: the one place that writes.
        url: where it lies.
    """

    def __init__(self, url: URL, readers: Engine, writer: Writer) -> None:
        self.url = url
        self.writer = writer
        self._readers = readers
        self._journals: dict[str, Journal] = {}

    @classmethod
    def open(cls, url: str, wal_autocheckpoint: int = 1000, *, threaded: bool = True) -> Store:
        """Open the database at a SQLAlchemy `url` (`sqlite:////path/store.db`).

        Args:
            url: SQLite file or PostgreSQL; a bare path is taken as a SQLite file.
            wal_autocheckpoint: SQLite pages between checkpoints, done by the writer.
            threaded: False writes in the caller's thread, at once: for imports, simulations and tests.

        Raises:
            UserError: the URL can't be read, or names a database in memory.
        """
        parsed = _parse(url)
        if parsed.get_backend_name() == "sqlite":
            if parsed.database in (None, "", ":memory:"):
                raise UserError("the store must be a file.", code="store.memory", where=url, cure="Name a file.")
            Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
        writer = Writer(_connect(parsed, wal_autocheckpoint, writing=True), threaded=threaded)
        return cls(parsed, _connect(parsed, wal_autocheckpoint, writing=False), writer)

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A connection that sees one committed state and can't write."""
        with self._readers.connect() as connection:
            yield connection

    def write(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` in the writer's next transaction, in a savepoint of its own, and wait for the commit.

        Raises:
            MachineError: the disk or the database failed; nothing was written.
            Exception: what `fn` raised; nothing of it was written.
        """
        self.writer.check_caller()
        return self.writer.call(fn).result()

    def attach(self, journal: Journal) -> Journal:
        """Bind a journal to this store; appending to it goes through `writer.append`."""
        journal.bind(self)
        self._journals[journal.name] = journal
        return journal

    @property
    def journals(self) -> dict[str, Journal]:
        """The attached journals by name."""
        return dict(self._journals)

    def migrate(self) -> None:
        """Bring the tables up to date, in one transaction: the versions first, then what is declared beside them.

        Raises:
            UserError: the store was made by a later version of the program.
            MachineError: it can't be reached, or is no database.
        """
        from vitrina.storage import migrations

        try:
            with self.read() as connection:
                version = migrations.current_version(connection)
        except DatabaseError as error:
            raise MachineError(
                f"the store can't be opened: {error.orig}.",
                code="store.unreadable",
                where=self.url.render_as_string(),
                cure="Correct storage.url, make the database reachable, or restore a backup.",
            ) from error
        if version is not None and version not in migrations.known_versions():
            raise UserError(
                f"the store is at version {version} of its tables, which this program doesn't know.",
                code="store.newer",
                where=self.url.render_as_string(),
                cure="Use the version of the program that wrote it, or a later one.",
            )

        def bring_up(connection: Connection) -> None:
            migrations.upgrade(connection)
            metadata.create_all(connection)

        self.write(bring_up)

    def scrub(self) -> None:
        """Overwrite what was deleted: rewrite the file and empty its log, so that no byte of it is left (SQLite).

        Takes a while in a large store, and as much free space as it holds. Called at the end of an erasure.

        Raises:
            MachineError: there is no room, or a reader held on to an old state for longer than five seconds.
        """
        if self.url.get_backend_name() == "sqlite":
            self.writer.alone(_SCRUB)

    def close(self) -> None:
        """Write what waits, stop the writer, close every connection."""
        self.writer.close()
        self._readers.dispose()
