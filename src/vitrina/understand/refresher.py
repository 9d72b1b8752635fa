"""Keeps the recommender fresh, in its own thread, where the catalogue is too large to score every offer.

Popularity is counted anew every hour and the item-item models are fitted again every week, both from the lake. A fresh
`NextOrder` is made each time and handed over whole, so that no decision waits and none reads a half-renewed one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from vitrina.core.clock import DAY, HOUR, MINUTE, Clock
from vitrina.storage.engine import Engine
from vitrina.understand.next_order import NextOrder
from vitrina.understand.order_history import Orders, read_orders
from vitrina.understand.purchase_memory import PurchaseMemory
from vitrina.understand.recommend import RecommenderModel

if TYPE_CHECKING:
    from vitrina.understand.recommend_fit import Interactions

__all__ = ["Refresher", "allowed"]

log = logging.getLogger(__name__)

REFRESH = HOUR
REFIT = 7 * DAY
KEEP_PRIOR = 5 * MINUTE
_LOOK_SECONDS = 10.0


class Refresher:
    """Renews a recommender while it is wanted.

    Args:
        engine: opens a reader of the lake of its own; closed after each renewal.
        wanted: whether the catalogue is so large that decisions need a recommender.
        take: receives each fresh recommender, or None once it is no longer wanted.
        may_train: whether this userId's orders may train models.
        memory: reads purchases from a profile.
        clock: of the workspace.

    Attributes:
        fault: why the last renewal failed, or None.
    """

    def __init__(
        self,
        engine: Callable[[], Engine],
        *,
        wanted: Callable[[], bool],
        take: Callable[[NextOrder | None], None],
        may_train: Callable[[str], bool],
        memory: PurchaseMemory,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._wanted = wanted
        self._take = take
        self._may_train = may_train
        self._memory = memory
        self._clock = clock
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._refreshed: int | None = None
        self._fitted: tuple[RecommenderModel, tuple[str, ...]] | None = None
        self.fault: str | None = None

    def start(self) -> None:
        """Begin to look whether a recommender is wanted."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="vitrina-recommender", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Finish the renewal in hand and stop."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def look(self) -> bool:
        """Renew the recommender if it is wanted and due, in the caller's thread; gives whether it did."""
        if not self._wanted():
            if self._refreshed is not None:
                self._refreshed = None
                self._take(None)
            return False
        if self._refreshed is not None and self._clock.now() - self._refreshed < REFRESH:
            return False
        self.refresh()
        return True

    def refresh(self) -> None:
        """Make a fresh recommender from the lake and hand it over."""
        now, begun = self._clock.now(), time.monotonic()
        with closing(self._engine()) as engine:
            orders = read_orders(engine)
        fresh = NextOrder(memory=self._memory, keep_prior=KEEP_PRIOR)
        fresh.number(orders.products)
        fresh.set_popularity(orders.product, orders.available, now)
        fresh.use(self._model(orders, now, fresh))
        self._refreshed = now
        self._take(fresh)
        seconds = time.monotonic() - begun
        log.info("the recommender knows %d orders of %d products; %.1f s", len(orders.edges) - 1, len(fresh), seconds)

    def _model(self, orders: Orders, now: int, fresh: NextOrder) -> RecommenderModel:
        """The models in use while they are young and their product numbers still hold, else new ones."""
        if self._fitted is not None:
            model, products = self._fitted
            if now - model.as_of < REFIT and orders.products[: len(products)] == products:
                return model
        from vitrina.understand.recommend_fit import fit

        model = fit(allowed(orders, self._may_train), now, fresh.settings)
        self._fitted = (model, orders.products)
        return model

    def _run(self) -> None:
        while True:
            try:
                self.look()
                self.fault = None
            except Exception as error:
                self.fault = f"{type(error).__name__}: {error}"
                log.exception("the recommender could not be renewed; the last one stays, and it is tried again")
            if self._stop.wait(_LOOK_SECONDS):
                return


def allowed(orders: Orders, may_train: Callable[[str], bool]) -> Interactions:
    """The orders of people whose data may train models."""
    from vitrina.understand.recommend_fit import Interactions

    every = orders.interactions()
    rows = np.array([may_train(name) for name in orders.people], bool)[every.person]
    return Interactions(*(getattr(every, name)[rows] for name in Interactions.__struct_fields__))
