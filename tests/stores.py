"""Where the stores of the tests lie: SQLite files, or schemas of one PostgreSQL server.

`VITRINA_TEST_STORE=postgresql` runs the whole suite on the second. A test of what only a SQLite file can show is marked
`sqlite`, one that needs a server of its own `postgresql`.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["ON_POSTGRESQL", "store_url"]

ON_POSTGRESQL = os.environ.get("VITRINA_TEST_STORE") == "postgresql"


def store_url(path: Path) -> str:
    """The address of a store that a test calls `path`; the same path is the same store."""
    if not ON_POSTGRESQL:
        return f"sqlite:///{path}"
    from vitrina.storage.connect import make_schema, parse_address, schema_of_folder

    url = os.environ["VITRINA_STORAGE_URL"].replace("{folder}", schema_of_folder(path))
    make_schema(parse_address(url))  # these tests make tables without migrating
    return url
