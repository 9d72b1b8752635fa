"""Consent records: appended, never changed. The latest answer of a person about a purpose counts."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, Boolean, Column, Connection, Index, String, func, select

from vitrina.core.clock import Micros
from vitrina.core.consent import ConsentRecord, LawfulBasis, Purpose
from vitrina.storage.declared import declare
from vitrina.storage.store import Store

__all__ = ["Consents", "consent_record", "write_consents"]

consent_record = declare(
    "consent_record",
    Column("id", String(64), primary_key=True),
    Column("subject", String, nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("granted", Boolean, nullable=False),
    Column("basis", String(32), nullable=False),
    Column("channel", String(32), nullable=False),
    Column("source", String(64), nullable=False),
    Column("text_version", String(64), nullable=False),
    Column("locale", String(16), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=True),
    Index("ix_consent_record_subject", "subject"),
    subject="subject",
    purpose="obligation: proof that a person agreed or objected",
    retention="as long as the person is known, and three years",
    eraser="delete",
    exporter="rows",
    columns={
        "id": "id of the record, quoted by decisions",
        "subject": "leaf identifier that answered",
        "purpose": "what was asked",
        "granted": "yes or no",
        "basis": "lawful basis",
        "channel": "the channel it is for, empty for all",
        "source": "form, banner, tcf, gpc, import or api",
        "text_version": "version of the text that was shown",
        "locale": "language in which it was shown",
        "at": "when the person answered, microseconds UTC",
        "expires_at": "when it ends, microseconds UTC, or null",
    },
)

_ROWS_A_STATEMENT = 1_000


class Consents:
    """The consent records of a workspace."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(self, records: Sequence[ConsentRecord]) -> None:
        """Append records and wait for their commit; one whose id is there already is left alone."""
        self._store.write(lambda connection: write_consents(connection, records))

    def of(self, subjects: Sequence[str]) -> list[ConsentRecord]:
        """Every record of these leaf identifiers, oldest first; of two of one time the no is last, as it counts."""
        c = consent_record.c
        query = select(consent_record).where(c.subject.in_(list(subjects))).order_by(c.at, c.granted.desc(), c.id)
        with self._store.read() as connection:
            found = connection.execute(query).mappings().all()
        return [_record(dict(row)) for row in found]

    def find(self, record_id: str) -> ConsentRecord | None:
        """One record, or None."""
        with self._store.read() as connection:
            row = connection.execute(select(consent_record).where(consent_record.c.id == record_id)).mappings().first()
        return None if row is None else _record(dict(row))

    def count(self) -> int:
        """How many records there are."""
        with self._store.read() as connection:
            return connection.execute(select(func.count()).select_from(consent_record)).scalar_one()


def write_consents(connection: Connection, records: Sequence[ConsentRecord]) -> None:
    """Append records in the caller's transaction; one whose id is there already is left alone."""
    for start in range(0, len(records), _ROWS_A_STATEMENT):
        part = {record.id: record for record in records[start : start + _ROWS_A_STATEMENT]}
        known = select(consent_record.c.id).where(consent_record.c.id.in_(list(part)))
        for record_id in connection.execute(known).scalars().all():
            del part[record_id]
        if part:
            connection.execute(consent_record.insert(), [_row(record) for record in part.values()])


def _row(record: ConsentRecord) -> dict[str, str | bool | Micros | None]:
    return {
        "id": record.id, "subject": record.subject, "purpose": record.purpose.value, "granted": record.granted,
        "basis": record.basis.value, "channel": record.channel, "source": record.source,
        "text_version": record.text_version, "locale": record.locale, "at": record.at, "expires_at": record.expires_at,
    }  # fmt: skip


def _record(row: dict[str, object]) -> ConsentRecord:
    return ConsentRecord(
        id=str(row["id"]), subject=str(row["subject"]), purpose=Purpose(str(row["purpose"])),
        granted=bool(row["granted"]), basis=LawfulBasis(str(row["basis"])), channel=str(row["channel"]),
        source=str(row["source"]), text_version=str(row["text_version"]), locale=str(row["locale"]),
        at=row["at"], expires_at=row["expires_at"],  # pyright: ignore[reportArgumentType]
    )  # fmt: skip
