"""The store: one SQL database behind SQLAlchemy Core; many readers, one writer."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DatabaseError, DBAPIError

from vitrina.core.errors import MachineError, UserError
from vitrina.storage.connect import Address, connect, make_schema, parse_address
from vitrina.storage.declared import declaration, metadata
from vitrina.storage.journal import Journal, declare_journal
from vitrina.storage.transaction import as_machine_error, is_machine_fault
from vitrina.storage.writer import Writer

__all__ = ["Store"]

T = TypeVar("T")

declare_journal("events", dedupe=True)
declare_journal("decisions", dedupe=False)

_SCRUB = ("pragma wal_checkpoint(truncate)", "vacuum", "pragma wal_checkpoint(truncate)")
_PATIENCE = ("set lock_timeout = '5s'",)
_ONE_AT_A_TIME = "select pg_advisory_xact_lock(hashtext(current_schema() || '.vitrina.migrate'))"


class Store:
    """A database with one writer. Open it with `Store.open`, close it with `close`.

    Attributes:
        writer: the one place that writes.
        address: where it lies.
    """

    def __init__(self, address: Address, readers: Engine, writer: Writer) -> None:
        self.address = address
        self.writer = writer
        self._readers = readers
        self._journals: dict[str, Journal] = {}

    @classmethod
    def open(cls, url: str, wal_autocheckpoint: int = 1000, *, threaded: bool = True) -> Store:
        """Open the database at a SQLAlchemy `url` (`sqlite:////path/store.db`).

        Args:
            url: SQLite file or PostgreSQL (`?schema=NAME` says where its tables are); a bare path is a SQLite file.
            wal_autocheckpoint: SQLite pages between checkpoints, done by the writer.
            threaded: False writes in the caller's thread, at once: for imports, simulations and tests.

        Raises:
            UserError: the URL can't be read, or names a database in memory.
            MissingExtraError: PostgreSQL is asked for, and its driver isn't installed.
        """
        address = parse_address(url)
        writer = Writer(connect(address, writing=True, autocheckpoint=wal_autocheckpoint), threaded=threaded)
        return cls(address, connect(address, writing=False), writer)

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A connection that sees one committed state and can't write.

        Raises:
            MachineError: the disk or the database failed.
        """
        try:
            with self._readers.connect() as connection:
                yield connection
        except (DBAPIError, self._readers.dialect.loaded_dbapi.Error) as error:
            if not is_machine_fault(error):
                raise
            raise as_machine_error(error, reading=True) from error

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
            make_schema(self.address)
            with self.read() as connection:
                version = migrations.current_version(connection)
        except (DatabaseError, MachineError) as error:
            cause = error.__cause__ if isinstance(error, MachineError) else error
            raise MachineError(
                f"the store can't be opened: {getattr(cause, 'orig', cause)}.",
                code="store.unreadable",
                where=str(self.address),
                cure="Correct storage.url, make the database reachable, or restore a backup.",
            ) from error
        if version is not None and version not in migrations.known_versions():
            raise UserError(
                f"the store is at version {version} of its tables, which this program doesn't know.",
                code="store.newer",
                where=str(self.address),
                cure="Use the version of the program that wrote it, or a later one.",
            )

        def bring_up(connection: Connection) -> None:
            if not self.address.is_sqlite:
                connection.exec_driver_sql(_ONE_AT_A_TIME)
            migrations.upgrade(connection)
            metadata.create_all(connection)

        self.write(bring_up)

    def scrub(self) -> None:
        """Overwrite what was deleted: the store's file, or the tables about people, are written anew.

        Takes a while in a large store, and as much free space as it holds. Called at the end of an erasure. What a
        PostgreSQL server keeps beside its tables (its log for recovery, backups) is its own to let go.

        Raises:
            MachineError: there is no room, or a reader held on to an old state for longer than five seconds.
        """
        if self.address.is_sqlite:
            self.writer.alone(_SCRUB)
        else:
            tables = [table.name for table in metadata.sorted_tables if declaration(table).subject is not None]
            self.writer.alone([*_PATIENCE, *(f'vacuum (full) "{name}"' for name in tables)])

    def close(self) -> None:
        """Write what waits, stop the writer, close every connection."""
        self.writer.close()
        self._readers.dispose()
