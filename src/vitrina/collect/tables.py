"""Tables of this room, and what the lake holds of an event."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, false, text
from sqlalchemy.dialects import sqlite

from vitrina.storage.declared import declare, declare_lake

__all__ = [
    "EVENT_COLUMNS",
    "dead_letter",
    "deferred_event",
    "identity_edge",
    "identity_merge",
    "profile_leaf",
    "shared_device",
]

_NUMBER = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")  # so that SQLite takes it as the row id

profile_leaf = declare(
    "profile_leaf",
    Column("subject", String, primary_key=True),
    Column("last_at", BigInteger, nullable=False),
    Column("state", LargeBinary, nullable=False),
    subject="subject",
    purpose="personalisation",
    retention="as long as the person is known; without events for as long as raw events are kept, it is deleted",
    eraser="delete",
    exporter="rows",
    columns={
        "subject": "subject key of the identifier",
        "last_at": "when it was last heard of, microseconds UTC",
        "state": "traits, consents, features, what was shown (MessagePack)",
    },
    options={"sqlite_with_rowid": False},
)

identity_edge = declare(
    "identity_edge",
    Column("low", String, primary_key=True),
    Column("high", String, primary_key=True),
    Column("kind", Integer, nullable=False),
    Column("public", Boolean, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("message_id", String, nullable=False),
    Column("source", String, nullable=False),
    Column("suppressed", Boolean, nullable=False),
    Column("status", String(16), nullable=False),
    Index("ix_identity_edge_high", "high"),
    subject="low",
    purpose="essential",
    retention="as long as either identifier is known",
    eraser="identity",
    exporter="identity",
    columns={
        "low": "the identifier that sorts first",
        "high": "the other one",
        "kind": "what linked them: 0 one call named both, 1 an id of another system, 2 e-mail, 3 phone",
        "public": "the evidence came by a public write key, without a userHash that proves it",
        "at": "when the evidence happened, microseconds UTC",
        "message_id": "the event that is the evidence",
        "source": "key or import it came from",
        "suppressed": "a person undid this link",
        "status": "joined | contested | limit | unproven | device | suppressed",
    },
    options={"sqlite_with_rowid": False},
)

identity_merge = declare(
    "identity_merge",
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("recorded_at", BigInteger, nullable=False),
    Column("low", String, nullable=False, index=True),
    Column("high", String, nullable=False, index=True),
    Column("status", String(16), nullable=False),
    Column("before", String(16), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("message_id", String, nullable=False),
    Column("source", String, nullable=False),
    Column("by", String, nullable=False),
    subject="low",
    purpose="essential",
    retention="as long as either identifier is known",
    eraser="identity",
    exporter="identity",
    columns={
        "number": "order of the log",
        "recorded_at": "when it was decided, microseconds UTC",
        "low": "the identifier that sorts first",
        "high": "the other one",
        "status": "what became of the link: joined | contested | limit | unproven | device | suppressed",
        "before": "what it was before, empty when it is new",
        "at": "when the evidence happened, microseconds UTC",
        "message_id": "the event that is the evidence",
        "source": "key or import it came from",
        "by": "who undid or restored it; empty when the rules decided",
    },
)

shared_device = declare(
    "shared_device",
    Column("identifier", String, primary_key=True),
    Column("at", BigInteger, nullable=False),
    subject="identifier",
    purpose="essential",
    retention="as long as the store",
    eraser="delete",
    exporter="rows",
    columns={
        "identifier": "an identifier that too many people share to say who somebody is",
        "at": "when that was found, microseconds UTC",
    },
)

dead_letter = declare(
    "dead_letter",
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False, index=True),
    Column("source", String, nullable=False),
    Column("trusted", Boolean, nullable=False, server_default=false()),
    Column("code", String(40), nullable=False),
    Column("place", String, nullable=False),
    Column("cause", String, nullable=False),
    Column("cure", String, nullable=False),
    Column("subject", String, nullable=True, index=True),
    Column("message_id", String, nullable=True, index=True),
    Column("event", String, nullable=False, server_default=text("''")),
    Column("body", LargeBinary, nullable=False),
    Column("status", String(16), nullable=False, server_default="waiting"),
    Column("changed_at", BigInteger, nullable=True),
    Column("changed_by", String(200), nullable=True),
    subject="subject",
    purpose="essential",
    retention="30 days",
    eraser="delete",
    exporter="rows",
    columns={
        "number": "order of arrival",
        "at": "when it was refused, microseconds UTC",
        "source": "key it came by",
        "trusted": "that key is trusted with money",
        "code": "stable code of the cause",
        "place": "where the fault is, such as batch[3].properties.price",
        "cause": "what is wrong",
        "cure": "what to do",
        "subject": "subject key of the person, where the event names one",
        "message_id": "the sender's id of the event",
        "event": "name of the event, or the type of the call",
        "body": "the event as read, with what its batch said for all (JSON)",
        "status": "waiting | replayed | discarded",
        "changed_at": "when it was replayed or discarded, microseconds UTC",
        "changed_by": "key or user that did it",
    },
)

deferred_event = declare(
    "deferred_event",
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("available_at", BigInteger, nullable=False, index=True),
    Column("subject", String, nullable=False, index=True),
    Column("body", LargeBinary, nullable=False),
    subject="subject",
    purpose="essential",
    retention="until it may be used",
    eraser="delete",
    exporter="rows",
    columns={
        "seq": "number in the journal of events",
        "available_at": "when it may first be used, microseconds UTC",
        "subject": "subject key of the person",
        "body": "the event (JSON)",
    },
)

EVENT_COLUMNS: dict[str, str] = {
    "seq": "number in order of commit",
    "message_id": "the sender's id",
    "type": "track | identify | page | screen | group | alias",
    "name": "name of the event, page or screen",
    "subject": "subject key of the person",
    "user_id": "userId as sent",
    "anonymous_id": "anonymousId as sent",
    "occurred_at": "when it happened, clock skew corrected",
    "received_at": "when it reached us",
    "available_at": "when it could first have been used",
    "source": "key or import it came from",
    "trusted": "its money counts",
    "backfilled": "it came from an import of history",
    "quarantined": "the bot check suspects it (counted, never taught), or the plan set it aside (neither)",
    "order_id": "order",
    "product_id": "product",
    "category": "category",
    "decision_id": "the decision that it is an outcome of",
    "offer_id": "the offer that it is about",
    "value": "margin earned or lost, minor units",
    "revenue": "price paid, minor units",
    "currency": "ISO 4217 code of value and revenue",
    "products": "lines: product_id, quantity, unit_price (1/10 000), revenue (minor units), kind, row",
    "properties": "properties as sent (JSON)",
    "traits": "traits as sent (JSON)",
    "context": "context as sent (JSON)",
    "violation": "how it contradicts the tracking plan, as code and place; empty when it does not",
    "month": "partition: year and month it happened, such as 202605",
    "bucket": "partition: hash of the subject key, 0 to 15",
}
"""Columns of the lake table `events`; `vitrina.collect.lake_events.EVENT_SCHEMA` has their types."""

declare_lake(
    "events",
    list(EVENT_COLUMNS),
    subject="subject",
    purpose="analytics",
    retention="as the setting privacy.events_days says",
    eraser="delete",
    exporter="rows",
    columns=EVENT_COLUMNS,
)
