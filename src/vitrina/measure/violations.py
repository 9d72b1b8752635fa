"""How often events contradict the tracking plan: from the events that were stored and the letters that were refused."""

from __future__ import annotations

import re
from collections import Counter

from sqlalchemy import func, select

from vitrina.collect.tables import dead_letter
from vitrina.core.dead_letter import Violation
from vitrina.storage.engine import Engine
from vitrina.storage.store import Store

__all__ = ["count_violations"]

_STORED = """
select name, violation, quarantined, count(*) as n from events where violation <> '' group by all
"""
_PLACE = re.compile(r"^batch\[\d+\]\.")
_INDEX = re.compile(r"\[\d+\]")


def count_violations(engine: Engine, store: Store) -> list[Violation]:
    """Every event and reason with its count, most often first; letters count as long as they are kept."""
    found: Counter[tuple[str, str, str, str]] = Counter()
    engine.table("events")
    for row in engine.sql(_STORED).to_pyarrow().to_pylist():
        code, _, where = row["violation"].partition(" ")
        found[row["name"], code, where, "quarantine" if row["quarantined"] else "observe"] += row["n"]
    table = dead_letter
    query = (
        select(table.c.event, table.c.code, table.c.place, func.count())
        .where(table.c.code.like("plan.%"))
        .group_by(table.c.event, table.c.code, table.c.place)
    )
    with store.read() as connection:
        for event, code, place, count in connection.execute(query):
            found[event, code, _INDEX.sub("[]", _PLACE.sub("", place)), "block"] += count
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [Violation(event=e, code=c, where=w, mode=m, count=n) for (e, c, w, m), n in ranked]
