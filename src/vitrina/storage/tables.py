"""Tables of the storage room itself: heads and offsets of journals, leases."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String

from vitrina.storage.declared import declare

__all__ = ["consumer_offset", "journal_head", "lease"]

journal_head = declare(
    "journal_head",
    Column("journal", String(64), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    subject=None,
    purpose="essential",
    retention="as long as the store",
    eraser="none",
    exporter="none",
    columns={"journal": "name of the journal", "seq": "last number given to a row of it"},
)

consumer_offset = declare(
    "consumer_offset",
    Column("consumer", String(64), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    subject=None,
    purpose="essential",
    retention="as long as the store",
    eraser="none",
    exporter="none",
    columns={
        "consumer": "journal and reader, such as events.lake",
        "seq": "last row of the journal that this reader has dealt with",
        "at": "when it said so, microseconds UTC",
    },
)

lease = declare(
    "lease",
    Column("name", String(64), primary_key=True),
    Column("holder", String(128), nullable=False),
    Column("until", BigInteger, nullable=False),
    subject=None,
    purpose="essential",
    retention="as long as the store",
    eraser="none",
    exporter="none",
    columns={
        "name": "what only one process may do at a time",
        "holder": "the process that does it",
        "until": "when the lease runs out, microseconds UTC",
    },
)
