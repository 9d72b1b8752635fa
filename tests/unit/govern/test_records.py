"""Audit, consents and erasure on a real store; and that every table and column says what it holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import inspect

import vitrina
import vitrina.people
import vitrina.workspace
from tests.stores import store_url
from vitrina.core.clock import SystemClock
from vitrina.core.consent import ConsentRecord, Purpose
from vitrina.govern.audit import Audit
from vitrina.govern.consent import Consents
from vitrina.storage.declared import declaration, declared_lake, declared_tables
from vitrina.storage.store import Store

MACHINERY = {"alembic_version", "sqlite_sequence"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = Store.open(store_url(tmp_path / "store.db"), threaded=False)
    opened.migrate()
    return opened


def test_every_table_and_column_is_declared(tmp_path: Path) -> None:
    workspace = vitrina.init(tmp_path / "shop")
    try:
        declared = declared_tables()
        with workspace.store.read() as connection:
            found = inspect(connection)
            tables = set(found.get_table_names()) - MACHINERY
            assert tables == set(declared)
            for name in tables:
                columns = {column["name"] for column in found.get_columns(name)}
                assert columns == set(declaration(declared[name]).columns), name
        for name, table in declared.items():
            said = declaration(table)
            assert said.purpose, name
            assert said.retention, name
            if said.subject is not None:
                assert said.eraser != "none", name
                assert said.exporter != "none", name
        assert {"events", "decisions", "outcomes"} <= set(declared_lake())
    finally:
        workspace.close()


def test_audit_chain_shows_a_changed_and_a_missing_entry(store: Store) -> None:
    audit = Audit(store, SystemClock())
    for number in range(5):
        audit.record("ключ", "data.import", {"rows": number})
    assert audit.verify().broken_at is None
    assert [entry.details["rows"] for entry in audit.entries(2)] == [4, 3]
    store.write(lambda c: c.exec_driver_sql("update audit_entry set details = '{\"rows\":9}' where seq = 3"))
    assert audit.verify().broken_at == 3
    store.write(lambda c: c.exec_driver_sql("delete from audit_entry where seq = 3"))
    assert audit.verify().broken_at == 3


def test_consent_records_are_appended_once(store: Store) -> None:
    consents = Consents(store)
    yes = ConsentRecord(
        id="c_1", subject="u:1", purpose=Purpose.EMAIL, granted=True, at=5, text_version="v2", locale="ru"
    )
    no = ConsentRecord(id="c_2", subject="u:1", purpose=Purpose.EMAIL, granted=False, at=9)
    consents.record([yes, no, yes])
    consents.record([yes])
    assert consents.of(["u:1"]) == [yes, no]
    assert consents.find("c_2") == no
    assert consents.find("c_3") is None
    assert consents.count() == 2
