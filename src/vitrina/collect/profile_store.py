"""Profiles in the store: whole clusters are loaded, what changed is saved in one transaction, links are erased."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, or_, select

from vitrina.collect.graph import Change
from vitrina.collect.identity import Link, Status
from vitrina.collect.leaf import Leaf, decode_leaf
from vitrina.collect.tables import deferred_event, identity_edge, identity_merge, shared_device
from vitrina.core.clock import Micros

__all__ = [
    "MergeRow",
    "Snapshot",
    "Unsaved",
    "erase_links",
    "links_of",
    "load_clusters",
    "load_deferred",
    "load_devices",
    "write",
]

_IN = 400
_ROWS = 100

MergeRow = tuple[Micros, str, str, str, str, Micros, str, str, str]
"""A row of the log of merges, without its number."""


class Unsaved:
    """What changed since the last save, beside the leaves."""

    def __init__(self) -> None:
        self.links: dict[tuple[str, str], Link] = {}
        self.merges: list[MergeRow] = []
        self.devices: list[tuple[str, Micros]] = []
        self.deferred: list[tuple[int, Micros, str, bytes]] = []
        self.undeferred: list[int] = []

    def note(self, changes: Iterable[Change], now: Micros, by: str = "") -> None:
        """Remember links whose evidence or status changed, and log the latter."""
        for change in changes:
            link = change.link
            if link.status == Status.JOINED and not link.joined_at:
                link.joined_at = now
            if link.status == Status.DEVICE:
                self.devices.append((link.low, now))
            else:
                self.links[link.low, link.high] = link
            if link.status != change.before:
                row = (now, link.low, link.high, link.status, change.before, link.at, link.message_id, link.source, by)
                self.merges.append(row)

    def forget(self, names: Collection[str]) -> None:
        """Drop whatever names one of these identifiers."""
        for pair in [pair for pair in self.links if pair[0] in names or pair[1] in names]:
            del self.links[pair]
        self.merges = [row for row in self.merges if row[1] not in names and row[2] not in names]
        self.devices = [row for row in self.devices if row[0] not in names]
        self.deferred = [row for row in self.deferred if row[2] not in names]

    def snapshot(self, leaves: list[tuple[str, Micros, bytes]], removed: Collection[tuple[str, str]]) -> Snapshot:
        """All of it as rows that can be written later than they were taken."""
        return Snapshot(
            leaves,
            [_link_row(link) for pair, link in self.links.items() if pair not in removed],
            list(removed),
            list(self.merges),
            list(self.devices),
            list(self.deferred),
            list(self.undeferred),
        )


class Snapshot(msgspec.Struct):
    """What a save writes.

    Attributes:
        leaves: subject, last heard of, state.
        links, removed: links to write and to delete.
        merges: rows of the log of merges.
        devices: identifiers found to be shared.
        deferred, undeferred: events to keep back, and numbers of those that need not be any more.
    """

    leaves: list[tuple[str, Micros, bytes]]
    links: list[tuple[Any, ...]]
    removed: list[tuple[str, str]]
    merges: list[MergeRow]
    devices: list[tuple[str, Micros]]
    deferred: list[tuple[int, Micros, str, bytes]]
    undeferred: list[int]

    @property
    def empty(self) -> bool:
        """There is nothing to write."""
        return not any(getattr(self, name) for name in self.__struct_fields__)


def _parts(values: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def load_clusters(
    connection: Connection, identifiers: Collection[str], devices: Collection[str]
) -> tuple[set[str], list[Link], list[Leaf]]:
    """Everything that hangs together with some identifiers: all identifiers met, their links and leaves.

    Shared devices are not followed.
    """
    met: set[str] = set(identifiers)
    found: dict[tuple[str, str], Link] = {}
    front = [identifier for identifier in met if identifier not in devices]
    while front:
        reached: set[str] = set()
        for link in _links(connection, front):
            found[link.low, link.high] = link
            reached.update((link.low, link.high))
        front = [identifier for identifier in reached - met if identifier not in devices]
        met |= reached
    leaves: list[Leaf] = []
    for part in _parts([identifier for identifier in met if identifier[0] in "ua"], _IN):
        text = f"select state from profile_leaf where subject in ({_marks(connection, len(part))})"
        leaves += [decode_leaf(row[0]) for row in connection.exec_driver_sql(text, tuple(part))]
    return met, list(found.values()), leaves


def _marks(connection: Connection, count: int) -> str:
    return ", ".join(["?" if connection.dialect.paramstyle == "qmark" else "%s"] * count)


def _links(connection: Connection, identifiers: Sequence[str]) -> list[Link]:
    """The stored links that name an identifier (plain SQL: this runs for every group of events with a new face)."""
    first = "select min(m.recorded_at) from identity_merge m where m.low = e.low and m.high = e.high"
    columns = "low, high, kind, public, at, message_id, source, suppressed, status"
    columns += f", ({first} and m.status = '{Status.JOINED}')"
    found: list[Link] = []
    for part in _parts(identifiers, _IN):
        marks = _marks(connection, len(part))
        text = (
            f"select {columns} from identity_edge e where low in ({marks}) "
            f"union all select {columns} from identity_edge e where high in ({marks})"
        )
        found += [
            Link(
                low=row[0],
                high=row[1],
                kind=row[2],
                public=bool(row[3]),
                at=row[4],
                message_id=row[5],
                source=row[6],
                suppressed=bool(row[7]),
                status=row[8],
                joined_at=row[9] or 0,
            )
            for row in connection.exec_driver_sql(text, (*part, *part))
        ]
    return found


def links_of(connection: Connection, identifiers: Sequence[str]) -> list[Link]:
    """The stored links of some identifiers, in their order (people's screens, export)."""
    found = {(link.low, link.high): link for link in _links(connection, identifiers)}
    return sorted(found.values(), key=lambda link: link.order)


def load_devices(connection: Connection) -> set[str]:
    """Every identifier found to be shared by too many people."""
    return set(connection.execute(select(shared_device.c.identifier)).scalars())


def load_deferred(connection: Connection) -> list[tuple[Micros, int, bytes]]:
    """Events that are kept back: available at, number, body."""
    d = deferred_event.c
    return [tuple(row) for row in connection.execute(select(d.available_at, d.seq, d.body))]


def _link_row(link: Link) -> tuple[Any, ...]:
    """A link as a row of `identity_edge`, in the order of its columns."""
    evidence = (link.kind, link.public, link.at, link.message_id, link.source)
    return (link.low, link.high, *evidence, link.suppressed, link.status)


def _upsert(
    connection: Connection, table: str, columns: Sequence[str], keys: int, rows: Sequence[Sequence[Any]]
) -> None:
    """Insert rows, replacing those with the same key (the first `keys` columns). Same text on SQLite and PostgreSQL."""
    one = f"({_marks(connection, len(columns))})"
    changes = ", ".join([f"{column} = excluded.{column}" for column in columns[keys:]])
    tail = f" on conflict ({', '.join(columns[:keys])}) do " + (f"update set {changes}" if changes else "nothing")
    for part in _parts(rows, _ROWS):
        text = f"insert into {table} ({', '.join(columns)}) values " + ", ".join([one] * len(part)) + tail
        connection.exec_driver_sql(text, tuple([value for row in part for value in row]))


def write(connection: Connection, snapshot: Snapshot) -> None:
    """Write a snapshot in the caller's transaction."""
    _upsert(connection, "profile_leaf", ("subject", "last_at", "state"), 1, snapshot.leaves)
    if snapshot.links:
        _upsert(connection, "identity_edge", [column.name for column in identity_edge.c], 2, snapshot.links)
    for low, high in snapshot.removed:
        gone = (identity_edge.c.low == low) & (identity_edge.c.high == high)
        connection.execute(delete(identity_edge).where(gone))
    if snapshot.merges:
        names = [column.name for column in identity_merge.c][1:]
        connection.execute(identity_merge.insert(), [dict(zip(names, row, strict=True)) for row in snapshot.merges])
    if snapshot.devices:
        _upsert(connection, "shared_device", ("identifier", "at"), 1, snapshot.devices)
    if snapshot.deferred:
        _upsert(connection, "deferred_event", ("seq", "available_at", "subject", "body"), 1, snapshot.deferred)
    for part in _parts(snapshot.undeferred, _IN):
        connection.execute(delete(deferred_event).where(deferred_event.c.seq.in_(part)))


def erase_links(connection: Connection, identifiers: Sequence[str]) -> dict[str, int]:
    """Delete every link and merge that names one of the identifiers; rows deleted by table (the eraser `identity`)."""
    counts: dict[str, int] = {}
    for table in (identity_edge, identity_merge):
        where = or_(table.c.low.in_(identifiers), table.c.high.in_(identifiers))
        counts[table.name] = connection.execute(delete(table).where(where)).rowcount
    return counts
