"""The lake: Delta tables on disk, written by delta-rs, read as lists of Parquet files.

A drain moves rows of a journal into a table and records the last number moved as an application transaction in the same
commit, so a process may be killed at any step: what was committed is not moved twice, what was not is moved again. One
process writes at a time (a lease); inside it one thread does (a lock).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from vitrina.core.clock import Clock, Micros, SystemClock, iso
from vitrina.core.errors import MachineError, RefusedError
from vitrina.storage.lease import Lease
from vitrina.storage.store import Store
from vitrina.storage.stream import ArrowTable, Stream, subject_bucket

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["READER", "Erased", "Lake", "LakeVersion"]

READER = "lake"
"""The name under which the lake reads journals."""

_PAGE = 500  # a page is a few milliseconds of work, and its values stay in the processor's cache
_LONGEST_REST_SECONDS = 0.02
_TARGET_BYTES = 64 << 20
_REFUSED_FEATURES = ("deletionVectors", "columnMapping")


class Erased(msgspec.Struct, frozen=True):
    """What an erasure removed: rows of the journal, lines of the lake, lake files rewritten."""

    journal_rows: int
    lake_rows: int
    files: int


class LakeVersion(msgspec.Struct, frozen=True):
    """A version of a table: its number, the last row of the journal in it, its lines, and (path, file) of its files."""

    version: int
    offset: int
    rows: int
    files: list[tuple[str, Path]]


def _log_version(name: str, other: int) -> int:
    """The version that a file of the log belongs to; `other` for one that belongs to none."""
    number = name.partition(".")[0]
    return int(number) if number.isdigit() else other


class Lake:
    """The Delta tables of a workspace. Open it with `Lake.open`.

    Attributes:
        folder: where the tables lie, one folder each.
    """

    def __init__(self, folder: Path, store: Store, clock: Clock, compact_files: int) -> None:
        self.folder = folder
        self._store = store
        self._clock = clock
        self._compact_files = compact_files
        self._lease = Lease(store, "lake")
        self._lock = threading.RLock()
        self._depth = 0
        self._tables: dict[str, DeltaTable] = {}

    @classmethod
    def open(cls, folder: Path, store: Store, *, clock: Clock | None = None, compact_files: int = 16) -> Lake:
        """Open the lake in `folder`, made if it isn't there.

        Args:
            folder: where the tables lie.
            store: where the lease and the offsets of readers are kept.
            clock: stamps offsets; the machine's by default.
            compact_files: files in a partition from which `compact` merges them.

        Raises:
            MachineError: the folder can't be made.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MachineError(
                f"the folder of the lake can't be made: {error.strerror}.",
                code="lake.folder",
                where=str(folder),
                cure="Move what is in its place, make room, or name another folder in storage.lake.",
            ) from None
        return cls(folder, store, clock or SystemClock(), compact_files)

    # what is there

    def exists(self, stream: Stream) -> bool:
        """True once something was drained."""
        from deltalake import DeltaTable

        return DeltaTable.is_deltatable(str(self.folder / stream.name))

    def offset(self, stream: Stream) -> int:
        """The last row of the journal that the lake holds, 0 if none."""
        return 0 if not self.exists(stream) else self._open(stream).transaction_version(stream.name) or 0

    def files(self, stream: Stream) -> list[str]:
        """Paths of the Parquet files that make up the table now; partition columns are in their folders' names.

        Raises:
            RefusedError: the table uses deletion vectors or mapped columns, which a list of files can't tell.
        """
        return self.snapshot(stream)[0]

    def snapshot(self, stream: Stream) -> tuple[list[str], int]:
        """Paths of the files and the last row of the journal in them, of one version of the table."""
        if not self.exists(stream):
            return [], 0
        table = self._open(stream)
        return [unquote(uri) for uri in table.file_uris()], table.transaction_version(stream.name) or 0

    def version_upto(self, stream: Stream, last: int) -> LakeVersion | None:
        """The newest version that holds no row of the journal above `last`, as files to copy; None when there is none.

        The files are those of its log up to that version and those that make it up, by their path in the table.

        Raises:
            FileNotFoundError: some of them are gone meanwhile.
        """
        import pyarrow as pa
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        if not self.exists(stream):
            return None
        table = self._open(stream)
        try:
            while (offset := table.transaction_version(stream.name) or 0) > last:
                table = DeltaTable(str(self.folder / stream.name), version=table.version() - 1)
        except DeltaError as error:
            raise FileNotFoundError(str(error)) from error
        root, version = self.folder / stream.name, table.version()
        paths = [unquote(path) for path in pa.table(table.get_add_actions(flatten=True))["path"].to_pylist()]
        logs = [
            path for path in sorted((root / "_delta_log").iterdir()) if _log_version(path.name, version + 1) <= version
        ]
        files = [(path, root / path) for path in [*(str(log.relative_to(root)) for log in logs), *paths]]
        return LakeVersion(version, offset, table.count(), files)

    def present(
        self,
        stream: Stream,
        column: str,
        values: Sequence[str],
        months: Sequence[int],
        where: tuple[str, bool] | None = None,
    ) -> set[str]:
        """Which of `values` a text column holds in some months; for repeats older than the journal remembers.

        Args:
            stream: the table, partitioned by `month`.
            column: a text column, such as the sender's id.
            values: what to look for.
            months: partitions to look in, such as 202605.
            where: only in lines where this column holds this.
        """
        import pyarrow as pa
        import pyarrow.compute as compute
        import pyarrow.parquet as pq

        pc: Any = compute
        folders = [f"/month={month}/" for month in set(months)]
        wanted = pa.array(sorted(set(values)), pa.string())
        found: set[str] = set()
        for path in self.files(stream):
            if any(folder in path for folder in folders):
                read: Any = pq.ParquetFile(path).read(columns=[column] if where is None else [column, where[0]])
                if where is not None:
                    read = read.filter(pc.equal(read[where[0]], where[1]))
                held: Any = read[column].cast(pa.string())
                found.update(held.filter(pc.is_in(held, value_set=wanted)).to_pylist())
        return found

    # moving

    def drain(self, stream: Stream, limit: int = 200_000, *, gently: bool = False) -> int:
        """Move at most `limit` rows of the journal into the lake; gives how many were moved.

        The journal keeps rows that another subscribed reader has not dealt with yet.

        Args:
            stream: what to move.
            limit: most rows to move.
            gently: rest after each page for as long as it took, so that threads with somebody waiting get on.

        Raises:
            MachineError: the disk failed, another process holds the lease, or the lake is older than the store.
        """
        journal = stream.journal
        journal.subscribe(READER)
        if not journal.pending(READER):
            return 0
        with self._writing():
            offset = self.offset(stream)
            self._check_age(stream, offset)
            tables, last, moved = self._read(stream, offset, limit, gently)
            if moved:
                self._append(stream, tables, last)
            done = max(last, offset)
            if journal.offset(READER) != done:
                self._store.write(lambda c: journal.advance(c, READER, done, self._clock.now()))
            if journal.dedupe:
                journal.delete(done)
        return moved

    def _read(self, stream: Stream, offset: int, limit: int, gently: bool = False) -> tuple[list[ArrowTable], int, int]:
        tables: list[ArrowTable] = []
        moved = 0
        upto = stream.ready() if stream.ready is not None else None
        while moved < limit:
            begun = time.monotonic()
            rows = stream.journal.read(offset, min(_PAGE, limit - moved), upto)
            if not rows:
                break
            tables.append(stream.arrow(rows))
            offset, moved = rows[-1].seq, moved + len(rows)
            if gently:
                time.sleep(min(time.monotonic() - begun, _LONGEST_REST_SECONDS))
        return tables, offset, moved

    def _append(self, stream: Stream, tables: list[ArrowTable], last: int) -> None:
        import pyarrow as pa
        from deltalake import CommitProperties, Transaction, WriterProperties, write_deltalake

        lines = pa.concat_tables(tables)
        table = self._made(stream)
        grown = set(lines.schema.names) - {field.name for field in table.schema().fields}
        write_deltalake(
            table,
            lines,
            mode="append",
            schema_mode="merge" if grown else None,
            writer_properties=WriterProperties(compression="ZSTD", compression_level=1),
            commit_properties=CommitProperties(app_transactions=[Transaction(stream.name, last)]),
        )

    def _check_age(self, stream: Stream, offset: int) -> None:
        known = stream.journal.offset(READER)
        if known > offset and stream.journal.dedupe:
            raise MachineError(
                f"the lake table {stream.name} ends at row {offset}, but rows up to {known} were moved there.",
                code="lake.behind",
                where=str(self.folder / stream.name),
                cure="The lake is older than the store: restore both from the same backup.",
            )

    # keeping it in order

    def compact(self, stream: Stream) -> int:
        """Merge small files in partitions that hold many; gives how many files were replaced.

        Old files stay for an hour, so that queries that run now find them; `vacuum` removes them.
        """
        if not self.exists(stream):
            return 0
        replaced = 0
        with self._writing():
            table = self._open(stream)
            for partition in self._crowded(stream, table):
                self._lease.renew()
                done = table.optimize.compact(
                    partition_filters=[(name, "=", str(value)) for name, value in partition.items()],
                    target_size=_TARGET_BYTES,
                )
                replaced += done["numFilesRemoved"]
            if replaced:
                table.vacuum(1, dry_run=False, enforce_retention_duration=False)
        return replaced

    def _crowded(self, stream: Stream, table: DeltaTable) -> list[dict[str, Any]]:
        import pyarrow as pa
        import pyarrow.compute as compute

        pc: Any = compute
        actions = pa.table(table.get_add_actions(flatten=True))
        names = [f"partition.{name}" for name in stream.partition_by]
        small = actions.filter(pc.less(actions["size_bytes"], _TARGET_BYTES // 2))
        counts = small.select([*names, "path"]).group_by(names).aggregate([("path", "count")])
        return [
            {name: row[f"partition.{name}"] for name in stream.partition_by}
            for row in counts.to_pylist()
            if row["path_count"] >= self._compact_files
        ]

    def subjects(self, stream: Stream, wanted: Callable[[str], bool]) -> set[str]:
        """The subject keys of the table that `wanted` says yes to; a file at a time is read."""
        import pyarrow.parquet as pq

        met: set[str] = set()
        found: set[str] = set()
        for path in self.files(stream):
            held: Any = pq.ParquetFile(path).read(columns=[stream.subject])[stream.subject]
            fresh = set(held.unique().to_pylist()) - met
            met |= fresh
            found.update(key for key in fresh if wanted(key))
        return found

    def vacuum(self, stream: Stream, hours: int = 0) -> int:
        """Remove files that the table has not used for `hours`, leftovers of killed processes too. Gives how many.

        With 0 a query that runs now may miss its files and has to be repeated.
        """
        if not self.exists(stream):
            return 0
        with self._writing():
            gone = self._open(stream).vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True)
        return len(gone)

    def delete(self, stream: Stream, subjects: Sequence[str]) -> Erased:
        """Remove every row of these subject keys from the journal and the lake, and the files that held them.

        The keys themselves are written nowhere: files are rewritten and exchanged, without a predicate in the log.
        """
        with self._writing():
            rows = self._store.write(lambda c: stream.journal.delete_subjects(c, subjects))
            if not self.exists(stream):
                return Erased(rows, 0, 0)
            lines, files = self._rewrite(stream, set(subjects))
            self.vacuum(stream)
        return Erased(rows, lines, files)

    def delete_before(self, stream: Stream, instant: Micros) -> int:
        """Remove lines that happened before `instant` (retention); gives how many."""
        if not self.exists(stream):
            return 0
        with self._writing():
            table = self._open(stream)
            done = table.delete(
                f"{stream.time} < arrow_cast('{iso(instant)}', 'Timestamp(Microsecond, Some(\"UTC\"))')"
            )
            self.vacuum(stream)
        return done["num_deleted_rows"]

    def _rewrite(self, stream: Stream, subjects: set[str]) -> tuple[int, int]:
        """Exchange every file that holds a line of these subjects for one without; lines and files that went."""
        from vitrina.storage.exchange import Exchange

        table = self._open(stream)
        exchange = Exchange(stream, table, self.folder / stream.name)
        buckets = {subject_bucket(subject) for subject in subjects}
        for action in exchange.files(buckets if "bucket" in stream.partition_by else None):
            exchange.without(action, subjects)
            self._lease.renew()
        exchange.commit()
        return exchange.lines, exchange.replaced

    # tables, lock and lease

    @contextmanager
    def _writing(self) -> Generator[None]:
        """Be the only one who writes the lake; may be nested.

        Raises:
            MachineError: the disk failed; what was being moved is still where it was.
        """
        from deltalake.exceptions import DeltaError

        with self._lock:
            if self._depth:
                yield
                return
            with self._lease.held():
                self._depth += 1
                try:
                    yield
                except (DeltaError, OSError) as error:
                    raise MachineError(
                        f"the lake could not be written: {error}.",
                        code="lake.write",
                        where=str(self.folder),
                        cure="Check the free space and the state of the disk; nothing was lost, it is tried again.",
                    ) from error
                finally:
                    self._depth -= 1

    def _open(self, stream: Stream) -> DeltaTable:
        """The table as it is now."""
        from deltalake import DeltaTable

        table = DeltaTable(str(self.folder / stream.name))
        self._check_readable(table, stream.name)
        return table

    def _made(self, stream: Stream) -> DeltaTable:
        """The table as it is now, made if it isn't there."""
        from deltalake import DeltaTable

        if not self.exists(stream):
            schema = stream.full_schema()
            DeltaTable.create(
                str(self.folder / stream.name),
                schema,
                mode="ignore",
                partition_by=list(stream.partition_by),
                configuration={
                    "delta.dataSkippingStatsColumns": ",".join(n for n in stream.statistics if n in schema.names),
                    "delta.checkpointInterval": "50",
                    "delta.logRetentionDuration": "interval 1 days",
                    "delta.enableExpiredLogCleanup": "true",
                },
            )
        return self._open(stream)

    def _check_readable(self, table: DeltaTable, name: str) -> None:
        protocol = table.protocol()
        features = set(protocol.reader_features or ()) | set(protocol.writer_features or ())
        used = sorted(features.intersection(_REFUSED_FEATURES))
        mapping = table.metadata().configuration.get("delta.columnMapping.mode", "none")
        if used or mapping != "none":
            raise RefusedError(
                f"the lake table {name} uses {', '.join(used) or 'mapped columns'}, which a list of files can't tell.",
                code="lake.features",
                where=str(self.folder / name),
                cure="Switch the feature off and rewrite the table with the tool that switched it on.",
            )
