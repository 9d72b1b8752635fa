"""Which leaves are one person, and since when: from the links in the store, for whoever counts people over the log."""

from __future__ import annotations

import msgspec
from sqlalchemy import and_, case, func, select

from vitrina.collect.identity import Status, met_at
from vitrina.collect.tables import identity_edge, identity_merge
from vitrina.core.clock import Micros
from vitrina.storage.store import Store

__all__ = ["Joined", "joined_leaves"]


class Joined(msgspec.Struct, frozen=True):
    """A leaf of somebody with several: whose it is, and since when it is the userId's (0 where there is none)."""

    person: str
    since: Micros


def joined_leaves(store: Store) -> dict[str, Joined]:
    """Leaf identifier → its person by their first identifier (a userId before an anonymousId), where leaves joined."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while (above := parent.setdefault(name, name)) != name:
            parent[name] = parent[above]
            name = parent[name]
        return name

    edge, merge = identity_edge.c, identity_merge.c
    same = and_(merge.low == edge.low, merge.high == edge.high, merge.status == Status.JOINED)
    holds_from = case((edge.public, func.coalesce(func.min(merge.recorded_at), 0)), else_=0)  # as `Link.holds_from`
    query = (
        select(edge.low, edge.high, holds_from)
        .select_from(identity_edge.outerjoin(identity_merge, same))
        .where(edge.status == Status.JOINED)
        .group_by(edge.low, edge.high, edge.public)
    )
    with store.read() as connection:
        pairs = [(low, high, at) for low, high, at in connection.execute(query)]
    for low, high, _ in pairs:
        parent[root(low)] = root(high)
    people: dict[str, list[str]] = {}
    for name in list(parent):
        if name[:2] in {"u:", "a:"}:
            people.setdefault(root(name), []).append(name)
    first = {key: max(leaves, key=lambda leaf: (leaf[0], leaf)) for key, leaves in people.items()}
    met = met_at(pairs)
    return {
        leaf: Joined(first[key], met.get(leaf, 0))
        for key, leaves in people.items()
        if len(leaves) > 1
        for leaf in leaves
    }
