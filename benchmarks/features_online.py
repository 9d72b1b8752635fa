"""Folding an event, and reading values and vector for a decision: CPU microseconds of each, the best of several rounds.

`python -m benchmarks.features_online` prints one JSON object. Events are those of
a shop over 60 days, in visits of five; four visits a person.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

from vitrina.core.clock import DAY, SECOND
from vitrina.core.event import CLICK, ORDER, VIEW, Event, Product
from vitrina.understand.features import FeatureSet, Vectoriser
from vitrina.understand.features.commerce import FEATURES, NUMBER

START = 20_000 * DAY
VISIT = 5
_MIX = [VIEW] * 12 + ["Product Added"] * 2 + [CLICK] * 2 + ["Promotion Viewed"] * 3 + ["Email Opened", ORDER] + [""] * 4


def measure(events: int = 20_000, people: int = 1_000, rounds: int = 7) -> dict[str, Any]:
    """Fold `events` events of `people` people, then read everybody.

    Returns:
        events a person, fold_us an event, values_us and vector_us a person, state_bytes a person as MessagePack.
    """
    import msgspec

    rng = random.Random(1)
    shop = [pair for number in range(events // VISIT) for pair in _visit(number, rng, people)]
    shop.sort(key=lambda pair: pair[1].occurred_at)
    feature_set, vectoriser, now = FeatureSet(FEATURES, NUMBER), Vectoriser(), START + 60 * DAY
    states: list[dict[str, Any]] = []

    def fold() -> None:
        states[:] = [{} for _ in range(people)]
        for owner, event in shop:
            feature_set.fold(states[owner], event)

    fold_us = _best(fold, events, rounds)
    values_us = _best(lambda: [feature_set.values(state, now) for state in states], people, rounds)
    values = [feature_set.values(state, now) for state in states]
    vector_us = _best(lambda: [vectoriser.vector(one, {"device": "mobile"}, now) for one in values], people, rounds)
    return {
        "events_a_person": events / people,
        "fold_us": fold_us,
        "values_us": values_us,
        "vector_us": vector_us,
        "state_bytes": sum(len(msgspec.msgpack.encode(state)) for state in states) // people,
    }


def _visit(number: int, rng: random.Random, people: int) -> list[tuple[int, Event]]:
    """One person's visit: events a minute or two apart, products of one or two categories."""
    owner, at, tastes = rng.randrange(people), START + rng.randrange(59 * DAY), rng.choices(range(12), k=2)
    visit: list[tuple[int, Event]] = []
    for step in range(VISIT):
        at += rng.randrange(120 * SECOND)
        name = rng.choice(_MIX)
        event = Event(
            message_id=f"{number}-{step}",
            type="track" if name else "page",
            name=name,
            anonymous_id="a",
            occurred_at=at,
            received_at=at,
            available_at=at,
            trusted=name == ORDER,
            product_id=f"p{rng.randrange(500)}",
            category=f"c{rng.choice(tastes)}",
            revenue=1_000 if name == ORDER else None,
            products=(Product("p1", 1, 1, 1), Product("p2", 1, 1, 1)) if name == ORDER else (),
        )
        visit.append((owner, event))
    return visit


def _best(work: Callable[[], object], times: int, rounds: int) -> float:
    spent: list[float] = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return round(min(spent) / times * 1e6, 2)


if __name__ == "__main__":
    print(json.dumps(measure()))
