"""Offers, creatives and placements, every revision kept, and the numbered lists that decisions choose from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, func, select, text

from vitrina.core.catalogue import Creative, Offer, Placement
from vitrina.core.clock import Clock
from vitrina.core.errors import MachineError, NotFoundError, UserError, VitrinaError
from vitrina.decide.candidates import Candidates, Listing, build
from vitrina.decide.policies import policy_of
from vitrina.decide.rules import CompileRule
from vitrina.decide.stock import Stock
from vitrina.decide.tables import candidate_list, catalogue_revision
from vitrina.storage.store import Store
from vitrina.storage.ticket import Ticket

__all__ = ["Catalogue", "Thing"]

Thing = Offer | Creative | Placement
T = TypeVar("T", Offer, Creative, Placement)

_KINDS: dict[type, str] = {Offer: "offer", Creative: "creative", Placement: "placement"}
_DECODE: dict[str, Callable[[bytes], Any]] = {
    kind: msgspec.msgpack.Decoder(struct).decode for struct, kind in _KINDS.items()
}
_encode = msgspec.msgpack.Encoder().encode
_INSERT_LIST = text(
    "insert into candidate_list (number, placement, at, body) "
    "values (:number, :placement, :at, :body) on conflict do nothing"
)
_NUMBERED = 64
_COLUMNS = (catalogue_revision.c.kind, catalogue_revision.c.id, catalogue_revision.c.deleted, catalogue_revision.c.body)


class _Current:
    """What holds now: replaced as a whole by a change, so a reader sees one state."""

    def __init__(self) -> None:
        self.offer: dict[str, Offer] = {}
        self.creative: dict[str, Creative] = {}
        self.placement: dict[str, Placement] = {}

    def copy(self) -> _Current:
        other = _Current()
        other.offer, other.creative, other.placement = dict(self.offer), dict(self.creative), dict(self.placement)
        return other


class Catalogue:
    """Offers, creatives and placements of a store, held in memory.

    Args:
        store: where revisions are kept.
        clock: stamps them.
        stock: told of counted stock.
        compile_rule: turns an audience rule into a function of a dict of values.
        currency: of placements that name none.
    """

    def __init__(
        self, store: Store, clock: Clock, stock: Stock, compile_rule: CompileRule, currency: str = "EUR"
    ) -> None:
        self.currency = currency
        self._store = store
        self._clock = clock
        self._stock = stock
        self._compile = compile_rule
        self._lock = threading.RLock()
        self._now = _Current()
        self._columns: dict[str, int] = {}
        self._seq = 0
        self._lists: dict[str, Candidates] = {}
        self._by_number: dict[int, Candidates] = {}
        self._saved: dict[int, Ticket[Any] | None] = {}
        self.refresh()

    # what there is

    @property
    def size(self) -> int:
        """How many offers there are."""
        return len(self._now.offer)

    def offer(self, offer_id: str) -> Offer | None:
        """The offer as it stands now, its stock counted down, or None."""
        offer = self._now.offer.get(offer_id)
        return offer if offer is None or offer.stock is None else self._counted(offer)

    def creative(self, creative_id: str) -> Creative | None:
        """The creative as it stands now, or None."""
        return self._now.creative.get(creative_id)

    def placement(self, placement_id: str) -> Placement | None:
        """The placement as it stands now, or None."""
        return self._now.placement.get(placement_id)

    def offers(self) -> list[Offer]:
        """Every offer, in order of id."""
        return [self._counted(offer) for _, offer in sorted(self._now.offer.items())]

    def creatives(self, offer_id: str | None = None) -> list[Creative]:
        """Every creative (of one offer), in order of id."""
        return [c for _, c in sorted(self._now.creative.items()) if offer_id is None or c.offer_id == offer_id]

    def placements(self) -> list[Placement]:
        """Every placement, in order of id."""
        return [placement for _, placement in sorted(self._now.placement.items())]

    def history(self, kind: str, thing_id: str) -> list[tuple[int, int, str, Thing | None]]:
        """Every revision: its number, when (microseconds UTC), who, and the thing after it (None when taken away)."""
        table = catalogue_revision
        query = select(table).where(table.c.kind == kind, table.c.id == thing_id).order_by(table.c.revision)
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        return [(r.revision, r.at, r.by, None if r.deleted else _DECODE[kind](r.body)) for r in rows]

    # changes

    def put(self, thing: T, by: str = "") -> T:
        """Add or replace one thing; gives it with its revision. What is equal already is left alone.

        Raises:
            UserError: it names an offer or placement that isn't there, or its money doesn't fit together.
        """
        return self.put_all([thing], by)[0]

    def put_all(self, things: Sequence[T], by: str = "") -> list[T]:
        """Add or replace several things in one transaction; all or none. See `put`."""
        with self._lock:
            ahead = self._now.copy()
            for thing in things:
                self._check(thing, ahead)
                getattr(ahead, _KINDS[type(thing)])[thing.id] = thing
            stored = self._store.write(lambda connection: [self._append(connection, thing, by) for thing in things])
            self.refresh()
        return stored

    def delete(self, kind: str, thing_id: str, by: str = "") -> None:
        """Take an offer, creative or placement away; its revisions stay, for the decisions that name them.

        Raises:
            NotFoundError: it isn't there.
        """
        with self._lock:
            thing = getattr(self._now, kind).get(thing_id)
            if thing is None:
                raise NotFoundError(f"there is no {kind} {thing_id}.", code=f"{kind}.unknown", where=thing_id)
            self._store.write(lambda connection: self._append(connection, thing, by, deleted=True))
            self.refresh()

    def refresh(self) -> None:
        """Take over what was changed since, by this process or another."""
        table = catalogue_revision
        with self._lock:
            with self._store.read() as connection:
                query = select(table).where(table.c.seq > self._seq).order_by(table.c.seq)
                changes = connection.execute(query).all()
            if not changes:
                return
            ahead = self._now.copy()
            counted: dict[str, tuple[str, int | None, int]] = {}
            for change in changes:
                held: dict[str, Any] = getattr(ahead, change.kind)
                thing = _DECODE[change.kind](change.body)
                if isinstance(thing, Offer):
                    self._columns.setdefault(thing.category, len(self._columns)) if thing.category else None
                    before = held.get(thing.id)
                    if before is None or before.stock != thing.stock or change.deleted:
                        counted[thing.id] = (thing.id, None if change.deleted else thing.stock, change.at)
                if change.deleted:
                    held.pop(change.id, None)
                else:
                    held[change.id] = thing
            self._stock.state(counted.values())
            self._seq = changes[-1].seq
            self._now = ahead
            self._lists = {}

    # lists of candidates

    def candidates(self, placement_id: str) -> Candidates:
        """The current numbered list of a placement, queued for the store before any decision that names it.

        Raises:
            NotFoundError: there is no such placement, or it is switched off.
        """
        found = self._lists.get(placement_id)
        if found is None:
            found = self._build(placement_id)
        saved = self._saved.get(found.number, _NOT_SAVED)
        if saved is not None:
            self._save(found, saved)
        return found

    def numbered(self, number: int) -> Candidates | None:
        """The list with this number, made again from its revisions where needed; None if it is not known."""
        found = self._by_number.get(number)
        if found is None:
            found = self._load(number)
            if found is not None:
                self._keep(found)
        return found

    def _build(self, placement_id: str) -> Candidates:
        with self._lock:
            now = self._now
            placement = now.placement.get(placement_id)
            if placement is None or not placement.enabled:
                raise NotFoundError(
                    f"there is no placement {placement_id}.",
                    code="placement.unknown",
                    where="placement",
                    cure=f"Make it first: PUT /v1/placements/{placement_id}.",
                )
            made = build(placement, list(now.offer.values()), list(now.creative.values()), self._columns, self._compile)
            made = self._by_number.get(made.number, made)
            self._keep(made)
            self._lists[placement_id] = made
            return made

    def _keep(self, made: Candidates) -> None:
        with self._lock:
            current = {each.number for each in self._lists.values()}
            while len(self._by_number) >= max(_NUMBERED, 2 * len(current)):
                oldest = next((number for number in self._by_number if number not in current), None)
                if oldest is None:
                    break
                del self._by_number[oldest]
            self._by_number[made.number] = made

    def _save(self, made: Candidates, saved: Ticket[Any] | None) -> None:
        with self._lock:
            if saved is not None and saved is not _NOT_SAVED and not saved.done:
                return
            if saved is not _NOT_SAVED and saved is not None and _succeeded(saved):
                self._saved[made.number] = None
                return
            values = {
                "number": made.number,
                "placement": made.placement.id,
                "at": self._clock.now(),
                "body": _encode(made.listing),
            }
            self._saved[made.number] = self._store.writer.call(
                lambda connection: connection.execute(_INSERT_LIST, values) and None
            )

    def _load(self, number: int) -> Candidates | None:
        with self._store.read() as connection:
            body = connection.execute(select(candidate_list.c.body).where(candidate_list.c.number == number)).scalar()
            if body is None:
                return None
            listing = msgspec.msgpack.decode(body, type=Listing)
            offers = _revisions(connection, "offer", listing.offers)
            creatives = _revisions(connection, "creative", listing.creatives)
            placement = _revisions(connection, "placement", [(listing.placement, listing.placement_revision)])[0]
        return Candidates(listing, placement, offers, creatives, self._compile)

    # checks and rows

    def _counted(self, offer: Offer) -> Offer:
        return offer if offer.stock is None else msgspec.structs.replace(offer, stock=self._stock.left(offer.id))

    def _check(self, thing: Thing, ahead: _Current) -> None:
        if isinstance(thing, Creative) and thing.offer_id not in ahead.offer:
            raise UserError(
                f"there is no offer {thing.offer_id}.",
                code="offer.unknown",
                where="offerId",
                cure="Make the offer first.",
            )
        if isinstance(thing, Placement):
            policy_of(thing.policy)
            order = thing.holdout_serves if isinstance(thing.holdout_serves, tuple) else ()
            missing = [offer for offer in order if offer not in ahead.offer]
            if missing:
                raise UserError(
                    f"there is no offer {missing[0]}.",
                    code="offer.unknown",
                    where="holdoutServes",
                    cure="Make the offer first.",
                )

    def _append(self, connection: Connection, thing: T, by: str, *, deleted: bool = False) -> T:
        table, kind = catalogue_revision, _KINDS[type(thing)]
        before = getattr(self._now, kind).get(thing.id)
        if before is not None and not deleted and msgspec.structs.replace(thing, revision=before.revision) == before:
            return before
        query = select(func.max(table.c.revision)).where(table.c.kind == kind, table.c.id == thing.id)
        revision = (connection.execute(query).scalar() or 0) + 1
        stored = msgspec.structs.replace(thing, revision=revision)
        values = {
            "kind": kind,
            "id": thing.id,
            "revision": revision,
            "at": self._clock.now(),
            "by": by,
            "deleted": deleted,
        }
        connection.execute(table.insert().values(**values, body=_encode(stored)))
        return stored


_NOT_SAVED: Any = object()


def _succeeded(ticket: Ticket[Any]) -> bool:
    try:
        ticket.result()
    except VitrinaError:
        return False
    return True


def _revisions(connection: Connection, kind: str, wanted: Iterable[tuple[str, int]]) -> list[Any]:
    """These revisions, in the order asked for."""
    table = catalogue_revision
    wanted = [(thing, revision) for thing, revision in wanted]
    found: dict[tuple[str, int], Any] = {}
    for start in range(0, len(wanted), 500):
        ids = [thing for thing, _ in wanted[start : start + 500]]
        query = select(table.c.id, table.c.revision, table.c.body).where(table.c.kind == kind, table.c.id.in_(ids))
        for row in connection.execute(query):
            found[row.id, row.revision] = row.body
    missing = [pair for pair in wanted if pair not in found]
    if missing:
        raise MachineError(
            f"revision {missing[0][1]} of {kind} {missing[0][0]} is not in the store.",
            code="catalogue.lost",
            cure="Restore the store from a backup.",
        )
    return [_DECODE[kind](found[pair]) for pair in wanted]
