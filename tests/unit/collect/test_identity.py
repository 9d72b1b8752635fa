"""The identity graph: the same people for any order and repetition, known users never joined, links can be undone."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrina.collect.graph import Graph
from vitrina.collect.identifiers import is_junk, normal_email, normal_phone
from vitrina.collect.identity import (
    CALL,
    EMAIL,
    EXTERNAL,
    PHONE,
    Limits,
    Link,
    Status,
    links,
    met_at,
    order_pair,
    partition,
)
from vitrina.core.event import Event

Evidence = tuple[str, str, bool, int, int, str]

NAMES = (
    [f"u:{i}" for i in range(4)]
    + [f"a:{i}" for i in range(6)]
    + ["e:x@y.zz", "e:z@y.zz", "e:w@y.zz", "p:+7495", "x:crm:1"]
)


@st.composite
def evidence(draw: st.DrawFn) -> Evidence:
    one, other = draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=2, unique=True))
    low, high = order_pair(one, other)
    return (
        low,
        high,
        draw(st.booleans()),
        draw(st.integers(0, 3)),
        draw(st.integers(0, 5)),
        draw(st.sampled_from("abc")),
    )


def fresh(limits: Limits) -> Graph:
    return Graph(limits, lambda states: states[0])


def feed(graph: Graph, given: Sequence[Evidence]) -> Graph:
    for low, high, public, kind, at, message_id in given:
        graph.link(low, high, (public, kind, at, message_id), "s")
    return graph


def people(graph: Graph) -> set[frozenset[str]]:
    return {frozenset(cluster.groups[name].members) for name, cluster in graph.clusters.items()}


def statuses(graph: Graph) -> dict[tuple[str, str], str]:
    return {pair: link.status for cluster in graph.clusters.values() for pair, link in cluster.links.items()}


def reference(given: Sequence[Evidence], limits: Limits) -> tuple[set[frozenset[str]], dict[tuple[str, str], str]]:
    strongest: dict[tuple[str, str], Link] = {}
    for low, high, public, kind, at, message_id in given:
        link = Link(low=low, high=high, public=public, kind=kind, at=at, message_id=message_id)
        known = strongest.get((low, high))
        if known is None or link.strength < known.strength:
            strongest[low, high] = link
    groups = partition([], strongest.values(), limits)
    return {frozenset(g.members) for g in groups.values()}, {pair: link.status for pair, link in strongest.items()}


@settings(max_examples=150, deadline=None)
@given(st.lists(evidence(), max_size=25), st.randoms(use_true_random=False), st.sampled_from([Limits(), Limits(2, 1)]))
def test_people_depend_on_the_set_of_links_alone(given: list[Evidence], rng: random.Random, limits: Limits) -> None:
    expected = reference(given, limits)
    shuffled = [*given, *rng.choices(given, k=5)] if given else []
    rng.shuffle(shuffled)
    for order in (given, shuffled):
        graph = feed(fresh(limits), order)
        assert (people(graph), statuses(graph)) == expected


@settings(max_examples=150, deadline=None)
@given(st.lists(evidence(), max_size=25))
def test_two_known_users_are_never_joined_and_limits_hold(given: list[Evidence]) -> None:
    for members in people(feed(fresh(Limits(3, 1)), given)):
        assert sum(member.startswith("u:") for member in members) <= 1
        assert sum(member.startswith("a:") for member in members) <= 3
        assert sum(member.startswith("e:") for member in members) <= 1


@settings(max_examples=150, deadline=None)
@given(st.lists(evidence(), max_size=25))
def test_what_a_page_states_joins_leaves_only_where_one_call_named_both(given: list[Evidence]) -> None:
    """Take the public e-mails, phones and external ids away: the same leaves are one person."""
    stated = [e for e in given if not e[2] or e[3] == CALL]
    assert leaves_of(feed(fresh(Limits()), given)) == leaves_of(feed(fresh(Limits()), stated))


def leaves_of(graph: Graph) -> set[frozenset[str]]:
    """The people by their leaves, less those of a single leaf, which may be named by nobody else."""
    found = {frozenset(name for name in members if name[0] in "ua") for members in people(graph)}
    return {leaves for leaves in found if len(leaves) > 1}


@pytest.mark.parametrize("kind", [EXTERNAL, EMAIL, PHONE])
def test_an_address_that_a_page_states_stays_with_whom_it_was_proven_for(kind: int) -> None:
    graph = fresh(Limits())
    graph.link("e:anna@b.cc", "u:anna", (False, kind, 9, "m9"), "shop")
    graph.link("a:mallory", "e:anna@b.cc", (True, kind, 1, "m1"), "web")
    graph.link("e:anna@b.cc", "u:mallory", (True, kind, 1, "m2"), "web")
    assert people(graph) == {
        frozenset({"e:anna@b.cc", "u:anna"}),
        frozenset({"a:mallory"}),
        frozenset({"u:mallory"}),
    }
    assert statuses(graph)["a:mallory", "e:anna@b.cc"] == Status.UNPROVEN
    assert statuses(graph)["e:anna@b.cc", "u:mallory"] == Status.CONTESTED
    graph.link("a:mallory", "e:anna@b.cc", (False, kind, 20, "m20"), "shop")
    assert graph.clusters["u:anna"].groups["a:mallory"].user == "u:anna", "a server may say so"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(1, 9)), max_size=20))
def test_when_an_identifier_came_to_be_the_users(given: list[tuple[str, str, int]]) -> None:
    """The earliest moment at which, of the links made until then alone, it hangs together with a userId."""
    graph = fresh(Limits())
    for low, high, at in given:
        if low != high:
            graph.link(*order_pair(low, high), (False, CALL, at, "m"), "s")
    joined = [
        (link.low, link.high, link.at)
        for cluster in graph.clusters.values()
        for link in cluster.links.values()
        if link.status == Status.JOINED
    ]
    expected: dict[str, int] = {}
    for until in range(1, 10):
        then = [
            Link(low=low, high=high, public=False, kind=CALL, at=0, message_id="")
            for low, high, at in joined
            if at <= until
        ]
        for name, group in partition([], then, Limits()).items():
            if group.user is not None and name != group.user:
                expected.setdefault(name, until)
    assert met_at(joined) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(evidence(), min_size=1, max_size=20), st.data())
def test_undoing_a_link_gives_the_people_without_it_and_restoring_brings_them_back(
    given: list[Evidence], data: st.DataObject
) -> None:
    graph = feed(fresh(Limits()), given)
    before = people(graph), statuses(graph)
    low, high = data.draw(st.sampled_from(sorted(statuses(graph))))
    assert graph.suppress(low, high, True) is not None
    without = [e for e in given if (e[0], e[1]) != (low, high)]
    left, _ = reference(without, Limits())
    alone = {frozenset({name}) for name in (low, high) if not any(name in members for members in left)}
    assert people(graph) == left | alone
    assert statuses(graph)[low, high] == Status.SUPPRESSED
    feed(graph, given)  # what comes again doesn't undo the undoing
    assert people(graph) == left | alone
    graph.suppress(low, high, False)
    assert (people(graph), statuses(graph)) == before


@settings(max_examples=100, deadline=None)
@given(st.lists(evidence(), max_size=25), st.sets(st.sampled_from(NAMES), max_size=3))
def test_forgetting_leaves_the_people_that_there_would_have_been(given: list[Evidence], gone: set[str]) -> None:
    graph = feed(fresh(Limits()), given)
    known = set(graph.clusters)
    graph.forget(gone)
    rest = [e for e in given if e[0] not in gone and e[1] not in gone]
    left, _ = reference(rest, Limits())
    alone = {frozenset({name}) for name in known - gone if not any(name in members for members in left)}
    assert people(graph) == left | alone


@settings(max_examples=60, deadline=None)
@given(st.permutations([(f"u:{i}", f"m{i}") for i in range(6)]))
def test_an_identifier_of_too_many_users_is_a_shared_device_in_any_order(order: list[tuple[str, str]]) -> None:
    graph = fresh(Limits(users=4))
    graph.link("a:own", "u:0", (False, CALL, 0, "x"), "s")
    for user, message_id in order:
        graph.leaf(user, 0)
        graph.link("a:kiosk", user, (False, CALL, 1, message_id), "s")
    assert graph.devices == {"a:kiosk"}
    assert people(graph) == {
        frozenset({"a:own", "u:0"}),
        frozenset({"a:kiosk"}),
        *(frozenset({f"u:{i}"}) for i in range(1, 6)),
    }
    assert all(len(cluster.groups) <= 2 for cluster in graph.clusters.values())


def test_a_user_with_endless_anonymous_ids_stays_bounded() -> None:
    graph = fresh(Limits(anonymous=10, links=20))
    for i in range(200):
        graph.link(f"a:{i:03}", "u:1", (True, CALL, i, str(i)), "s")
    cluster = graph.clusters["u:1"]
    assert len(cluster.links) == 20
    assert len(cluster.groups["u:1"].members) == 11
    graph.link("a:zzz", "u:1", (False, CALL, 500, "trusted"), "s")
    assert "a:zzz" in graph.clusters["u:1"].groups["u:1"].members


def test_trusted_evidence_goes_before_public_and_earlier_before_later() -> None:
    graph = fresh(Limits())
    graph.link("a:x", "u:mallory", (True, CALL, 1, "m1"), "web")
    assert graph.clusters["a:x"].groups["a:x"].user == "u:mallory"
    changes = graph.link("a:x", "u:anna", (False, CALL, 2, "m2"), "shop")
    assert graph.clusters["a:x"].groups["a:x"].user == "u:anna"
    assert {(c.link.high, c.before, c.link.status) for c in changes} == {
        ("u:anna", "", Status.JOINED),
        ("u:mallory", Status.JOINED, Status.CONTESTED),
    }


def event(**fields: object) -> Event:
    base = {"message_id": "m", "type": "identify", "occurred_at": 1, "received_at": 1, "available_at": 1}
    return msgspec.convert({**base, **fields}, Event)


def test_links_of_events() -> None:
    assert links(event(type="track", user_id="1", anonymous_id="x")) == [("a:x", "u:1", CALL)]
    assert links(event(type="track", user_id="1")) == []
    assert links(event(user_id="1", traits={"email": " A@B.cc ", "phone": "+7 495 123-45-67"})) == [
        ("e:a@b.cc", "u:1", EMAIL),
        ("p:+74951234567", "u:1", PHONE),
    ]
    assert links(event(type="alias", user_id="1", properties={"previousId": "x"})) == [("a:x", "u:1", CALL)]
    external = {"externalIds": [{"type": "crm", "id": 7}, {"type": "crm", "id": "null"}, "x", {"id": "1"}]}
    assert links(event(type="track", anonymous_id="x", context=external)) == [("a:x", "x:crm:7", EXTERNAL)]


@pytest.mark.parametrize("address", ["test@shop.ru", "NoReply@shop.ru", "anna", "anna@localhost", "a b@c.de", ""])
def test_addresses_that_name_nobody(address: str) -> None:
    assert normal_email(address) is None
    assert links(event(user_id="1", traits={"email": address})) == []


def test_phones_and_placeholders() -> None:
    assert normal_phone("8 495 123-45-67") is None
    assert normal_phone("+0000000000") is None
    assert normal_phone("+7 000 000 00 00") is None
    assert is_junk("-") and is_junk("none") and not is_junk("007")
