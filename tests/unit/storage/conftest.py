"""A store, its journals and a small stream to drain them through."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.stores import store_url
from vitrina.storage.declared import metadata
from vitrina.storage.journal import CommittedRow, Journal, JournalRow
from vitrina.storage.store import Store
from vitrina.storage.stream import Stream

START = 1_700_000_000_000_000
SCHEMA = pa.schema(
    [
        ("seq", pa.int64()),
        ("subject", pa.string()),
        ("occurred_at", pa.timestamp("us", "UTC")),
        ("text", pa.string()),
    ]
)


def make_row(number: int, subject: str = "u:1", text: str = "", at: int | None = None) -> JournalRow:
    """A row whose id is the hash of its number."""
    id16 = hashlib.blake2b(str(number).encode(), digest_size=16).digest()
    body = (text or f"row {number}").encode()
    return JournalRow(id16, START + number if at is None else at, subject, body, item=number)


def rows_to_arrow(rows: Sequence[CommittedRow]) -> pa.Table:
    return pa.table(
        {
            "seq": [row.seq for row in rows],
            "subject": [row.subject for row in rows],
            "occurred_at": pa.array([row.at for row in rows], pa.timestamp("us", "UTC")),
            "text": [row.body.decode() for row in rows],
        },
        schema=SCHEMA,
    )


def stream_of(journal: Journal, **changes: Any) -> Stream:
    return Stream(name="events", journal=journal, schema=SCHEMA, to_arrow=rows_to_arrow, **changes)


def open_store(path: Path, **options: Any) -> Store:
    store = Store.open(store_url(path), **options)
    store.write(metadata.create_all)
    return store


def open_journal(store: Store, name: str = "events", **options: Any) -> Journal:
    options = {"dedupe": name == "events", "keep": timedelta(days=7), **options}
    return store.attach(Journal(name, **options))


def append(journal: Journal, numbers: list[int], *, lasting: bool = False) -> list[int | None]:
    return journal.store.writer.append(journal, [make_row(n) for n in numbers], lasting=lasting).result(10)


def bodies(journal: Journal) -> list[str]:
    return [row.body.decode() for row in journal.read(limit=100_000)]


@pytest.fixture(params=[True, False], ids=["thread", "no-thread"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "store.db", threaded=request.param)
    yield opened
    opened.close()


@pytest.fixture
def events(store: Store) -> Journal:
    return open_journal(store)
