"""Versions of the store's tables (Alembic), run from code: `Store.migrate` brings a store up to date.

A room declares its tables with `storage.declared.declare`; a change of them needs a new version:

    python -m vitrina.storage.migrations "why the tables change"
"""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine

from vitrina.storage.declared import metadata

__all__ = [
    "current_version",
    "declare_all",
    "differences",
    "known_versions",
    "newest_version",
    "upgrade",
    "write_version",
]

_HERE = Path(__file__).parent


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> None:
    """Bring the tables up to the newest version, in the caller's transaction."""
    command.upgrade(_config(connection), "head")


def current_version(connection: Connection) -> str | None:
    """The version that the store is at, or None for one without tables."""
    return MigrationContext.configure(connection).get_current_revision()


def newest_version() -> str | None:
    """The version that this program brings a store to."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def known_versions() -> set[str]:
    """Every version that this program can start from."""
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def declare_all() -> None:
    """Load every room through the place where they are wired together, so that all tables are declared."""
    importlib.import_module("vitrina.workspace")


def differences(connection: Connection) -> list[Any]:
    """What distinguishes the tables of a store from the declared ones, as Alembic says it; empty when they agree."""
    declare_all()
    options = {"compare_type": True, "compare_server_default": True}
    return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


def write_version(message: str) -> Path:
    """Write the version that takes a store from the newest version to the declared tables; gives its file."""
    declare_all()
    number = len(list((_HERE / "versions").glob("[0-9]*.py"))) + 1
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{folder}/store.db")
        with engine.connect() as connection:
            upgrade(connection)
            connection.commit()
            script: Any = command.revision(_config(connection), message, autogenerate=True, rev_id=f"{number:04}")
        engine.dispose()
    return Path(script.path)
