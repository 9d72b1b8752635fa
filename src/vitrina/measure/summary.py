"""What a workspace holds, counted from the lake and the rows that are on their way there."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from vitrina.core.money import from_minor
from vitrina.storage.engine import Engine

__all__ = ["Summary", "summarise"]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Counts and money of a workspace.

    Attributes:
        invoices: orders, refunds, adjustments and stock moves together, each counted once by its id.
        profiles_known: people with a userId.
        products: product codes of every line and view; `a` and `A` are two.
        net_revenue: of orders less refunds and adjustments, decimal text in `currency`; other currencies are in
            `other_currencies`.
        dead_letters: events that were refused and wait to be corrected or discarded.
        quarantined: events that the tracking plan set aside: among `events`, and in no other figure.
        violations: stored events that contradict the tracking plan, those set aside included.
    """

    events: int
    orders: int
    refunds: int
    adjustments: int
    stock_moves: int
    invoices: int
    profiles_known: int
    products: int
    net_revenue: str
    currency: str
    decisions: int
    outcomes: int
    dead_letters: int
    quarantined: int
    violations: int
    other_currencies: dict[str, str] = {}


_COUNTS = """
select (select count(*) from events) as events, (select count(*) from events where violation <> '') as violations,
    (select count(*) from events where violation <> '' and quarantined) as quarantined,
    count(distinct order_id) filter (where name = 'Order Completed') as orders,
    count(distinct order_id || '/' || message_id) filter (where name = 'Order Refunded') as refunds,
    count(distinct order_id) filter (where name = 'Order Adjusted') as adjustments,
    count(distinct order_id) filter (where name = 'Stock Written Off') as stock_moves,
    count(distinct user_id) as profiles_known
from events where not (quarantined and coalesce(violation, '') <> '')
"""

_PRODUCTS = """
with counted as (select * from events where not (quarantined and coalesce(violation, '') <> ''))
select count(distinct product) as products from (
    select product_id as product from counted where product_id is not null
    union all select line.p.product_id from (select unnest(products) as p from counted) line)
"""

_REVENUE = """
select coalesce(currency, '') as currency,
    sum(case when name = 'Order Refunded' then -abs(revenue) else revenue end)::bigint as revenue
from (
    select name, currency, min_by(revenue, seq) as revenue from events
    where trusted and not quarantined and revenue is not null
        and name in ('Order Completed', 'Order Refunded', 'Order Adjusted')
    group by name, currency,
        coalesce(order_id || case when name = 'Order Completed' then '' else message_id end, message_id))
group by 1
"""


def summarise(engine: Engine, currency: str, dead_letters: int) -> Summary:
    """Count what there is.

    Args:
        currency: that of the workspace; where all the money is in one other currency, that one is shown instead.
        dead_letters: how many events were refused.
    """
    for name in ("events", "decisions", "outcomes"):
        engine.table(name)
    counts = _row(engine, _COUNTS)
    money: dict[str, Decimal] = {}
    for row in engine.sql(_REVENUE).to_pyarrow().to_pylist():
        code = row["currency"] or currency
        money[code] = money.get(code, Decimal(0)) + from_minor(row["revenue"], code)
    if currency not in money and len(money) == 1:
        currency = next(iter(money))
    invoices = sum(counts[name] for name in ("orders", "refunds", "adjustments", "stock_moves"))
    return Summary(
        **counts,
        invoices=invoices,
        products=_row(engine, _PRODUCTS)["products"],
        net_revenue=str(money.pop(currency, from_minor(0, currency))),
        currency=currency,
        decisions=_row(engine, "select count(*) as n from decisions where not replayed")["n"],
        outcomes=_row(engine, "select count(*) as n from outcomes")["n"],
        dead_letters=dead_letters,
        other_currencies={code: str(amount) for code, amount in sorted(money.items())},
    )


def _row(engine: Engine, query: str) -> dict[str, Any]:
    return engine.sql(query).to_pyarrow().to_pylist()[0]
