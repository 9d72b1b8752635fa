"""What is left of offers with counted stock. Orders take from it in the fold; a decision looks at it in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from sqlalchemy import Connection, func, select, text

from vitrina.core.clock import Micros
from vitrina.core.event import ORDER, Event
from vitrina.core.ids import hash16
from vitrina.decide.tables import stock_move
from vitrina.storage.owed import Owed
from vitrina.storage.store import Store

__all__ = ["Stock"]

_INSERT = text(
    "insert into stock_move (id, offer_id, units, at) values (:id, :offer_id, :units, :at) on conflict do nothing"
)


class Stock:
    """Pieces left by offer: what the catalogue said last, less what was sold since.

    Attributes:
        sold_out: offer ids with nothing left.
        owed: what was taken and is queued; the fold's offset waits for it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._left: dict[str, int] = {}
        self._lock = threading.Lock()
        self.sold_out: frozenset[str] = frozenset()
        self.owed = Owed()

    def left(self, offer_id: str) -> int | None:
        """Pieces left, never below 0; None when the offer's stock isn't counted."""
        left = self._left.get(offer_id)
        return None if left is None else max(left, 0)

    def state(self, counts: Iterable[tuple[str, int | None, Micros]]) -> None:
        """Take over what the catalogue says: (offer id, stock or None for not counted, when it was said)."""
        counts = list(counts)
        with self._store.read() as connection:
            sold = {offer: self._sold(connection, offer, at) for offer, stock, at in counts if stock is not None}
        with self._lock:
            for offer, stock, _ in counts:
                if stock is None:
                    self._left.pop(offer, None)
                else:
                    self._left[offer] = stock - sold[offer]
            self._look()

    def fold(self, event: Event) -> None:
        """Take what a live, trusted order sold; the same order takes once, however often it is folded."""
        if event.name != ORDER or not event.trusted or event.backfilled or not self._left:
            return
        units: dict[str, int] = {}
        for line in event.products:
            if line.kind == "sale" and line.product_id in self._left and line.quantity > 0:
                units[line.product_id] = units.get(line.product_id, 0) + line.quantity
        if not event.products:
            single = event.offer_id or event.product_id
            if single in self._left:
                units[single] = 1
        for offer, count in units.items():
            take = self._take(offer, count, event.order_id or event.message_id, event.received_at)
            self.owed.queue(lambda take=take: self._store.writer.call(take))

    def _take(self, offer_id: str, units: int, order: str, at: Micros) -> Callable[[Connection], bool]:
        values = {"id": hash16(f"{offer_id}\n{order}", b"stock"), "offer_id": offer_id, "units": units, "at": at}

        def take(connection: Connection) -> bool:
            if connection.execute(_INSERT, values).rowcount != 1:
                return False
            with self._lock:
                if offer_id in self._left:
                    self._left[offer_id] -= units
                    self._look()
            return True

        return take

    def _look(self) -> None:
        self.sold_out = frozenset(offer for offer, left in self._left.items() if left <= 0)

    def _sold(self, connection: Connection, offer_id: str, since: Micros) -> int:
        query = select(func.coalesce(func.sum(stock_move.c.units), 0))
        return connection.execute(query.where(stock_move.c.offer_id == offer_id, stock_move.c.at >= since)).scalar_one()
