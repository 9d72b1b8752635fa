"""The versions of the tables make exactly the declared tables, and everything there is declared."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from tests.stores import store_url
from vitrina.core.errors import UserError
from vitrina.storage import migrations
from vitrina.storage.declared import declaration, declared_tables
from vitrina.storage.store import Store

COMMAND = 'python -m vitrina.storage.migrations "why the tables changed"'


def test_versions_make_the_declared_tables(tmp_path: Path) -> None:
    store = Store.open(store_url(tmp_path / "s.db"), threaded=False)
    store.write(migrations.upgrade)
    with store.read() as connection:
        found = migrations.differences(connection)
    store.close()
    assert found == [], f"the tables changed: {COMMAND}"


def test_every_table_and_column_of_a_store_is_declared(tmp_path: Path) -> None:
    migrations.declare_all()
    store = Store.open(store_url(tmp_path / "s.db"), threaded=False)
    store.migrate()
    declared = declared_tables()
    with store.read() as connection:
        here = inspect(connection)
        names = set(here.get_table_names()) - {"alembic_version"}
        assert names <= set(declared)
        for name in names:
            assert {column["name"] for column in here.get_columns(name)} == set(declaration(declared[name]).columns)
    store.close()


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    store = Store.open(store_url(tmp_path / "s.db"))
    store.migrate()
    store.migrate()
    store.close()


def test_a_store_of_a_later_program_is_refused(tmp_path: Path) -> None:
    store = Store.open(store_url(tmp_path / "s.db"), threaded=False)
    store.migrate()
    store.write(lambda c: c.execute(text("delete from alembic_version")))
    store.write(lambda c: c.execute(text("insert into alembic_version values ('9999')")))
    with pytest.raises(UserError, match="9999") as refused:
        store.migrate()
    assert refused.value.code == "store.newer"
    store.close()


def test_a_store_in_memory_is_refused() -> None:
    with pytest.raises(UserError, match="must be a file"):
        Store.open("sqlite://")
