"""Which leaves are one person: from the links in the store, for whoever counts people over the whole log."""

from __future__ import annotations

from sqlalchemy import select

from vitrina.collect.tables import identity_edge
from vitrina.storage.store import Store

__all__ = ["joined_leaves"]


def joined_leaves(store: Store) -> dict[str, str]:
    """Leaf identifier → the person's first identifier (a userId before an anonymousId), for leaves that were joined."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while (above := parent.setdefault(name, name)) != name:
            parent[name] = parent[above]
            name = parent[name]
        return name

    query = select(identity_edge.c.low, identity_edge.c.high).where(identity_edge.c.status == "joined")
    with store.read() as connection:
        for low, high in connection.execute(query):
            parent[root(low)] = root(high)
    people: dict[str, list[str]] = {}
    for name in list(parent):
        if name[:2] in {"u:", "a:"}:
            people.setdefault(root(name), []).append(name)
    first = {key: max(leaves, key=lambda leaf: (leaf[0], leaf)) for key, leaves in people.items()}
    return {leaf: first[key] for key, leaves in people.items() if len(leaves) > 1 for leaf in leaves}
