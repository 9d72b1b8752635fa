"""What can be seen of a workspace, as hashes; and what it has to be: a clean fold of the same events."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import func, insert, select

import vitrina
from tests.loop.load import Call, Load, open_shop
from vitrina.collect.leaf import Leaf, decode_leaf
from vitrina.collect.tables import identity_edge, profile_leaf
from vitrina.core.access import Source
from vitrina.core.clock import DAY, Clock, Micros
from vitrina.decide.tables import candidate_list, catalogue_revision, outcome, stock_move
from vitrina.storage.declared import declared_tables
from vitrina.storage.tables import journal_head
from vitrina.workspace import Workspace

__all__ = ["clean_fold", "difference", "rows_wrong", "state_of"]

COLUMNS = [column.name for column in outcome.c]
SERVER = Source("server", "secret", trusted=True)


def state_of(workspace: Workspace, now: Micros) -> dict[str, str]:
    """Hashes of what can be seen: leaves, links, stock, outcomes, decisions, and the sums of the summary.

    Args:
        now: as of when features are worked out; its day counts.
    """
    return {
        "leaves": _hash(_leaves(workspace, now // DAY * DAY)),
        "links": _hash(_rows(workspace, select(*[identity_edge.c[n] for n in ("low", "high", "status")]))),
        "stock": _hash(
            _rows(
                workspace,
                select(stock_move.c.offer_id, func.count(), func.sum(stock_move.c.units)).group_by(
                    stock_move.c.offer_id
                ),
            )
        ),
        "outcomes": _hash(_rows(workspace, select(*[outcome.c[n] for n in COLUMNS if n not in ("id", "position")]))),
        "decisions": _hash(sorted(column(workspace, "decisions", "id"))),
        "summary": _hash(msgspec.to_builtins(workspace.summary())),
    }


def _leaves(workspace: Workspace, day: Micros) -> list[Any]:
    with workspace.store.read() as connection:
        leaves = [decode_leaf(state) for state in connection.execute(select(profile_leaf.c.state)).scalars()]
    return sorted([_leaf(workspace, leaf, day) for leaf in leaves], key=repr)


def _leaf(workspace: Workspace, leaf: Leaf, day: Micros) -> list[Any]:
    features = workspace.features.values(leaf.features, day)
    shown = {offer: times for offer, times in leaf.shown.items() if times}
    return [leaf.key, leaf.traits, leaf.consents, features, shown, leaf.decided_at]


def _rows(workspace: Workspace, query: Any) -> list[Any]:
    with workspace.store.read() as connection:
        return sorted([list(row) for row in connection.execute(query)], key=repr)


def _hash(value: Any) -> str:
    text = json.dumps(msgspec.to_builtins(value, enc_hook=str), sort_keys=True, default=str, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def column(workspace: Workspace, table: str, name: str) -> list[str]:
    return workspace.engine.table(table).select(name).to_pyarrow()[name].to_pylist()


def difference(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """The parts in which two states differ."""
    return [part for part in one if one[part] != other[part]]


def clean_fold(
    workspace: Workspace,
    folder: Path,
    send: Callable[[Workspace], None],
    now: Micros,
    clock: Clock | None = None,
) -> dict[str, str]:
    """The state of a workspace that got the same decisions and, once and undisturbed, the same events.

    Args:
        workspace: whose catalogue and decisions are taken.
        folder: where the clean one is made, and deleted again.
        send: sends the events to it.
        now: as for `state_of`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    open_shop(folder)
    taken = [catalogue_revision, candidate_list, declared_tables()["decisions_journal"]]
    with vitrina.open(folder, threaded=False) as empty:
        for table in taken:
            with workspace.store.read() as connection:
                rows = [dict(row) for row in connection.execute(select(table)).mappings()]
            empty.store.write(lambda c, table=table: c.execute(table.delete()))
            for start in range(0, len(rows), 500):
                part = rows[start : start + 500]
                empty.store.write(lambda c, table=table, part=part: c.execute(insert(table), part))
        head = {"journal": "decisions", "seq": workspace._journals.decisions.last()}  # pyright: ignore[reportPrivateUsage]
        empty.store.write(lambda c: c.execute(journal_head.delete().where(journal_head.c.journal == "decisions")))
        empty.store.write(lambda c: c.execute(insert(journal_head), head))
    with vitrina.open(folder, threaded=False, clock=clock) as clean:
        clean.claim()
        for _, row in clean.decisions.read(0, 1_000_000):
            candidates = clean.catalogue.numbered(row.catalogue)
            assert candidates is not None
            shown = [candidates.offer_ids[k] for k in row.items]
            clean.profiles.touch_decision(row.subject, row.at, row.assignment_key, shown)
        send(clean)
        clean.step()
        state = state_of(clean, now)
    shutil.rmtree(folder)
    return state


def send_calls(calls: Iterable[Call], chance: random.Random) -> Callable[[Workspace], None]:
    """Sends calls in any order, some hundred at a time."""

    def send(workspace: Workspace) -> None:
        given = list(calls)
        chance.shuffle(given)
        for begin in range(0, len(given), 400):
            body = json.dumps({"batch": given[begin : begin + 400]}).encode()
            workspace.receive(body, "batch", SERVER).result()
            workspace.step()

    return send


def rows_wrong(workspace: Workspace, load: Load) -> list[str]:
    """What is lost or there twice of what was answered, store and lake together, in words."""
    events, decisions = column(workspace, "events", "message_id"), column(workspace, "decisions", "id")
    wrong = [f"event {name} is there {n} times" for name, n in twice(events)]
    wrong += [f"decision {name} is there {n} times" for name, n in twice(decisions)]
    wrong += [f"acknowledged event {name} is lost" for name in sorted(set(load.acked) - set(events))[:5]]
    wrong += [f"served decision {name} is lost" for name in sorted(set(load.served.values()) - set(decisions))[:5]]
    wrong += [f"outcome {name} is there {n} times" for name, n in twice(_outcomes(workspace))]
    return wrong


def _outcomes(workspace: Workspace) -> list[str]:
    table = workspace.engine.table("outcomes").select("decision_id", "kind").to_pyarrow().to_pylist()
    return [f"{row['decision_id']} {row['kind']}" for row in table]


def twice(names: Sequence[str]) -> list[tuple[str, int]]:
    return [(name, times) for name, times in Counter(names).items() if times > 1][:5]
