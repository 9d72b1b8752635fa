"""Tables of the decide room: revisions, lists of candidates, stock, outcomes; and what goes to the lake."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, chain
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, UniqueConstraint
from sqlalchemy.dialects import sqlite

from vitrina.core.decision import DecisionRow
from vitrina.core.outcome import Outcome
from vitrina.core.reasons import REFUSALS
from vitrina.storage.declared import declare, declare_lake
from vitrina.storage.journal import CommittedRow, declare_journal

__all__ = [
    "bank",
    "candidate_list",
    "catalogue_revision",
    "decision_schema",
    "decisions_to_arrow",
    "learner",
    "outcome",
    "outcome_schema",
    "outcomes_to_arrow",
    "read_decision",
    "stock_move",
]

_BIG = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")

declare_journal("outcomes", dedupe=True)

catalogue_revision = declare(
    "catalogue_revision",
    Column("seq", _BIG, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),
    Column("id", String(200), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("by", String(200), nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),
    UniqueConstraint("kind", "id", "revision"),
    subject=None,
    purpose="essential",
    retention="as long as the store: a decision names the revisions that it chose from",
    eraser="none",
    exporter="none",
    columns={
        "seq": "number in order of change",
        "kind": "offer, creative or placement",
        "id": "its id",
        "revision": "number of the change, from 1",
        "at": "when it was changed, microseconds UTC",
        "by": "key or user that changed it",
        "deleted": "true when the change took it away",
        "body": "the thing after the change, MessagePack",
    },
)

candidate_list = declare(
    "candidate_list",
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("placement", String(200), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    subject=None,
    purpose="essential",
    retention="as long as the decisions that name it",
    eraser="none",
    exporter="none",
    columns={
        "number": "hash of the body: the same list has the same number",
        "placement": "placement id",
        "at": "when it was first chosen from, microseconds UTC",
        "body": "ids and revisions of offers and creatives, in order, MessagePack",
    },
)

stock_move = declare(
    "stock_move",
    Column("id", LargeBinary(16), primary_key=True),
    Column("offer_id", String(200), nullable=False, index=True),
    Column("units", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    subject=None,
    purpose="essential",
    retention="as long as the store",
    eraser="none",
    exporter="none",
    columns={
        "id": "hash of the order and the offer: one order takes once",
        "offer_id": "offer with counted stock",
        "units": "pieces sold",
        "at": "when, microseconds UTC",
    },
)

outcome = declare(
    "outcome",
    Column("id", LargeBinary(16), primary_key=True),
    Column("decision_id", String(40), nullable=False, index=True),
    Column("offer_id", String(200), nullable=False),
    Column("position", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("event", String(200), nullable=False),
    Column("message_id", String(200), nullable=False),
    Column("order_id", String(200), nullable=True, index=True),
    Column("at", BigInteger, nullable=False),
    Column("value", BigInteger, nullable=True),
    Column("currency", String(3), nullable=True),
    Column("trusted", Boolean, nullable=False),
    Column("placement", String(200), nullable=False),
    Column("subject", String, nullable=False),
    Index("ix_outcome_subject", "subject"),
    subject="subject",
    purpose="essential",
    retention="as long as the decision that it is credited to",
    eraser="delete",
    exporter="rows",
    columns={
        "id": "hash of decision, offer, kind and order (or message): a repeat has the same",
        "decision_id": "decision that is credited",
        "offer_id": "offer of its slate that is credited",
        "position": "place of the offer in the slate, from 0",
        "kind": "click, conversion or reversal",
        "event": "name of the event",
        "message_id": "its message id",
        "order_id": "its order, if any",
        "at": "when it happened, microseconds UTC",
        "value": "minor units earned, negative for a reversal",
        "currency": "currency of the value",
        "trusted": "false: shown, never learned from",
        "placement": "placement of the decision",
        "subject": "subject key of the event",
    },
)

bank = declare(
    "bank",
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("placement", String(200), nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    subject=None,
    purpose="essential",
    retention="as long as the decisions that name it",
    eraser="none",
    exporter="none",
    columns={
        "number": "number that decisions name, from 1",
        "placement": "placement id",
        "at": "when it was drawn, microseconds UTC",
        "body": "draws of the model's parameters, as arrays (vitrina.decide.arrays)",
    },
)

learner = declare(
    "learner",
    Column("name", String(200), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    subject=None,
    purpose="essential",
    retention="as long as the store: the newest state only",
    eraser="none",
    exporter="none",
    columns={
        "name": "placement id, or empty for what was read so far and the measured delays",
        "at": "when it was written, microseconds UTC",
        "body": "posterior means and covariances, counts and offsets, as arrays (vitrina.decide.arrays)",
    },
)

_row = msgspec.msgpack.Decoder(DecisionRow)
_outcome = msgspec.msgpack.Decoder(Outcome)
REQUEST = b"request:"
"""First bytes of a journal row that only says which decision answered a request id."""


def read_decision(row: CommittedRow) -> DecisionRow | None:
    """The decision of a journal row; None for one that only says which decision answered a request id."""
    if row.item is not None:
        return row.item
    return None if row.body.startswith(REQUEST) else _row.decode(row.body)


_DECISION_COLUMNS: dict[str, str] = {
    "seq": "number in the journal",
    "id": "id that outcomes quote",
    "occurred_at": "when it was made",
    "subject": "subject key asked for",
    "other_subject": "anonymous subject key beside a userId",
    "profile_id": "profile at that moment",
    "assignment_key": "identifier hashed into the holdout",
    "holdout": "the policy did not treat this person",
    "placement": "placement id",
    "placement_revision": "its revision",
    "catalogue": "number of the list of candidates",
    "eligible": "bitmap over that list, least significant bit first",
    "refusals": "one byte a candidate, as in the store",
    "items": "positions shown, in order",
    "offers": "offer ids shown, in order; empty when the list isn't known any more",
    "creatives": "creative ids, in order",
    "probabilities": "exact chance of each, given those above it",
    "slate_probability": "chance of the whole slate",
    "ghost": "positions that the policy would have shown to a holdout person",
    "ghost_probabilities": "their chances",
    "policy": "rule that chose",
    "policy_version": "changes whenever chances can have changed",
    "bank": "numbered bank of draws",
    "draw": "draw that decided, -1 without draws",
    "coins": "bitmap of explored positions",
    "features": "float32 bytes of the vector",
    "feature_set": "its version",
    "context": "what the page said, JSON",
    "purpose": "purpose asked for",
    "basis": "lawful basis, or why it was refused",
    "basis_record": "consent record behind it",
    "personalised": "features of the person were read",
    "prices": "minor units of each item shown",
    "costs": "minor units of each item shown",
    "currency": "of prices and costs",
    "replayed": "walked through history: nobody saw it",
}


def decision_schema() -> Any:
    """Columns of the lake table `decisions`."""
    import pyarrow as pa

    text, whole, number, yes, raw = pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.binary()
    kinds: dict[str, Any] = {
        "seq": whole,
        "occurred_at": pa.timestamp("us", "UTC"),
        "holdout": yes,
        "placement_revision": pa.int32(),
        "catalogue": whole,
        "eligible": raw,
        "refusals": raw,
        "items": pa.list_(pa.int32()),
        "offers": pa.list_(text),
        "creatives": pa.list_(text),
        "probabilities": pa.list_(number),
        "slate_probability": number,
        "ghost": pa.list_(pa.int32()),
        "ghost_probabilities": pa.list_(number),
        "bank": whole,
        "draw": pa.int32(),
        "coins": pa.int32(),
        "features": raw,
        "feature_set": pa.int32(),
        "personalised": yes,
        "prices": pa.list_(whole),
        "costs": pa.list_(whole),
        "replayed": yes,
    }
    return pa.schema([(name, kinds.get(name, text)) for name in _DECISION_COLUMNS])


declare_lake(
    "decisions",
    [*_DECISION_COLUMNS, "month", "bucket"],
    subject="subject",
    purpose="essential",
    retention="setting privacy.decisions_days",
    eraser="delete",
    exporter="rows",
    columns={
        **_DECISION_COLUMNS,
        "month": "month of occurred_at, such as 202612",
        "bucket": "hash of the subject modulo 16",
    },
)


class _Logged(msgspec.Struct, gc=False, kw_only=True):
    """A stored `DecisionRow`: the fields that go to the lake, with their defaults; the others aren't decoded."""

    id: str
    at: int
    subject: str
    other_subject: str | None = None
    profile_id: str
    assignment_key: str
    holdout: bool = False
    placement: str
    placement_revision: int = 0
    catalogue: int = 0
    eligible: bytes = b""
    refusals: bytes = b""
    items: tuple[int, ...] = ()
    creatives: tuple[str | None, ...] = ()
    probabilities: tuple[float, ...] = ()
    slate_probability: float = 1.0
    ghost: tuple[int, ...] = ()
    ghost_probabilities: tuple[float, ...] = ()
    policy: str = "bank"
    policy_version: str = ""
    bank: int = 0
    draw: int = -1
    coins: int = 0
    features: bytes = b""
    feature_set: int = 0
    context: dict[str, Any] = {}
    purpose: str = ""
    basis: str = ""
    basis_record: str | None = None
    personalised: bool = False
    prices: tuple[int | None, ...] = ()
    costs: tuple[int | None, ...] = ()
    currency: str = ""
    replayed: bool = False


_logged = msgspec.msgpack.Decoder(_Logged).decode
_context = msgspec.json.Encoder().encode
_FIELDS = tuple(name for name in _DECISION_COLUMNS if name not in ("seq", "occurred_at", "offers", "context"))


def decisions_to_arrow(rows: Sequence[CommittedRow], offers_of: Any = None) -> Any:
    """Rows of the journal `decisions` as a table of `decision_schema`, column by column.

    Args:
        offers_of: number of a list of candidates → its offer ids, or None where it isn't known.
    """
    kept = [row for row in rows if row.item is not None or not row.body.startswith(REQUEST)]
    logged: list[Any] = [_logged(row.body) if row.item is None else row.item for row in kept]
    columns: dict[str, list[Any]] = {name: list(map(attrgetter(name), logged)) for name in _FIELDS}
    columns["seq"] = [row.seq for row in kept]
    columns["occurred_at"] = [row.at for row in logged]
    columns["offers"] = _offers(columns["catalogue"], columns["items"], offers_of)
    columns["context"] = [_context(row.context).decode() for row in logged]
    return _table(columns, decision_schema())


def _offers(lists: list[int], items: list[tuple[int, ...]], offers_of: Any) -> list[list[str]]:
    """The offer ids behind positions in numbered lists of candidates; empty where a list isn't known."""
    known = {number: offers_of(number) for number in set(lists)} if offers_of is not None else dict.fromkeys(lists)
    found: list[list[str]] = []
    for number, positions in zip(lists, items, strict=True):
        ids = known[number]
        found.append([] if ids is None else [ids[k] for k in positions])
    return found


def _table(columns: dict[str, list[Any]], schema: Any) -> Any:
    """Columns as a table; a list column is built from flat arrays, many times faster than from its lists."""
    import pyarrow as pa

    arrays: list[Any] = []
    for field in schema:
        values = columns[field.name]
        if pa.types.is_list(field.type):
            ends = pa.array(accumulate(map(len, values), initial=0), pa.int32(), size=len(values) + 1)
            flat = pa.array(list(chain.from_iterable(values)), field.type.value_type)
            arrays.append(pa.ListArray.from_arrays(ends, flat))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


_OUTCOME_COLUMNS: dict[str, str] = {
    "seq": "number in the journal",
    "decision_id": "decision that is credited",
    "offer_id": "offer of its slate that is credited",
    "position": "place of the offer in the slate, from 0",
    "kind": "click, conversion or reversal",
    "event": "name of the event",
    "message_id": "its message id",
    "order_id": "its order, if any",
    "occurred_at": "when it happened",
    "value": "minor units earned, negative for a reversal",
    "currency": "currency of the value",
    "trusted": "false: shown, never learned from",
    "placement": "placement of the decision",
    "subject": "subject key of the event",
}


def outcome_schema() -> Any:
    """Columns of the lake table `outcomes`."""
    import pyarrow as pa

    kinds: dict[str, Any] = {
        "seq": pa.int64(),
        "position": pa.int32(),
        "occurred_at": pa.timestamp("us", "UTC"),
        "value": pa.int64(),
        "trusted": pa.bool_(),
    }
    return pa.schema([(name, kinds.get(name, pa.string())) for name in _OUTCOME_COLUMNS])


declare_lake(
    "outcomes",
    [*_OUTCOME_COLUMNS, "month", "bucket"],
    subject="subject",
    purpose="essential",
    retention="setting privacy.decisions_days",
    eraser="delete",
    exporter="rows",
    columns={
        **_OUTCOME_COLUMNS,
        "month": "month of occurred_at, such as 202612",
        "bucket": "hash of the subject modulo 16",
    },
)


def outcomes_to_arrow(rows: Sequence[CommittedRow]) -> Any:
    """Rows of the journal `outcomes` as a table of `outcome_schema`."""
    credited = [read_outcome(row) for row in rows]
    columns = {
        name: list(map(attrgetter(name), credited)) for name in _OUTCOME_COLUMNS if name not in ("seq", "occurred_at")
    }
    columns["seq"] = [row.seq for row in rows]
    columns["occurred_at"] = [one.at for one in credited]
    return _table(columns, outcome_schema())


def read_outcome(row: CommittedRow) -> Outcome:
    """The outcome of a row of the journal `outcomes`."""
    return row.item if row.item is not None else _outcome.decode(row.body)


assert len(REFUSALS) < 256, "a refusal is one byte in the log"
