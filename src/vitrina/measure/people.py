"""Who was assigned where, and what each person earned from then on: from the decision log and the lake.

A person's arm is that of the first decision made for what was theirs by then: an identifier that a page says is a known
user's counts from that moment, so that nobody moves a user to another arm by claiming an old anonymousId for them.

An order counts once by its order id, as it was stored first, whatever a repeat says of person or time. A refund that
repeats the order id *and* the value of another is taken as its repeat; refunds of one order with different values are
parts of it, and one without a value takes back what is left of the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from vitrina.collect.joined import Joined
from vitrina.core.catalogue import OutcomeRule, Placement
from vitrina.core.clock import Micros
from vitrina.core.event import ORDER, REFUND
from vitrina.measure.read_out import Arms
from vitrina.storage.engine import Engine

__all__ = ["gather"]

_DEFAULT = (OutcomeRule(event=ORDER, window=0), OutcomeRule(event=REFUND, sign=-1, window=0))

_QUERY = """
with asked as (
    select coalesce(i.profile, d.subject) as person, d.holdout, d.placement_revision as revision, d.occurred_at,
        greatest(epoch_us(d.occurred_at), coalesce(i.since, 0)) as counts_at, d.seq
    from decisions d left join read_out_identity i on i.subject = d.subject
    where d.placement = '{placement}' and not d.replayed {until}
), first as (
    select person, occurred_at as since, holdout, revision, mixed
    from (
        select *, row_number() over (partition by person order by counts_at, seq) as place,
            bool_or(holdout) over everything and not bool_and(holdout) over everything as mixed
        from asked window everything as (partition by person)
    ) where place = 1
), counted as (
    select coalesce(i.profile, e.subject) as person, e.name, e.seq, e.occurred_at, e.value, e.products, e.order_id,
        r.sign, r.fixed, coalesce(
            'order ' || e.order_id || case when r.sign < 0 then '/' || coalesce(e.value::varchar, '') else '' end,
            'message ' || e.message_id
        ) as document
    from events e join read_out_rule r on r.name = e.name left join read_out_identity i on i.subject = e.subject
    where e.trusted and not e.quarantined and e.subject <> '' and (e.currency is null or e.currency = '{currency}')
), single as (
    select name, document, any_value(sign) as sign, any_value(fixed) as fixed, min_by(person, seq) as person,
        min_by(occurred_at, seq) as occurred_at, min_by(value, seq) as value, min_by(products, seq) as products,
        min_by(order_id, seq) as order_id
    from counted group by name, document
), valued as (
    select s.person, s.occurred_at, s.order_id, s.sign, coalesce(s.fixed, s.value, (
        select sum(m.margin * abs(line.p.quantity)) from (select unnest(s.products) as p) line
        join read_out_margin m on m.product_id = line.p.product_id)) as value
    from single s
), left_of_order as (
    select order_id, greatest(sum(sign * value), 0) as value from valued where order_id is not null group by order_id
), settled as (
    select v.person, v.occurred_at, v.sign, coalesce(v.value, case when v.sign < 0 then o.value end) as value
    from valued v left join left_of_order o on o.order_id = v.order_id
)
select f.person, f.holdout, f.revision, f.mixed, coalesce(sum(v.sign * v.value), 0)::bigint as value,
    count(v.person) > 0 as buyer, count(v.person) filter (where v.value is null) as unvalued
from first f left join settled v on v.person = f.person and v.occurred_at >= f.since
group by all order by 2, 5, 6
"""


def gather(
    engine: Engine,
    placement: Placement,
    identity: Mapping[str, Joined],
    margins: Mapping[str, int],
    holdouts: Mapping[int, float],
    until: Micros | None = None,
) -> Arms:
    """Everybody who was decided for in a placement, one row a person, in an order that gives the same sums every time.

    Args:
        identity: leaf → whose it is and since when, for leaves that were joined with others.
        margins: offer id → margin in minor units, for orders that state no value: their lines with that product id.
        holdouts: placement revision → holdout share that was meant.
        until: decisions before this instant only; None for all.
    """
    rules = [rule for rule in placement.outcomes if not rule.weak] or list(_DEFAULT)
    text, whole = pa.string(), pa.int64()
    theirs = identity.values()
    columns = {"subject": identity, "profile": [one.person for one in theirs], "since": [one.since for one in theirs]}
    engine.register("read_out_identity", _table(columns, text, text, whole))
    engine.register("read_out_margin", _table({"product_id": margins.keys(), "margin": margins.values()}, text, whole))
    engine.register(
        "read_out_rule",
        pa.table(
            {
                "name": pa.array([rule.event for rule in rules], text),
                "fixed": pa.array([rule.value for rule in rules], whole),
                "sign": pa.array([rule.sign for rule in rules], whole),
            }
        ),
    )
    for name in ("events", "decisions"):
        engine.table(name)
    query = _QUERY.format(
        placement=_quoted(placement.id),
        currency=_quoted(placement.currency),
        until="" if until is None else f"and epoch_us(d.occurred_at) < {int(until)}",
    )
    people = engine.sql(query).to_pyarrow()
    revisions = people["revision"].to_pylist()
    expected = [holdouts.get(revision, placement.holdout) for revision in revisions]
    return Arms(
        holdout=_array(people["holdout"], bool),
        value=_array(people["value"], np.int64),
        buyer=_array(people["buyer"], bool),
        expected_holdout=float(np.mean(expected)) if expected else placement.holdout,
        mixed=int(_array(people["mixed"], bool).sum()),
        unvalued=int(_array(people["unvalued"], np.int64).sum()),
    )


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _table(columns: Mapping[str, Iterable[Any]], *kinds: Any) -> Any:
    """An Arrow table of columns with these Arrow types (for which Arrow ships no stubs)."""
    return pa.table(
        {name: pa.array(list(values), kind) for (name, values), kind in zip(columns.items(), kinds, strict=True)}
    )


def _array(column: Any, kind: Any) -> Any:
    return column.combine_chunks().to_numpy(zero_copy_only=False).astype(kind)
