"""What the store and the lake hold of events and dead letters."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from sqlalchemy import select

from tests.stores import store_url
from vitrina.collect.dead_letters import CODES, delete_letters, letter, letter_rows, store_letters
from vitrina.collect.ingest import event_row
from vitrina.collect.lake_events import EVENT_SCHEMA, to_arrow
from vitrina.collect.segment_api import Delivery
from vitrina.collect.tables import EVENT_COLUMNS, dead_letter
from vitrina.core.access import Source
from vitrina.core.event import Event, Product
from vitrina.storage.declared import declared_lake
from vitrina.storage.journal import CommittedRow, Journal
from vitrina.storage.store import Store
from vitrina.storage.stream import Stream

AT = 1_700_000_000_000_001


def committed(seq: int, event: Event) -> CommittedRow:
    row = event_row(event)
    return CommittedRow(seq, row.id16, row.at, row.subject, row.body)


def test_an_event_in_columns() -> None:
    line = Product("p", 2, 10_000, 200, "sale", 3)
    full = Event(
        message_id="m",
        type="track",
        name="Order Completed",
        user_id="1",
        occurred_at=AT,
        received_at=AT + 1,
        available_at=AT + 2,
        source="shop",
        trusted=True,
        order_id="o",
        value=-5,
        revenue=200,
        currency="EUR",
        products=(line, line),
        properties={"имя": ["x", {"a": 1.5}]},
        context={"ip": "::1"},
    )
    bare = Event(message_id="n", type="page", anonymous_id="x", occurred_at=AT, received_at=AT, available_at=AT)
    table = to_arrow([committed(7, full), committed(8, bare)])
    assert table.schema.equals(EVENT_SCHEMA)
    first, second = table.to_pylist()
    assert (first["seq"], first["subject"], first["value"], first["revenue"]) == (7, "u:1", -5, 200)
    assert first["occurred_at"] == datetime(2023, 11, 14, 22, 13, 20, 1, UTC)
    assert first["products"] == [msgspec.to_builtins(line)] * 2
    assert json.loads(first["properties"]) == full.properties
    assert json.loads(first["context"]) == {"ip": "::1"}
    assert (second["subject"], second["products"], second["traits"], second["currency"]) == ("a:x", [], "{}", None)
    assert to_arrow([]).num_rows == 0


def test_the_lake_declares_every_column() -> None:
    journal = Journal("events", dedupe=True, keep=timedelta(days=7))
    stream = Stream(name="events", journal=journal, schema=EVENT_SCHEMA, to_arrow=to_arrow)
    assert set(stream.full_schema().names) == set(EVENT_COLUMNS) == set(declared_lake()["events"].columns)


def test_dead_letters_are_kept_and_let_go(tmp_path: Path) -> None:
    store = Store.open(store_url(tmp_path / "s.db"), threaded=False)
    store.migrate()
    letters = [letter(code, "batch[0]", "detail", subject="u:1", message_id="m", body=b"{}") for code in CODES]
    rows = letter_rows(letters, Delivery("batch", [], []), Source("web", "write", False), AT)
    store.write(lambda connection: store_letters(connection, rows))
    with store.read() as connection:
        rows = connection.execute(select(dead_letter)).all()
    assert [row.code for row in rows] == list(CODES)
    assert all(row.cause.endswith(": detail") and row.cure and row.place == "batch[0]" for row in rows)
    assert store.write(lambda connection: delete_letters(connection, AT)) == 0
    assert store.write(lambda connection: delete_letters(connection, AT + 1)) == len(CODES)
    store.close()
