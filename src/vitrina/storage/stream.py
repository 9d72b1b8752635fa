"""A stream: one journal and the lake table that it is drained into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from vitrina.storage.journal import CommittedRow, Journal

__all__ = ["BUCKETS", "ArrowSchema", "ArrowTable", "Stream", "subject_bucket"]

ArrowTable = Any
"""A `pyarrow.Table` (Arrow's types are partial, and it is imported only where it is used)."""

ArrowSchema = Any
"""A `pyarrow.Schema`."""

BUCKETS = 16


def subject_bucket(subject: str) -> int:
    """The partition of a subject: the first byte of BLAKE2b of the key, modulo 16.

    >>> subject_bucket("u:42") == subject_bucket("u:42")
    True
    """
    return blake2b(subject.encode("utf-8", "surrogatepass"), digest_size=1).digest()[0] % BUCKETS


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """Where a journal goes in the lake.

    Attributes:
        name: the lake table.
        journal: what is drained.
        schema: columns that `to_arrow` gives. Those of `partition_by` may be left out: `month` (int32, 201112) is then
            taken from `time` and `bucket` (int32) from `subject`.
        to_arrow: rows of the journal → a table of that schema, one or more lines a row.
        time: timestamp column that says when it happened.
        subject: column with the subject key.
        partition_by: columns that make folders.
        ready: gives the number up to which rows may be moved by now; None moves all. So a reader before the lake can
            still take a row back.
        statistics: columns whose smallest and largest values are kept in the lake's log; never one about a person, for
            the log outlives an erasure.
    """

    name: str
    journal: Journal
    schema: ArrowSchema
    to_arrow: Callable[[Sequence[CommittedRow]], ArrowTable]
    time: str = "occurred_at"
    subject: str = "subject"
    partition_by: tuple[str, ...] = ("month", "bucket")
    statistics: tuple[str, ...] = ("seq", "occurred_at", "available_at")
    ready: Callable[[], int] | None = None

    def full_schema(self) -> ArrowSchema:
        """The schema of the lake table: that of `to_arrow` and the partition columns it leaves out."""
        import pyarrow as pa

        schema = self.schema
        for name in self.partition_by:
            if name not in schema.names:
                schema = schema.append(pa.field(name, pa.int32()))
        return schema

    def arrow(self, rows: Sequence[CommittedRow]) -> ArrowTable:
        """Rows of the journal as a table of `full_schema`."""
        table = self.to_arrow(rows)
        for name, make in (("month", self._month), ("bucket", self._bucket)):
            if name in self.partition_by and name not in table.column_names:
                table = table.append_column(name, make(table))
        schema = self.full_schema()
        return table.select(schema.names).cast(schema)

    def _month(self, table: ArrowTable) -> Any:
        import pyarrow as pa
        import pyarrow.compute as compute

        pc: Any = compute
        times = table[self.time]
        month = pc.add(pc.multiply(pc.year(times), 100), pc.month(times))
        return month.cast(pa.int32())

    def _bucket(self, table: ArrowTable) -> Any:
        import pyarrow as pa

        coded = table[self.subject].combine_chunks().dictionary_encode()
        buckets = pa.array([subject_bucket(key) for key in coded.dictionary.to_pylist()], pa.int32())
        return buckets.take(coded.indices)
