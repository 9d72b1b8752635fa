"""The book of profiles over a real store: fold, save, replay, merge, undo, forget."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select

from tests.stores import store_url
from vitrina.collect.identity import Limits
from vitrina.collect.ingest import event_row
from vitrina.collect.leaf import Leaf, decode_leaf, encode_leaf, fold_facts, note_shown, take_consent
from vitrina.collect.profile_store import erase_links
from vitrina.collect.profiles import FoldStep, ProfileBook
from vitrina.collect.tables import deferred_event, identity_edge, identity_merge, profile_leaf
from vitrina.core.clock import DAY, SECOND, SimulatedClock
from vitrina.core.consent import ConsentRecord, Purpose
from vitrina.core.errors import NotFoundError, PermissionRefusedError
from vitrina.core.event import Event
from vitrina.core.grant import Grant
from vitrina.storage.journal import CommittedRow, Journal
from vitrina.storage.store import Store

NOW = 1_700_000_000 * SECOND


def make(message_id: str, at: int = 0, **fields: Any) -> Event:
    moment = NOW + at
    base = {"type": "track", "occurred_at": moment, "received_at": moment, "available_at": moment, "trusted": True}
    return msgspec.convert({"message_id": message_id, **base, **fields}, Event)


def identify(message_id: str, at: int = 0, **fields: Any) -> Event:
    return make(message_id, at, type="identify", **fields)


def count_events(leaf: Leaf, event: Event) -> None:
    leaf.features["n"] = leaf.features.get("n", 0) + 1


def add_up(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"n": sum(state.get("n", 0) for state in states)}


class World:
    """A store, its journal of events and a book; `again` opens them as a new process would."""

    def __init__(self, path: Path, threaded: bool = False, **options: Any) -> None:
        self.path, self.options, self.threaded = path, options, threaded
        self.clock = SimulatedClock(NOW + 10 * DAY)
        self.open()

    def open(self) -> None:
        self.store = Store.open(store_url(self.path), threaded=self.threaded)
        self.store.migrate()
        self.journal = self.store.attach(Journal("events", dedupe=True, keep=timedelta(days=7)))
        self.consents: list[ConsentRecord] = []
        self.book = ProfileBook(
            self.store,
            self.journal,
            self.options.pop("steps", [count_events]),
            merge=add_up,
            clock=self.clock,
            write_consents=lambda _, records: self.consents.extend(r for r in records if r not in self.consents),
            **self.options,
        )
        self.book.recover()

    def again(self) -> None:
        self.store.close()
        self.open()

    def send(self, *events: Event) -> None:
        self.store.writer.append(self.journal, [event_row(event) for event in events]).result()

    def scalar(self, query: Any) -> Any:
        with self.store.read() as connection:
            return connection.execute(query).scalar()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "store.db")


def grant(profile_id: str) -> Grant:
    return Grant(purpose=Purpose.PERSONALISATION, profile_id=profile_id, record_id="c", basis="consent", at=NOW)


# the book


def test_an_event_makes_a_profile_and_survives_a_restart(world: World) -> None:
    world.send(make("1", anonymous_id="x"), make("2", 5, anonymous_id="x"))
    assert world.book.backlog == 2
    assert world.book.step() == 2
    assert world.book.backlog == 0
    world.again()
    profile = world.book.find(None, "x")
    assert profile is not None
    assert (profile.profile_id, profile.user_id, profile.seen_at, profile.last_at) == ("a:x", None, NOW, NOW + 5)
    assert profile.personal(grant("a:x")).features == {"n": 2}
    assert world.book.find("x", None) is None


def test_features_and_traits_need_a_grant_for_this_profile(world: World) -> None:
    world.send(identify("1", user_id="1", traits={"city": "Киров"}))
    world.book.step()
    profile = world.book.find("1", None)
    assert profile is not None
    assert dict(profile.personal(grant("u:1")).traits) == {"city": "Киров"}
    with pytest.raises(PermissionRefusedError):
        profile.personal(grant("u:2"))


def test_a_repeat_is_folded_once(world: World) -> None:
    world.send(make("1", anonymous_id="x"))
    world.send(make("1", anonymous_id="x"))
    rows = world.journal.read()
    world.book.step()
    assert world.book.fold(rows) == 0
    profile = world.book.of("a:x")
    assert profile is not None
    assert profile.leaves[0].features == {"n": 1}


def test_what_was_not_saved_is_replayed(world: World) -> None:
    world.send(make("1", user_id="1", anonymous_id="x"))
    world.book.step()
    world.send(make("2", user_id="1"), make("3", anonymous_id="x"))
    world.book.fold(world.journal.read())  # folded in memory, then the process dies
    world.again()
    profile = world.book.find("1", None)
    assert profile is not None
    assert profile.identifiers == ("a:x", "u:1")
    assert profile.personal(grant("u:1")).features == {"n": 3}


def test_a_failed_save_loses_nothing(world: World) -> None:
    def fail(_: Connection) -> None:
        raise RuntimeError("disk")

    world.send(make("1", anonymous_id="x", user_id="1", context={"consent": {"categoryPreferences": {"email": True}}}))
    world.book.in_save.append(fail)
    with pytest.raises(RuntimeError):
        world.book.step()
    assert not world.book.healthy
    world.book.in_save.clear()
    world.book.save()
    assert world.book.healthy
    assert len(world.consents) == 1
    assert world.scalar(select(func.count()).select_from(profile_leaf)) == 1
    assert world.scalar(select(identity_edge.c.status)) == "joined"
    assert world.scalar(select(func.count()).select_from(identity_merge)) == 1


def test_a_step_that_fails_is_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    def fragile(_: Leaf, event: Event) -> None:
        if event.name == "bad":
            raise ValueError("bad")

    steps: list[FoldStep] = [fragile, count_events]
    world = World(tmp_path / "s.db", steps=steps)
    world.send(make("1", anonymous_id="x", name="bad"), make("2", anonymous_id="x"))
    world.book.step()
    assert world.book.faults == 1
    profile = world.book.of("a:x")
    assert profile is not None
    assert profile.leaves[0].features == {"n": 1}


def test_an_event_that_may_not_be_used_yet_is_kept_back_through_restarts(world: World) -> None:
    later = world.clock.now() + DAY
    world.send(make("1", anonymous_id="x", available_at=later), make("2", anonymous_id="x"))
    world.book.step()
    world.again()
    profile = world.book.of("a:x")
    assert profile is not None
    assert profile.leaves[0].features == {"n": 1}
    assert world.scalar(select(func.count()).select_from(deferred_event)) == 1
    world.clock.set(later)
    world.book.step()
    assert profile.leaves[0].features == {"n": 2}
    world.again()
    again = world.book.of("a:x")
    assert again is not None
    assert again.leaves[0].features == {"n": 2}
    assert world.scalar(select(func.count()).select_from(deferred_event)) == 0


def test_memory_is_bounded_and_what_was_let_go_comes_back(tmp_path: Path) -> None:
    world = World(tmp_path / "s.db", capacity=50)
    for start in range(0, 400, 40):
        world.send(*[make(str(i), user_id=str(i), anonymous_id=f"x{i}") for i in range(start, start + 40)])
        world.book.step()
        assert len(world.book._graph.clusters) <= 50  # pyright: ignore[reportPrivateUsage]
    world.send(make("more", anonymous_id="x3"))
    world.book.step()
    profile = world.book.find("3", None)
    assert profile is not None
    assert profile.personal(grant("u:3")).features == {"n": 2}
    assert world.scalar(select(func.count()).select_from(profile_leaf)) == 401


def test_the_folder_thread_makes_events_visible_and_saves(tmp_path: Path) -> None:
    world = World(tmp_path / "s.db", threaded=True)
    world.book.start()
    seen = 0.0
    for i in range(50):
        world.send(*[make(f"{i}-{k}", anonymous_id=f"x{k}") for k in range(20)])
        began = time.monotonic()
        while world.book.backlog and time.monotonic() < began + 5:
            time.sleep(0.001)
        seen = max(seen, time.monotonic() - began)
    assert seen < 5
    world.book.stop()
    assert world.book.saved == 1000
    profile = world.book.of("a:x7")
    assert profile is not None
    assert profile.leaves[0].features == {"n": 50}
    world.store.close()


def test_readers_and_the_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    world = World(tmp_path / "s.db", threaded=True)
    world.book.start()
    faults: list[BaseException] = []
    done = threading.Event()

    def ask() -> None:
        rng = random.Random(1)
        try:
            while not done.is_set():
                user = str(rng.randrange(30))
                with world.book.reading():
                    profile = world.book.find(user, None)
                    if profile is not None:
                        _ = (profile.consents, profile.assignment_key, profile.shown, profile.age(NOW))
                        profile.personal(grant(profile.profile_id))
                world.book.touch_decision(f"u:{user}", world.clock.now(), f"u:{user}", ["o"])
        except BaseException as error:
            faults.append(error)

    reader = threading.Thread(target=ask)
    reader.start()
    for i in range(40):
        world.send(
            *[identify(f"{i}-{k}", user_id=str(k), anonymous_id=f"{i % 7}-{k}", traits={str(i): k}) for k in range(30)]
        )
    world.book.stop()
    done.set()
    reader.join()
    assert faults == []
    profile = world.book.find("3", None)
    assert profile is not None
    assert profile.personal(grant("u:3")).features == {"n": 40}
    world.store.close()


# people


def test_the_step_from_anonymous_to_known_keeps_the_first_identifier(world: World) -> None:
    world.send(make("1", anonymous_id="x"))
    world.book.step()
    world.book.touch_decision("a:x", world.clock.now(), "a:x", ["o1"])
    world.send(identify("2", 9, user_id="1", anonymous_id="x"))
    world.book.step()
    world.again()
    profile = world.book.find("1", "x")
    assert profile is not None
    assert profile.assignment_key == "a:x"
    assert profile.profile_id == "u:1"
    assert dict(profile.shown) == {"o1": [world.clock.now()]}
    world.book.touch_decision("u:1", world.clock.now() + 1, "u:1", [])
    assert profile.assignment_key == "a:x"


def test_no_public_link_moves_a_known_user_to_another_arm(world: World) -> None:
    """Anna is decided for as a visitor and signs in; then older decisions are claimed for her, with an older date."""
    book, now = world.book, world.clock.now()
    book.touch_decision("a:mallory", now, "a:mallory", [])
    book.touch_decision("a:laptop", now + 1, "a:laptop", [])
    world.clock.advance(SECOND)
    world.send(make("1", 50, user_id="anna", anonymous_id="laptop", trusted=False))
    book.step()
    world.clock.advance(SECOND)
    world.send(make("2", 1, user_id="anna", anonymous_id="mallory", trusted=False))
    book.step()
    for _ in range(2):
        profile = world.book.find("anna", None)
        assert profile is not None
        assert profile.identifiers == ("a:laptop", "a:mallory", "u:anna"), "a visitor still becomes known"
        assert profile.assignment_key == "a:laptop"
        world.again()
    assert profile.decided_at == now
    world.book.suppress("u:anna", "a:laptop", by="clerk")
    left = world.book.find("anna", None)
    assert left is not None and left.assignment_key == "a:mallory", "undone, it is as if it had never been"


def test_a_user_decided_for_keeps_the_arm_whatever_a_page_says_and_a_server_may_correct_it(world: World) -> None:
    now = world.clock.now()
    world.book.touch_decision("a:before", now, "a:before", [])
    world.book.touch_decision("u:1", now + 1, "u:1", [])
    world.clock.advance(SECOND)
    for trusted, key in ((False, "u:1"), (True, "a:before")):
        world.send(msgspec.structs.replace(make(f"m{trusted}", user_id="1", anonymous_id="before"), trusted=trusted))
        world.book.step()
        profile = world.book.find(None, "before")
        assert profile is not None
        assert (profile.user_id, profile.assignment_key) == ("1", key)


def test_a_proven_call_is_trusted_evidence_and_what_it_states_beside_is_not(world: World) -> None:
    world.send(make("1", 1, user_id="mallory", anonymous_id="x", trusted=False))
    world.send(identify("2", 2, user_id="bob", traits={"email": "bob@b.cc"}, trusted=False))
    proven = identify("3", 9, user_id="anna", anonymous_id="x", traits={"email": "bob@b.cc"}, trusted=False)
    world.send(msgspec.structs.replace(proven, proven=True))
    world.book.step()
    world.again()
    anna, bob = world.book.find("anna", None), world.book.find("bob", None)
    assert anna is not None and bob is not None
    assert (anna.identifiers, bob.identifiers) == (("a:x", "u:anna"), ("e:bob@b.cc", "u:bob"))
    assert [(link.low, link.public, link.status) for link in world.book.links("u:anna")] == [
        ("a:x", False, "joined"),
        ("a:x", True, "contested"),
        ("e:bob@b.cc", True, "contested"),
    ]


def test_before_any_decision_the_identifier_seen_first_is_hashed(world: World) -> None:
    world.send(make("1", 5, user_id="1", anonymous_id="x"), make("2", 1, anonymous_id="x"))
    world.book.step()
    profile = world.book.find("1", None)
    assert profile is not None
    assert profile.assignment_key == "a:x"


def test_an_anonymous_id_of_somebody_else_is_not_answered_with(world: World) -> None:
    world.send(make("1", user_id="1", anonymous_id="shared"))
    world.book.step()
    assert world.book.find("2", "shared") is None
    assert world.book.find(None, "shared") is not None


def test_merges_are_logged_with_their_evidence_and_can_be_undone(world: World) -> None:
    world.send(
        make("m1", 1, user_id="1", anonymous_id="shared"),
        make("m2", 2, user_id="2", anonymous_id="shared"),
        make("m3", 3, anonymous_id="shared"),
    )
    world.book.step()
    (first, second) = world.book.links("u:1") + world.book.links("u:2")[1:]
    assert (first.high, first.status, first.message_id) == ("u:1", "joined", "m1")
    assert (second.high, second.status, second.message_id) == ("u:2", "contested", "m2")
    world.book.suppress("u:1", "a:shared", by="clerk")
    assert world.book.of("a:shared") is world.book.find("2", None)
    world.again()
    profile = world.book.find("2", None)
    assert profile is not None
    assert profile.identifiers == ("a:shared", "u:2")
    assert profile.personal(grant("u:2")).features == {"n": 2}
    world.book.suppress("a:shared", "u:1", by="clerk", suppressed=False)
    restored = world.book.find("1", None)
    assert restored is not None
    assert restored.identifiers == ("a:shared", "u:1")
    with world.store.read() as connection:
        log = connection.execute(select(identity_merge).order_by(identity_merge.c.number)).all()
    assert [(row.high, row.before, row.status, row.by) for row in log[:2]] == [
        ("u:1", "", "joined", ""),
        ("u:2", "", "contested", ""),
    ]
    assert {(row.high, row.before, row.status, row.by) for row in log[2:4]} == {
        ("u:1", "joined", "suppressed", "clerk"),
        ("u:2", "contested", "joined", "clerk"),
    }
    assert len(log) == 6
    with pytest.raises(NotFoundError):
        world.book.suppress("u:1", "u:2", by="clerk")


def test_a_shared_device_is_remembered(tmp_path: Path) -> None:
    world = World(tmp_path / "s.db", limits=Limits(users=3))
    world.send(*[make(str(i), user_id=str(i), anonymous_id="kiosk") for i in range(6)])
    world.book.step()
    world.again()
    world.send(make("late", user_id="9", anonymous_id="kiosk"))
    world.book.step()
    profile = world.book.of("u:9")
    assert profile is not None
    assert profile.identifiers == ("u:9",)
    assert world.scalar(select(func.count()).select_from(identity_edge)) == 0


def test_forgetting_takes_a_person_out_of_memory_and_the_next_save(world: World) -> None:
    world.send(identify("1", user_id="1", anonymous_id="x", traits={"email": "anna@b.cc"}), make("2", user_id="2"))
    world.book.step()
    world.send(make("3", user_id="1", anonymous_id="y"))
    world.book.fold(world.journal.read())
    profile = world.book.find("1", None)
    assert profile is not None
    names = profile.identifiers
    assert names == ("a:x", "a:y", "e:anna@b.cc", "u:1")

    def erase(connection: Connection) -> None:
        erase_links(connection, names)
        connection.execute(profile_leaf.delete().where(profile_leaf.c.subject.in_(names)))

    world.store.write(erase)
    world.book.forget(names)
    world.book.save()
    assert world.book.find("1", "x") is None
    for table in (identity_edge, identity_merge):
        assert world.scalar(select(func.count()).select_from(table)) == 0
    assert world.scalar(select(profile_leaf.c.subject)) == "u:2"


# leaves


def consent(granted: bool, at: int, message_id: str) -> Event:
    stated = {"categoryPreferences": {"Personalisation": granted, "nonsense": True}, "source": "form"}
    return make(message_id, at, anonymous_id="x", context={"consent": stated})


def leaf_of(events: Sequence[Event]) -> tuple[Leaf, list[ConsentRecord]]:
    leaf = Leaf(key="a:x", seen_at=events[0].occurred_at, last_at=events[0].occurred_at)
    written: list[ConsentRecord] = []
    for event in events:
        written += fold_facts(leaf, event) or []
    return leaf, written


events_strategy: st.SearchStrategy[Event] = st.one_of(
    st.builds(consent, st.booleans(), st.integers(0, 6), st.sampled_from("abcdef")),
    st.builds(
        lambda at, m, t: identify(m, at, anonymous_id="x", traits=t),
        st.integers(0, 6),
        st.sampled_from("abcdef"),
        st.dictionaries(st.sampled_from(["city", "age"]), st.integers() | st.text(max_size=3) | st.none(), max_size=2),
    ),
    st.builds(
        lambda at, m: make(m, at, anonymous_id="x", context={"globalPrivacyControl": True}),
        st.integers(0, 6),
        st.sampled_from("abcdef"),
    ),
    st.builds(
        lambda at, m: make(m, at, anonymous_id="x", name="Unsubscribed"), st.integers(0, 6), st.sampled_from("abc")
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(events_strategy, min_size=1, max_size=12, unique_by=lambda e: e.message_id), st.randoms())
def test_a_leaf_is_the_same_for_any_order_and_repetition(events: list[Event], rng: random.Random) -> None:
    shuffled = [*events, *rng.choices(events, k=3)]
    rng.shuffle(shuffled)
    one, written = leaf_of(events)
    other, rewritten = leaf_of(shuffled)
    assert msgspec.structs.replace(one, proofs={}) == msgspec.structs.replace(other, proofs={})
    assert decode_leaf(encode_leaf(one)) == one
    for leaf, records in ((one, written), (other, rewritten)):
        table: dict[str, ConsentRecord] = {}
        for record in records:  # what a reader of the written records alone would say
            known = table.get(record.purpose)
            if known is None or (record.at, not record.granted, record.id) > (known.at, not known.granted, known.id):
                table[record.purpose] = record
        assert {key: record.granted for key, record in table.items()} == {k: s[0] for k, s in leaf.consents.items()}
        ids = {record.id for record in records}
        assert all(proof in ids for proof, _ in leaf.proofs.values())


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from([None, "1", "2"]), st.sampled_from([None, "x", "y", "z"]), st.integers(0, 5)).filter(
            lambda t: t[0] is not None or t[1] is not None
        ),
        min_size=1,
        max_size=12,
    ),
    st.randoms(),
)
def test_the_whole_book_is_the_same_for_any_order(
    tmp_path_factory: pytest.TempPathFactory, given_: list[tuple[str | None, str | None, int]], rng: random.Random
) -> None:
    events = [
        identify(f"m{i}", at, user_id=u, anonymous_id=a, traits={"k": i, "email": f"{i % 2}@b.cc"} if i % 3 else {})
        for i, (u, a, at) in enumerate(given_)
    ]
    shuffled = list(events)
    rng.shuffle(shuffled)
    views: list[Any] = []
    for order in (events, shuffled):
        world = World(tmp_path_factory.mktemp("book") / "s.db")
        for start in range(0, len(order), 4):
            world.send(*order[start : start + 4])
            world.send(*order[start : start + 2])
            world.book.step()
            if start == 4:
                world.again()
        names = sorted({event.subject for event in events})
        profiles = [world.book.of(name) for name in names]
        views.append(
            [
                (name, p.identifiers, p.profile_id, p.assignment_key, sorted(encode_leaf(leaf) for leaf in p.leaves))
                for name, p in zip(names, profiles, strict=True)
                if p is not None
            ]
        )
        world.store.close()
    assert views[0] == views[1]
    assert len(views[0]) == len({event.subject for event in events})


def test_a_page_view_that_repeats_an_answer_writes_no_record() -> None:
    _, written = leaf_of([consent(True, at, str(at)) for at in range(5)])
    assert [record.granted for record in written] == [True]
    leaf, written = leaf_of([consent(True, 1, "a"), consent(True, 9, "b"), consent(False, 5, "late")])
    assert leaf.consents["personalisation"][0] is True
    assert [(r.granted, r.at - NOW) for r in written] == [(True, 1), (False, 5), (True, 9)]


@pytest.mark.parametrize("ids", ["ab", "ba"])
@pytest.mark.parametrize("answers", [(True, False), (False, True)])
def test_a_no_counts_against_a_yes_of_the_same_moment(ids: str, answers: tuple[bool, bool]) -> None:
    leaf, written = leaf_of([consent(answer, 5, name) for answer, name in zip(answers, ids, strict=True)])
    assert leaf.consents["personalisation"][0] is False
    assert [record.granted for record in written].count(False) >= 1


def test_an_unreadable_consent_is_never_a_yes() -> None:
    for stated in ({"categoryPreferences": {"email": "yes please"}}, {"categoryPreferences": []}, [], "all", None):
        leaf, written = leaf_of([make("1", anonymous_id="x", context={"consent": stated})])
        assert (leaf.consents, written) == ({}, [])


def test_unsubscribing_withdraws_consent_to_mail() -> None:
    granted = make("1", anonymous_id="x", context={"consent": {"categoryPreferences": {"email": True}}})
    leaf, _ = leaf_of([granted, make("2", 1, anonymous_id="x", name="Unsubscribed")])
    assert leaf.consents["email"][0] is False


def test_traits_are_bounded_and_plain() -> None:
    traits: dict[str, Any] = {f"t{i:03}": i for i in range(300)}
    leaf, _ = leaf_of([identify("1", anonymous_id="x", traits=traits)])
    assert sorted(leaf.traits) == [f"t{i:03}" for i in range(200)]
    odd = {"address": {"city": "Киров", "geo": {"lat": 1}}, "big": 1 << 70, "tags": ["a", {"b": 1}], "long": "x" * 5000}
    leaf, _ = leaf_of([identify("1", anonymous_id="x", traits=odd)])
    assert {name: trait[0] for name, trait in leaf.traits.items()} == {
        "address.city": "Киров",
        "big": str(1 << 70),
        "tags": ["a"],
        "long": "x" * 1000,
    }
    decode_leaf(encode_leaf(leaf))


def test_noting_what_was_shown_again_changes_nothing() -> None:
    leaf = Leaf(key="a:x", seen_at=0, last_at=0)
    for at in (5, 3, 5, 3):
        note_shown(leaf, ["o"], at)
    assert leaf.shown == {"o": [3, 5]}
    for at in range(500):
        note_shown(leaf, ["o"], at)
    assert leaf.shown["o"] == list(range(400, 500))


AGES: list[tuple[dict[str, Any], int | None]] = [
    ({}, None),
    ({"age": 30}, 30),
    ({"age": "30"}, None),
    ({"age": True}, None),
    ({"age": -3}, None),
    ({"birthday": "2000-11-15"}, 22),
    ({"birthday": "2000-11-14T00:00:00Z", "age": 99}, 23),
    ({"birthday": "someday", "age": 40}, 40),
    ({"birthday": "2990-01-01"}, None),
]


@pytest.mark.parametrize(("traits", "age"), AGES)
def test_age(world: World, traits: dict[str, Any], age: int | None) -> None:
    world.send(identify("1", user_id="1", traits=traits))
    world.book.step()
    profile = world.book.find("1", None)
    assert profile is not None
    assert profile.age(NOW) == age  # NOW is 2023-11-14
    if traits == {"age": 30}:
        assert profile.age(NOW + 366 * DAY) == 31


def test_gpc_holds_until_advertising_is_allowed_explicitly(world: World) -> None:
    world.send(make("1", 1, user_id="1", context={"globalPrivacyControl": True}))
    world.book.step()
    profile = world.book.find("1", None)
    assert profile is not None
    assert profile.gpc
    record = ConsentRecord(id="c1", subject="u:1", purpose=Purpose.ADS_PERSONALISATION, granted=True, at=NOW + 5)
    world.book.apply_consent(record)
    assert not profile.gpc
    assert profile.consents["ads_personalisation"][3] == "c1"
    world.book.save()
    assert [written.id for written in world.consents] == ["c1"]


def test_consents_of_all_leaves_count_the_latest_first(world: World) -> None:
    def answer(granted: bool) -> dict[str, Any]:
        return {"consent": {"categoryPreferences": {"email": granted}}}

    world.send(
        make("1", 5, anonymous_id="x", context=answer(False)),
        make("2", 2, user_id="1", anonymous_id="x", context=answer(True)),
    )
    world.book.step()
    profile = world.book.find("1", None)
    assert profile is not None
    assert profile.consents["email"][0] is False


def test_consent_of_another_time_by_the_same_id_is_idempotent() -> None:
    leaf = Leaf(key="u:1", seen_at=0, last_at=0)
    record = ConsentRecord(id="c", subject="u:1", purpose=Purpose.EMAIL, granted=True, at=5)
    assert take_consent(leaf, record) == [record]
    assert take_consent(leaf, record) == []


def test_committed_rows_read_back_from_the_store_are_decoded(world: World) -> None:
    event = make("1", anonymous_id="x")
    row = event_row(event)
    assert world.book.fold([CommittedRow(1, row.id16, row.at, row.subject, row.body)]) == 1
