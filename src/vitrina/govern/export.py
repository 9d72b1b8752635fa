"""The right of access: every row about a person, table by table, readable by programs (GDPR art. 15, 20)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import select

from vitrina.storage.declared import declaration, declared_tables
from vitrina.storage.store import Store

__all__ = ["export_rows"]


def export_rows(store: Store, subjects: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Rows of every declared table of the store about these subject keys; tables without a row are left out.

    Stored bytes are given as what they hold (JSON or MessagePack), or in hexadecimal digits where they hold neither.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    with store.read() as connection:
        for name, table in declared_tables().items():
            declared = declaration(table)
            if declared.subject is None or declared.exporter == "none":
                continue
            query = select(table).where(table.c[declared.subject].in_(list(subjects)))
            rows = [{key: _plain(value) for key, value in row.items()} for row in connection.execute(query).mappings()]
            if rows:
                found[name] = rows
    return found


def _plain(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    for decode in (msgspec.json.decode, msgspec.msgpack.decode):
        try:
            return _readable(decode(value))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return value.hex()


def _readable(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): _readable(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_readable(part) for part in value]
    return value
