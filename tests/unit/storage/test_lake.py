"""The lake: nothing lost, nothing twice, and an erasure leaves no byte."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from tests.unit.storage.conftest import START, make_row, open_journal, open_store, stream_of
from vitrina.core.clock import DAY
from vitrina.core.errors import MachineError, RefusedError
from vitrina.storage.journal import JournalRow
from vitrina.storage.lake import Lake
from vitrina.storage.store import Store
from vitrina.storage.stream import Stream


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "store.db")
    yield opened
    opened.close()


@pytest.fixture
def lake(tmp_path: Path, store: Store) -> Lake:
    return Lake.open(tmp_path / "lake", store, compact_files=3)


@pytest.fixture
def stream(store: Store) -> Stream:
    return stream_of(open_journal(store))


def texts(lake: Lake, stream: Stream) -> Counter[str]:
    held: Counter[str] = Counter()
    for path in lake.files(stream):
        held.update(pq.read_table(path, columns=["text"], partitioning=None)["text"].to_pylist())
    return held


def put(stream: Stream, numbers: range, subject: str = "u:1", every: int = 1) -> None:
    rows = [make_row(n, subject=f"{subject}{n % every if every > 1 else ''}", at=START + n * DAY // 4) for n in numbers]
    stream.journal.store.writer.append(stream.journal, rows).result()


def test_a_drain_moves_each_row_once(lake: Lake, stream: Stream) -> None:
    put(stream, range(500), every=50)
    assert lake.drain(stream) == 500
    assert lake.drain(stream) == 0
    put(stream, range(400, 600), every=50)
    assert lake.drain(stream) == 100
    assert texts(lake, stream) == Counter(f"row {n}" for n in range(600))
    assert stream.journal.count() == 0
    assert lake.offset(stream) == stream.journal.offset("lake") == stream.journal.last() == 600


def test_a_gentle_drain_moves_the_same_rows(lake: Lake, stream: Stream) -> None:
    put(stream, range(1_300), every=50)
    assert lake.drain(stream, gently=True) == 1_300
    assert texts(lake, stream) == Counter(f"row {n}" for n in range(1_300))
    assert lake.offset(stream) == 1_300


def test_ids_of_moved_rows_are_sealed_each_with_its_day(lake: Lake, stream: Stream) -> None:
    journal = stream.journal
    ids = [bytes([n % 256, n // 256, *bytes(13), 1]) for n in range(2_500)]  # zeros at both ends of what is compared
    rows = [JournalRow(id16, START + n * DAY, "u:1", b"x") for n, id16 in enumerate(ids)]
    journal.store.writer.append(journal, rows[:2_000]).result()
    journal.store.writer.append(journal, rows[2_000:], lasting=True).result()
    assert lake.drain(stream) == 2_500
    assert journal.sealed is not None
    with journal.store.read() as connection:
        found = connection.execute(select(journal.sealed.c.id, journal.sealed.c.day))
        sealed = {row[0]: row[1] for row in found}
    first = START // DAY
    assert {id16: sealed[id16] - first for id16 in ids[:2_000]} == {id16: n for n, id16 in enumerate(ids[:2_000])}
    assert {sealed[id16] for id16 in ids[2_000:]} == {1 << 24}
    assert journal.store.writer.append(journal, rows[::-1]).result() == [None] * 2_500


def test_a_drain_takes_at_most_its_limit(lake: Lake, stream: Stream) -> None:
    put(stream, range(30))
    assert [lake.drain(stream, limit=20) for _ in range(3)] == [20, 10, 0]
    assert sum(texts(lake, stream).values()) == 30


def test_rows_stay_until_every_reader_has_dealt_with_them(lake: Lake, stream: Stream) -> None:
    journal = stream.journal
    journal.subscribe("fold")
    put(stream, range(10))
    lake.drain(stream)
    assert journal.count() == 10
    journal.store.write(lambda c: journal.advance(c, "fold", 4, START))
    lake.drain(stream)
    assert [row.seq for row in journal.read()] == [5, 6, 7, 8, 9, 10]


def test_a_journal_that_is_kept_is_copied(lake: Lake, store: Store) -> None:
    journal = open_journal(store, "decisions")
    stream = stream_of(journal)
    put(stream, range(10))
    assert lake.drain(stream) == 10
    assert journal.count() == 10
    assert lake.drain(stream) == 0


def test_a_lake_older_than_the_store_is_refused(lake: Lake, stream: Stream) -> None:
    put(stream, range(10))
    lake.drain(stream)
    put(stream, range(10, 20))
    stream.journal.store.write(lambda c: stream.journal.advance(c, "lake", 20, START))
    with pytest.raises(MachineError, match="older than the store") as refused:
        lake.drain(stream)
    assert refused.value.code == "lake.behind"


def test_a_crash_after_the_lake_commit_moves_nothing_twice(lake: Lake, stream: Stream) -> None:
    put(stream, range(10))
    journal = stream.journal
    tables, last, _ = lake._read(stream, 0, 100)  # pyright: ignore[reportPrivateUsage]
    lake._append(stream, tables, last)  # pyright: ignore[reportPrivateUsage]
    assert (journal.offset("lake"), journal.count()) == (0, 10)
    assert lake.drain(stream) == 0
    assert (journal.offset("lake"), journal.count()) == (10, 0)
    assert sum(texts(lake, stream).values()) == 10


def test_compaction_merges_and_keeps_every_row(lake: Lake, stream: Stream) -> None:
    for start in range(0, 40, 10):
        rows = [make_row(n, subject="u:7") for n in range(start, start + 10)]
        stream.journal.store.writer.append(stream.journal, rows).result()
        lake.drain(stream)
    assert len(lake.files(stream)) == 4
    assert lake.compact(stream) == 4
    assert len(lake.files(stream)) == 1
    assert texts(lake, stream) == Counter(f"row {n}" for n in range(40))
    assert lake.offset(stream) == 40
    assert lake.drain(stream) == 0


def test_an_erasure_leaves_no_byte(lake: Lake, stream: Stream) -> None:
    put(stream, range(200), subject="u:zebra-person-", every=20)
    lake.drain(stream)
    put(stream, range(200, 220), subject="u:zebra-person-", every=20)
    gone = lake.delete(stream, ["u:zebra-person-3", "u:zebra-person-19", "u:never-seen"])
    assert (gone.journal_rows, gone.lake_rows) == (2, 20)
    lake.drain(stream)
    left = texts(lake, stream)
    assert left == Counter(f"row {n}" for n in range(220) if n % 20 not in (3, 19))
    kept = {s for path in lake.files(stream) for s in pq.read_table(path, partitioning=None)["subject"].to_pylist()}
    assert len(kept) == 18
    found = [p for p in lake.folder.rglob("*") if p.is_file() and b"zebra-person-19" in p.read_bytes()]
    assert found == []
    assert [p for p in lake.folder.rglob("*") if p.is_file() and b"zebra-person-4" in p.read_bytes()] != []
    assert lake.offset(stream) == 219  # the last row was theirs


def test_the_log_of_the_lake_names_nobody(lake: Lake, stream: Stream) -> None:
    put(stream, range(50), subject="u:zebra")
    lake.drain(stream)
    lake.delete(stream, ["u:zebra"])
    log = lake.folder / "events" / "_delta_log"
    assert all(b"zebra" not in path.read_bytes() for path in log.rglob("*") if path.is_file())


def test_old_lines_go_when_their_time_is_over(lake: Lake, stream: Stream) -> None:
    put(stream, range(400))
    lake.drain(stream)
    assert lake.delete_before(stream, START + 50 * DAY) == 200
    assert texts(lake, stream) == Counter(f"row {n}" for n in range(200, 400))


def test_what_the_lake_holds_is_found_by_month(lake: Lake, stream: Stream) -> None:
    assert lake.present(stream, "text", ["row 1"], [202311]) == set()
    put(stream, range(400))
    lake.drain(stream)
    assert lake.present(stream, "text", ["row 1", "row 399", "row 400"], [202311]) == {"row 1"}
    assert lake.present(stream, "text", ["row 1", "row 399", "row 400"], [202311, 202402]) == {"row 1", "row 399"}


def test_deletion_vectors_are_refused(lake: Lake, stream: Stream) -> None:
    put(stream, range(5))
    lake.drain(stream)
    log = lake.folder / "events" / "_delta_log"
    protocol = {
        "minReaderVersion": 3,
        "minWriterVersion": 7,
        "readerFeatures": ["deletionVectors"],
        "writerFeatures": ["deletionVectors"],
    }
    (log / f"{2:020}.json").write_text(json.dumps({"protocol": protocol}))
    with pytest.raises(RefusedError, match="deletionVectors") as refused:
        lake.files(stream)
    assert refused.value.code == "lake.features"
    assert "Switch the feature off" in str(refused.value)


def test_new_columns_join_an_old_table(lake: Lake, stream: Stream) -> None:
    import pyarrow as pa

    put(stream, range(5))
    lake.drain(stream)
    schema = stream.schema.append(pa.field("extra", pa.int64()))
    grown = Stream(
        name="events",
        journal=stream.journal,
        schema=schema,
        to_arrow=lambda rows: stream.to_arrow(rows).append_column("extra", pa.array([row.seq for row in rows])),
    )
    put(grown, range(5, 8))
    assert lake.drain(grown) == 3
    assert sum(texts(lake, grown).values()) == 8
