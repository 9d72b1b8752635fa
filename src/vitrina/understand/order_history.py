"""Orders of known customers as arrays: what the recommender is fitted on, and what a replay asks about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitrina.storage.engine import Engine

if TYPE_CHECKING:
    from vitrina.understand.recommend_fit import Interactions

__all__ = ["Orders", "instants", "read_orders"]

_ORDERS = """
with lines as (
    select user_id, coalesce(order_id, message_id) as document, occurred_at, available_at, seq, unnest(products) as line
    from events where name = 'Order Completed' and trusted and not quarantined and user_id is not null
), kept as (
    select document, min_by(user_id, seq) as user_id, min_by(occurred_at, seq) as occurred_at,
        min_by(available_at, seq) as available_at, min(seq) as seq
    from lines group by document
), sold as (
    select distinct k.document, k.user_id, k.occurred_at, k.available_at, k.seq, l.line.product_id as product
    from kept k join lines l on l.document = k.document and l.seq = k.seq
    where l.line.kind = 'sale' and l.line.product_id <> ''
), first as (
    select product, min(available_at) as known_at from sold group by product
)
select dense_rank() over (order by s.occurred_at, s.seq) - 1 as "order", s.user_id,
    dense_rank() over (order by f.known_at, s.product) - 1 as product, s.product as name, s.occurred_at, s.available_at
from sold s join first f on f.product = s.product
"""


class Orders(msgspec.Struct, frozen=True):
    """Orders of known customers, a row for each different product sold, sorted by order and product.

    Attributes:
        order: numbers from 0 in order of time, int64[rows].
        person, product: numbers from 0 into `people` and `products`, int64[rows]. Products are numbered in the order in
            which an order first made them known.
        at, available: when the order was placed and when it could first be used, microseconds UTC, int64[rows].
    """

    order: NDArray[np.int64]
    person: NDArray[np.int64]
    product: NDArray[np.int64]
    at: NDArray[np.int64]
    available: NDArray[np.int64]
    people: tuple[str, ...]
    products: tuple[str, ...]

    @property
    def edges(self) -> NDArray[np.int64]:
        """Where each order's rows begin, and the number of rows at the end; int64[orders + 1]."""
        return np.concatenate([np.flatnonzero(np.diff(self.order, prepend=-1)), [len(self.order)]])

    def interactions(self) -> Interactions:
        """What the recommender is fitted on and evaluated with; an order's earliest row is when it was placed."""
        from vitrina.understand.recommend_fit import Interactions

        first = self.edges[:-1]
        return Interactions(
            person=np.concatenate([self.person, self.person[first]]),
            product=np.concatenate([self.product, self.product[first]]),
            order=np.concatenate([self.order, self.order[first]]),
            at=np.concatenate([self.available, self.at[first]]),
        )


def read_orders(engine: Engine) -> Orders:
    """Trusted orders of people with a userId that sold something; an order id counts once."""
    engine.table("events")
    rows = engine.sql(_ORDERS).order_by(["order", "product"]).to_pyarrow()
    names = rows.column("user_id").to_pylist()
    people = {name: number for number, name in enumerate(dict.fromkeys(names))}
    product = _whole(rows, "product")
    called = dict(zip(product.tolist(), rows.column("name").to_pylist(), strict=True))
    return Orders(
        order=_whole(rows, "order"),
        person=np.array([people[name] for name in names], np.int64),
        product=product,
        at=instants(rows.column("occurred_at")),
        available=instants(rows.column("available_at")),
        people=tuple(people),
        products=tuple(called[number] for number in range(len(called))),
    )


def _whole(rows: Any, name: str) -> NDArray[np.int64]:
    return np.asarray(rows.column(name).to_numpy(), np.int64)


def instants(column: Any) -> NDArray[np.int64]:
    """Microseconds UTC of a column of timestamps."""
    import pyarrow as pa

    return np.asarray(column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy(), np.int64)
