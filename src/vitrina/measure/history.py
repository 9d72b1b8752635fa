"""History as a replay walks it: every event of a person, in the order in which it became available."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from vitrina.core.clock import Micros, to_datetime
from vitrina.core.event import Event, Product
from vitrina.storage.engine import Engine
from vitrina.understand.order_history import instants

__all__ = ["read_events"]

_PLAIN = (
    "message_id", "type", "name", "user_id", "anonymous_id", "source", "trusted", "backfilled", "quarantined",
    "order_id", "product_id", "category", "decision_id", "offer_id", "value", "revenue", "currency",
)  # fmt: skip
_INSTANTS = ("occurred_at", "received_at", "available_at")
_OBJECTS = ("properties", "traits", "context")
_LINE = ("product_id", "quantity", "unit_price", "revenue", "kind", "row")
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def read_events(engine: Engine, until: Micros) -> Iterator[Event]:
    """Events of people that became available before `until`, in that order. Read them to the end."""
    events: Any = engine.table("events")
    due = events.filter([events.subject != "", events.available_at < to_datetime(until)])
    for batch in engine.batches(due.order_by(["available_at", "seq"]), 10_000):
        yield from _events(batch)


def _events(batch: Any) -> Iterator[Event]:
    columns: dict[str, list[Any]] = {name: batch.column(name).to_pylist() for name in _PLAIN}
    columns |= {name: instants(batch.column(name)).tolist() for name in _INSTANTS}
    columns |= {name: [_decode(text) for text in batch.column(name).to_pylist()] for name in _OBJECTS}
    columns["products"] = _products(batch.column("products"))
    columns["violation"] = [text or "" for text in batch.column("violation").to_pylist()]
    for values in zip(*columns.values(), strict=True):
        yield Event(**dict(zip(columns, values, strict=True)))


def _products(column: Any) -> list[tuple[Product, ...]]:
    """The lines of each event, built from flat columns."""
    flat = column.flatten()
    parts = [flat.field(name).to_pylist() for name in _LINE]
    lines = [Product(*values) for values in zip(*parts, strict=True)]
    found: list[tuple[Product, ...]] = []
    start = 0
    for length in column.value_lengths().to_pylist():
        end = start + (length or 0)
        found.append(tuple(lines[start:end]))
        start = end
    return found
