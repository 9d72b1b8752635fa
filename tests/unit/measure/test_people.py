"""The read-out's SQL against a slow reference in plain Python, on random logs of a real workspace."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import vitrina
from vitrina.collect.joined import Joined
from vitrina.core.catalogue import OutcomeRule, Placement
from vitrina.core.clock import DAY, HOUR, Micros
from vitrina.core.decision import DecisionRow
from vitrina.core.event import ORDER, REFUND, Event, Product
from vitrina.core.ids import new_id
from vitrina.measure.people import gather
from vitrina.workspace import Workspace

START = 1_750_000_000_000_000
PEOPLE = ("u:1", "u:2", "a:1", "a:2")
MARGINS = {"tea": 150, "cup": 40}
SUBSCRIBED = "Subscription Started"

example_number = count()


class Decided(NamedTuple):
    person: str
    hour: int
    holdout: bool
    revision: int
    replayed: bool
    elsewhere: bool


class Happened(NamedTuple):
    person: str
    hour: int
    name: str
    order: int | None
    value: int | None
    lines: tuple[tuple[str, int], ...]
    trusted: bool
    currency: str | None


class Found(NamedTuple):
    holdout: bool
    value: int
    buyer: bool
    mixed: bool
    unvalued: int
    expected: float


decisions = st.lists(
    st.builds(
        Decided,
        st.sampled_from(PEOPLE),
        st.integers(0, 9),
        st.booleans(),
        st.integers(1, 2),
        st.sampled_from([False, False, False, True]),
        st.sampled_from([False, False, False, True]),
    ),
    min_size=3,
    max_size=8,
)
events = st.lists(
    st.builds(
        Happened,
        st.sampled_from(PEOPLE),
        st.integers(0, 9),
        st.sampled_from([ORDER, ORDER, ORDER, REFUND, REFUND, SUBSCRIBED]),
        st.sampled_from([None, 1, 1, 2, 2, 3]),
        st.sampled_from([None, 0, 10, 10, 500]),
        st.lists(st.tuples(st.sampled_from(["tea", "cup", "pot"]), st.integers(1, 3)), max_size=2).map(tuple),
        st.sampled_from([True, True, True, False]),
        st.sampled_from([None, "EUR", "EUR", "EUR", "USD"]),
    ),
    min_size=10,
    max_size=20,
)
hours = st.integers(0, 9)
identities = st.one_of(
    st.just({}),
    st.builds(lambda one: {"a:1": ("u:1", one), "u:1": ("u:1", 0)}, hours),
    st.builds(lambda one, two: {"a:1": ("u:1", one), "a:2": ("u:1", two), "u:1": ("u:1", 0)}, hours, hours),
)
"""Leaf → whose it is, and from which hour on."""
rules = st.sampled_from(
    [
        (),
        (
            OutcomeRule(event=SUBSCRIBED, value=900, window=DAY),
            OutcomeRule(event="Product Viewed", weak=True, window=DAY),
        ),
        (OutcomeRule(event=ORDER, window=DAY), OutcomeRule(event=REFUND, sign=-1, window=DAY)),
    ]
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Generator[Workspace]:
    folder: Path = tmp_path_factory.mktemp("people")
    with vitrina.init(folder / "shop") as opened:
        yield opened


@settings(max_examples=25, deadline=None, phases=[Phase.generate])
@given(decisions, events, identities, rules)
def test_it_finds_what_plain_python_finds(
    workspace: Workspace,
    decided: list[Decided],
    happened: list[Happened],
    identity: dict[str, tuple[str, int]],
    outcomes: tuple[OutcomeRule, ...],
) -> None:
    """Everybody of an example gets a name of their own, so that all examples share one log, drained now and then."""
    number = next(example_number)
    placement = Placement(id=f"o'home {number}", holdout=0.5, outcomes=outcomes)
    own = {person: f"{person}/{number}" for person in PEOPLE}
    write(workspace, number, placement.id, own, decided, happened)
    if number % 20 == 19:
        workspace.drain()
    known = {own[leaf]: Joined(own[first], moment(since)) for leaf, (first, since) in identity.items()}
    arms = gather(workspace.engine, placement, known, MARGINS, {1: 0.25})
    expected = reference(decided, happened, identity, outcomes)
    got = sorted(zip(arms.holdout.tolist(), arms.value.tolist(), arms.buyer.tolist(), strict=True))
    assert got == sorted((one.holdout, one.value, one.buyer) for one in expected)
    assert arms.mixed == sum(one.mixed for one in expected)
    assert arms.unvalued == sum(one.unvalued for one in expected)
    if expected:
        assert arms.expected_holdout == pytest.approx(sum(one.expected for one in expected) / len(expected))


def write(
    workspace: Workspace,
    number: int,
    placement: str,
    own: dict[str, str],
    decided: list[Decided],
    happened: list[Happened],
) -> None:
    rows = [
        DecisionRow(
            id=new_id("d", moment(one.hour), workspace.rng),
            at=moment(one.hour),
            subject=own[one.person],
            profile_id=own[one.person],
            assignment_key=one.person,
            holdout=one.holdout,
            placement=f"{placement} elsewhere" if one.elsewhere else placement,
            placement_revision=one.revision,
            replayed=one.replayed,
        )
        for one in decided
    ]
    for ticket in [workspace.decisions.append(row) for row in rows]:
        ticket.result()
    workspace.receive_events([event(number, place, own, one) for place, one in enumerate(happened)])


def event(number: int, place: int, own: dict[str, str], one: Happened) -> Event:
    user = own[one.person][2:] if one.person.startswith("u:") else None
    lines = tuple(Product(product_id=name, quantity=pieces, unit_price=0, revenue=0) for name, pieces in one.lines)
    return Event(
        message_id=f"{number}/{place}",
        type="track",
        name=one.name,
        user_id=user,
        anonymous_id=None if user else own[one.person][2:],
        occurred_at=moment(one.hour),
        received_at=moment(10),
        available_at=moment(10),
        trusted=one.trusted,
        order_id=None if one.order is None else f"{number}/{one.order}",
        value=one.value,
        currency=one.currency,
        products=lines,
    )


def moment(hour: int) -> Micros:
    return START + hour * HOUR


def reference(
    decided: list[Decided],
    happened: list[Happened],
    identity: dict[str, tuple[str, int]],
    outcomes: tuple[OutcomeRule, ...],
) -> list[Found]:
    """The definition, step by step: first assignment, each document once, refunds taken off, summed from then on.

    A decision for a leaf that became its user's later counts as made when it did.
    """
    whose = {leaf: person for leaf, (person, _) in identity.items()}
    asked: dict[str, list[Decided]] = defaultdict(list)
    for one in decided:
        if not one.replayed and not one.elsewhere:
            asked[whose.get(one.person, one.person)].append(one)
    settled = documents(happened, whose, outcomes)
    found: list[Found] = []
    for person, mine in asked.items():
        first = min(mine, key=lambda one: max(one.hour, identity.get(one.person, ("", 0))[1]))
        counted = [(sign, value) for who, hour, sign, value in settled if who == person and hour >= first.hour]
        found.append(
            Found(
                holdout=first.holdout,
                value=sum(sign * value for sign, value in counted if value is not None),
                buyer=bool(counted),
                mixed=len({one.holdout for one in mine}) == 2,
                unvalued=sum(value is None for _, value in counted),
                expected={1: 0.25}.get(first.revision, 0.5),
            )
        )
    return found


def documents(
    happened: list[Happened], identity: dict[str, str], outcomes: tuple[OutcomeRule, ...]
) -> list[tuple[str, int, int, int | None]]:
    """(person, hour, sign, value) of each order, refund or other outcome, once, in the order of the log."""
    signs = {rule.event: (rule.sign, rule.value) for rule in outcomes if not rule.weak} or {
        ORDER: (1, None),
        REFUND: (-1, None),
    }
    groups: dict[tuple[object, ...], list[Happened]] = {}
    for place, one in enumerate(happened):
        if one.trusted and one.currency in (None, "EUR") and one.name in signs:
            repeat_of = (one.order, one.value if signs[one.name][0] < 0 else 0) if one.order else place
            groups.setdefault((one.name, repeat_of), []).append(one)
    told: list[tuple[Happened, int, int | None]] = []
    for same in groups.values():
        sign, value = signs[same[0].name]
        stated = [one.value for one in same if one.value is not None]
        if value is None:
            value = stated[0] if stated else worth(same[0].lines)
        told.append((same[0], sign, value))
    left: dict[int, int] = defaultdict(int)
    for one, sign, value in told:
        if one.order:
            left[one.order] += sign * (value or 0)
    return [
        (
            identity.get(one.person, one.person),
            one.hour,
            sign,
            max(left[one.order], 0) if value is None and sign < 0 and one.order else value,
        )
        for one, sign, value in told
    ]


def worth(lines: tuple[tuple[str, int], ...]) -> int | None:
    known = [MARGINS[name] * pieces for name, pieces in lines if name in MARGINS]
    return sum(known) if known else None
