"""The engine: Ibis on DuckDB over the files of the lake and the rows that are still in the journal.

Everything that is asked of it is a list of Parquet files and an Ibis expression, so that another Ibis backend can take
over when one machine is outgrown. Nothing here loads a DuckDB extension: none is needed, and none is fetched.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from vitrina.core.errors import MachineError
from vitrina.storage.lake import Lake
from vitrina.storage.stream import ArrowTable, Stream

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from ibis.backends.duckdb import Backend

__all__ = ["ArrowBatch", "Engine"]

ArrowBatch = Any
"""A `pyarrow.RecordBatch`."""

_PAGE = 20_000
_ATTEMPTS = 5


class Engine:
    """Reads the lake. One connection, used by one thread at a time; `close` it.

    Args:
        lake: what is read.
        streams: the tables that can be asked for.
        threads: processor threads of DuckDB; 0 takes all.
        memory: most memory that DuckDB takes before it spills, such as "1GB"; "" leaves its default.
    """

    def __init__(self, lake: Lake, streams: list[Stream], *, threads: int = 0, memory: str = "") -> None:
        self._lake = lake
        self._streams = {stream.name: stream for stream in streams}
        self._threads = threads
        self._memory = memory
        self._backend: Backend | None = None
        self._viewed: set[str] = set()
        self._lock = threading.RLock()

    @property
    def backend(self) -> Backend:
        """The Ibis backend, connected on first use."""
        with self._lock:
            if self._backend is None:
                self._backend = self._connect()
            return self._backend

    def table(self, name: str, *, tail: bool = True) -> ir.Table:
        """A table of the lake as it is now, as an Ibis table.

        Args:
            name: the stream's name.
            tail: also the rows that are committed but not yet drained.

        The expression reads the files of this moment; ask again to see later ones.

        Raises:
            KeyError: no stream has this name.
        """
        stream = self._streams[name]
        with self._lock:
            files, rows = self._state(stream, tail)
            self._view(stream, files, rows)
            return self.backend.table(name)

    def sql(self, query: str) -> ir.Table:
        """An Ibis table from SQL over the streams' names; each is as it was when `table` was last asked for it."""
        with self._lock:
            for name in self._streams:
                if name not in self._viewed:
                    self.table(name)
            name = f"query_{blake2b(query.encode(), digest_size=8).hexdigest()}"
            self.backend.con.execute(f"create or replace temp view {name} as {query}")
            return self.backend.table(name)

    def register(self, name: str, rows: ArrowTable) -> None:
        """Make an Arrow table known to `sql` under a name that no stream has."""
        with self._lock:
            self.backend.con.register(name, rows)

    def batches(self, table: ir.Table, rows: int = 100_000) -> Iterator[ArrowBatch]:
        """The answer of an expression in Arrow record batches of at most about `rows` lines, so that it need not fit.

        Read them to the end before the next query: they come over the same connection.
        """
        yield from self.backend.con.sql(str(self.backend.compile(table))).to_arrow_reader(rows)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._backend is not None:
                self._backend.disconnect()
                self._backend = None
                self._viewed.clear()

    def _connect(self) -> Backend:
        import ibis

        options: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
        if self._threads:
            options["threads"] = self._threads
        if self._memory:
            options["memory_limit"] = self._memory
        return ibis.duckdb.connect(":memory:", **options)

    def _state(self, stream: Stream, tail: bool) -> tuple[list[str], list[ArrowTable]]:
        """Files and undrained rows that belong together: no row in both, none in neither."""
        files, offset = self._lake.snapshot(stream)
        if not tail:
            return files, []
        for _ in range(_ATTEMPTS):
            rows = self._tail(stream, offset)
            files, now = self._lake.snapshot(stream)
            if now == offset:
                return files, rows
            offset = now
        raise MachineError(
            f"the table {stream.name} moved to the lake faster than it could be read.",
            code="engine.tail",
            cure="Ask again, or without the rows that are not drained yet.",
        )

    def _tail(self, stream: Stream, offset: int) -> list[ArrowTable]:
        tables: list[ArrowTable] = []
        while rows := stream.journal.read(offset, _PAGE):
            tables.append(stream.arrow(rows))
            offset = rows[-1].seq
        return tables

    def _view(self, stream: Stream, files: list[str], rows: list[ArrowTable]) -> None:
        """A view of the stream's name over the files and the rows, columns in the order of the schema."""
        import pyarrow as pa

        schema = stream.full_schema()
        columns = ", ".join(f'"{name}"' for name in schema.names)
        tail_name = f"{stream.name}__tail"
        rest = pa.concat_tables(rows) if rows else schema.empty_table()
        connection = self.backend.con
        connection.register(tail_name, rest)
        body = f'select {columns} from "{tail_name}"'
        if files:
            listed = ", ".join("'" + path.replace("'", "''") + "'" for path in files)
            types = ", ".join(
                f"'{name}': integer" for name in stream.partition_by if schema.field(name).type == pa.int32()
            )
            held = f"read_parquet([{listed}], union_by_name = true, hive_partitioning = true, hive_types = {{{types}}})"
            # By name, and with the rows even if there are none: files may all be older than a column of the schema.
            body = f'select {columns} from (select * from {held} union all by name select * from "{tail_name}")'
        connection.execute(f'create or replace temp view "{stream.name}" as {body}')
        self._viewed.add(stream.name)
