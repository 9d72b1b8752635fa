"""Exchanging files of a Delta table for ones without certain people, in one commit that names nobody."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from vitrina.storage.stream import Stream

__all__ = ["Exchange"]


class Exchange:
    """Files to add and remove, committed together.

    Args:
        stream: the table's stream.
        table: the table as it is now.
        folder: where it lies.

    Attributes:
        lines: lines removed so far.
        replaced: files replaced so far.
    """

    def __init__(self, stream: Stream, table: DeltaTable, folder: Path) -> None:
        self.lines = 0
        self.replaced = 0
        self._stream = stream
        self._table = table
        self._folder = folder
        self._actions: list[Any] = []

    def files(self, buckets: AbstractSet[int] | None) -> list[dict[str, Any]]:
        """The table's files as flat actions; with `buckets` only those of these partitions."""
        import pyarrow as pa

        actions = pa.table(self._table.get_add_actions(flatten=True)).to_pylist()
        return [a for a in actions if buckets is None or a["partition.bucket"] in buckets]

    def without(self, action: dict[str, Any], subjects: AbstractSet[str]) -> None:
        """Write a copy of a file without these subjects, unless it holds none of them."""
        import pyarrow as pa
        import pyarrow.compute as compute
        import pyarrow.parquet as pq

        pc: Any = compute
        path = self._folder / unquote(action["path"])
        wanted = pa.array(sorted(subjects), pa.string())
        held: Any = pq.ParquetFile(path).read(columns=[self._stream.subject])[self._stream.subject]
        hit = pc.is_in(held.cast(pa.string()), value_set=wanted)
        count = pc.sum(hit).as_py() or 0
        if not count:
            return
        self.lines += count
        self.replaced += 1
        kept = pq.ParquetFile(path).read().filter(pc.invert(hit))
        if kept.num_rows:
            self._add(action, path, kept)
        self._remove(action)

    def _partition(self, action: dict[str, Any]) -> dict[str, str | None]:
        found = {name: action[f"partition.{name}"] for name in self._stream.partition_by}
        return {name: None if value is None else str(value) for name, value in found.items()}

    def _add(self, action: dict[str, Any], path: Path, kept: Any) -> None:
        import pyarrow.parquet as pq
        from deltalake.transaction import AddAction

        new = path.with_name(f"part-{secrets.token_hex(16)}.zstd.parquet")
        pq.write_table(kept, new, compression="zstd", compression_level=1)
        relative = action["path"].rpartition("/")
        self._actions.append(
            AddAction(
                path=f"{relative[0]}{relative[1]}{new.name}",
                size=new.stat().st_size,
                partition_values=self._partition(action),
                modification_time=time.time_ns() // 1_000_000,
                data_change=True,
                stats=json.dumps({"numRecords": kept.num_rows}),
            )
        )

    def _remove(self, action: dict[str, Any]) -> None:
        from deltalake.transaction import RemoveAction

        self._actions.append(
            RemoveAction(
                path=action["path"],
                deletion_timestamp=time.time_ns() // 1_000_000,
                data_change=True,
                partition_values=self._partition(action),
                size=action["size_bytes"],
            )
        )

    def commit(self) -> None:
        """Exchange the files, all or none."""
        if self._actions:
            self._table.create_write_transaction(
                self._actions, "append", self._table.schema(), list(self._stream.partition_by)
            )
