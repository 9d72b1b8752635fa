"""The engine sees the lake and the rows that are still in the journal, each once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.storage.conftest import make_row, open_journal, open_store, stream_of
from vitrina.storage.engine import Engine
from vitrina.storage.lake import Lake
from vitrina.storage.store import Store
from vitrina.storage.stream import Stream


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "store.db")
    yield opened
    opened.close()


@pytest.fixture
def stream(store: Store) -> Stream:
    return stream_of(open_journal(store))


@pytest.fixture
def lake(tmp_path: Path, store: Store) -> Lake:
    return Lake.open(tmp_path / "a lake, with 'signs'", store)


@pytest.fixture
def engine(lake: Lake, stream: Stream) -> Iterator[Engine]:
    opened = Engine(lake, [stream], threads=1, memory="500MB")
    yield opened
    opened.close()


def put(stream: Stream, numbers: range) -> None:
    rows = [make_row(n, subject=f"u:{n % 7}") for n in numbers]
    stream.journal.store.writer.append(stream.journal, rows).result()


def test_an_empty_lake_has_the_columns(engine: Engine, stream: Stream) -> None:
    table = engine.table("events")
    assert table.columns == ("seq", "subject", "occurred_at", "text", "month", "bucket")
    assert table.count().to_pyarrow().as_py() == 0


def test_lake_and_tail_are_one_table(engine: Engine, lake: Lake, stream: Stream) -> None:
    put(stream, range(100))
    assert engine.table("events").count().to_pyarrow().as_py() == 100
    lake.drain(stream)
    put(stream, range(100, 130))
    assert engine.table("events").count().to_pyarrow().as_py() == 130
    assert engine.table("events", tail=False).count().to_pyarrow().as_py() == 100
    both = engine.table("events")
    assert sorted(both.text.to_pyarrow().to_pylist()) == sorted(f"row {n}" for n in range(130))
    assert both.bucket.nunique().to_pyarrow().as_py() == 5
    assert set(both.month.to_pyarrow().to_pylist()) == {202311}


def test_sql_and_batches(engine: Engine, lake: Lake, stream: Stream) -> None:
    put(stream, range(50))
    found = engine.sql("select subject, count(*) as n from events group by subject order by subject").to_pyarrow()
    assert found.to_pylist()[0] == {"subject": "u:0", "n": 8}
    table = engine.table("events")
    assert sum(batch.num_rows for batch in engine.batches(table.filter(table.subject == "u:1"), rows=3)) == 7


def test_no_row_is_missed_or_doubled_while_the_lake_is_drained(engine: Engine, lake: Lake, stream: Stream) -> None:
    put(stream, range(3_000))
    drained: list[int] = []

    def drain() -> None:
        while moved := lake.drain(stream, limit=300):
            drained.append(moved)

    thread = threading.Thread(target=drain)
    thread.start()
    seen = [engine.table("events").seq.nunique().to_pyarrow().as_py() for _ in range(8)]
    counts = [engine.table("events").count().to_pyarrow().as_py() for _ in range(2)]
    thread.join()
    assert set(seen) == {3_000}
    assert set(counts) == {3_000}
    assert sum(drained) == 3_000


def test_no_extension_is_fetched(engine: Engine) -> None:
    settings = engine.backend.con.execute(
        "select current_setting('autoinstall_known_extensions'), current_setting('autoload_known_extensions'), "
        "current_setting('TimeZone')"
    ).fetchone()
    assert settings == (False, False, "UTC")
