"""Consent records: appended, never changed. The latest answer of a person about a purpose counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import BigInteger, Boolean, Column, Index, String, select

from vitrina.core.clock import Micros
from vitrina.core.consent import ConsentRecord, LawfulBasis, Purpose
from vitrina.storage.declared import declare
from vitrina.storage.store import Store

__all__ = ["Consents", "consent_record"]

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
    """The consent records of a workspace.

    Args:
        on_recorded: called with new records after they are committed, so that the next decision knows them.
    """

    def __init__(self, store: Store, on_recorded: Callable[[Sequence[ConsentRecord]], None] | None = None) -> None:
        self._store = store
        self.on_recorded = on_recorded

    def record(self, records: Sequence[ConsentRecord]) -> int:
        """Append records; one whose id is there already is left alone. Gives how many were new."""
        fresh: list[ConsentRecord] = []
        for start in range(0, len(records), _ROWS_A_STATEMENT):
            fresh += self._append(records[start : start + _ROWS_A_STATEMENT])
        if fresh and self.on_recorded is not None:
            self.on_recorded(fresh)
        return len(fresh)

    def _append(self, records: Sequence[ConsentRecord]) -> list[ConsentRecord]:
        ids = [record.id for record in records]
        with self._store.read() as connection:
            known = set(connection.execute(select(consent_record.c.id).where(consent_record.c.id.in_(ids))).scalars())
        fresh = list({record.id: record for record in records if record.id not in known}.values())
        if fresh:
            rows = [_row(record) for record in fresh]
            self._store.write(lambda connection: connection.execute(consent_record.insert(), rows).rowcount)
        return fresh

    def of(self, subjects: Sequence[str]) -> list[ConsentRecord]:
        """Every record of these leaf identifiers, oldest first."""
        query = select(consent_record).where(consent_record.c.subject.in_(list(subjects)))
        with self._store.read() as connection:
            found = connection.execute(query.order_by(consent_record.c.at, consent_record.c.id)).mappings().all()
        return [_record(dict(row)) for row in found]

    def find(self, record_id: str) -> ConsentRecord | None:
        """One record, or None."""
        with self._store.read() as connection:
            row = connection.execute(select(consent_record).where(consent_record.c.id == record_id)).mappings().first()
        return None if row is None else _record(dict(row))

    def count(self) -> int:
        """How many records there are."""
        from sqlalchemy import func

        with self._store.read() as connection:
            return connection.execute(select(func.count()).select_from(consent_record)).scalar_one()


def _row(record: ConsentRecord) -> dict[str, str | bool | Micros | None]:
    return {
        "id": record.id, "subject": record.subject, "purpose": record.purpose.value, "granted": record.granted,
        "basis": record.basis.value, "channel": record.channel, "source": record.source, "text_version": record.text_version,
        "locale": record.locale, "at": record.at, "expires_at": record.expires_at,
    }  # fmt: skip


def _record(row: dict[str, object]) -> ConsentRecord:
    return ConsentRecord(
        id=str(row["id"]), subject=str(row["subject"]), purpose=Purpose(str(row["purpose"])), granted=bool(row["granted"]),
        basis=LawfulBasis(str(row["basis"])), channel=str(row["channel"]), source=str(row["source"]),
        text_version=str(row["text_version"]), locale=str(row["locale"]), at=row["at"], expires_at=row["expires_at"],  # pyright: ignore[reportArgumentType]
    )  # fmt: skip
