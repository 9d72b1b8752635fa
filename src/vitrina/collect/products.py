"""Products that imports have named: what `replay` offers, and how a code is called on the screen."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Column, Connection, String, select

from vitrina.storage.declared import declare
from vitrina.storage.store import Store

__all__ = ["product", "read_products", "write_products"]

product = declare(
    "product",
    Column("id", String(200), primary_key=True),
    Column("name", String, nullable=False),
    Column("category", String, nullable=False),
    subject=None,
    purpose="essential",
    retention="as long as the workspace",
    eraser="none",
    exporter="none",
    columns={"id": "product code, case-sensitive", "name": "name last seen", "category": "category last seen"},
)


def write_products(store: Store, products: Mapping[str, tuple[str, str]]) -> None:
    """Insert or update products: id → (name, category); an empty text leaves what is known."""
    known = read_products(store)
    fresh = [{"id": key, "name": name, "category": kind} for key, (name, kind) in products.items() if key not in known]
    changed = {
        key: (name or known[key][0], kind or known[key][1])
        for key, (name, kind) in products.items()
        if key in known and (name or known[key][0], kind or known[key][1]) != known[key]
    }

    def write(connection: Connection) -> None:
        if fresh:
            connection.execute(product.insert(), fresh)
        for key, (name, kind) in changed.items():
            connection.execute(product.update().where(product.c.id == key).values(name=name, category=kind))

    if fresh or changed:
        store.write(write)


def read_products(store: Store) -> dict[str, tuple[str, str]]:
    """Every product: id → (name, category)."""
    with store.read() as connection:
        return {key: (name, kind) for key, name, kind in connection.execute(select(product))}
