"""Tables that say what they hold: whose data, what for, for how long, and how they are erased and exported.

Every table of the store and of the lake is made through `declare` or `declare_lake`; a table or column that isn't fails
a test. Erasure and export walk these declarations and need to know nothing else about a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Column, MetaData, Table
from sqlalchemy.schema import SchemaItem

__all__ = ["Declaration", "declaration", "declare", "declare_lake", "declared_lake", "declared_tables", "metadata"]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""Every declared table of the store."""


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """What a table holds.

    Attributes:
        name: the table.
        subject: column with the subject key (`u:…` or `a:…`), or None where no person is meant.
        purpose: what the data are for.
        retention: how long they are kept, in words.
        eraser: delete (rows of the subject go) | none | the name of an own eraser.
        exporter: rows (rows of the subject are given out) | none | the name of an own exporter.
        columns: column → what it holds.
    """

    name: str
    subject: str | None
    purpose: str
    retention: str
    eraser: str
    exporter: str
    columns: Mapping[str, str]


_lake: dict[str, Declaration] = {}


def _checked(declared: Declaration, present: list[str]) -> Declaration:
    """The declaration, if it names exactly the columns that are there."""
    missing, unknown = set(present) - set(declared.columns), set(declared.columns) - set(present)
    if missing or unknown:
        raise ValueError(f"{declared.name}: undeclared columns {sorted(missing)}, unknown columns {sorted(unknown)}")
    if declared.subject is not None and declared.subject not in present:
        raise ValueError(f"{declared.name}: the subject column {declared.subject} isn't there")
    if declared.subject is not None and "none" in (declared.eraser, declared.exporter):
        raise ValueError(f"{declared.name}: a table about people needs an eraser and an exporter")
    return declared


def declare(
    name: str,
    *parts: SchemaItem,
    subject: str | None,
    purpose: str,
    retention: str,
    eraser: str,
    exporter: str,
    columns: Mapping[str, str],
    options: Mapping[str, Any] | None = None,
) -> Table:
    """Make a table of the store and say what it holds.

    Args:
        name: the table's name, the singular of what a row is.
        parts: SQLAlchemy columns, constraints and indexes.
        subject: column with the subject key, or None where no person is meant.
        purpose: what the data are for.
        retention: how long they are kept, in words.
        eraser: delete | none | the name of an own eraser.
        exporter: rows | none | the name of an own exporter.
        columns: what each column holds; all of them, and no others.
        options: further keywords of `sqlalchemy.Table`, such as `sqlite_with_rowid`.

    Raises:
        ValueError: `columns` doesn't name exactly the columns, or a table about people lacks an eraser or exporter.
    """
    declared = Declaration(
        name=name,
        subject=subject,
        purpose=purpose,
        retention=retention,
        eraser=eraser,
        exporter=exporter,
        columns=dict(columns),
    )
    _checked(declared, [part.name for part in parts if isinstance(part, Column)])
    return Table(name, metadata, *parts, info={"declared": declared}, **(options or {}))


def declaration(table: Table) -> Declaration:
    """What a table of the store holds; a `KeyError` if it was not made by `declare`."""
    return table.info["declared"]


def declared_tables() -> dict[str, Table]:
    """Every declared table of the store by name."""
    return dict(metadata.tables)


def declare_lake(
    name: str,
    names: list[str],
    *,
    subject: str | None,
    purpose: str,
    retention: str,
    eraser: str,
    exporter: str,
    columns: Mapping[str, str],
) -> Declaration:
    """Say what a table of the lake holds; `names` are its columns (`schema.names`).

    The other arguments and the errors are those of `declare`.
    """
    declared = Declaration(
        name=name,
        subject=subject,
        purpose=purpose,
        retention=retention,
        eraser=eraser,
        exporter=exporter,
        columns=dict(columns),
    )
    _lake[name] = _checked(declared, names)
    return declared


def declared_lake() -> dict[str, Declaration]:
    """Every declared table of the lake by name."""
    return dict(_lake)
