"""One decision: what is answered, what is logged, and that the two agree."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from tests.unit.decide.shop import NOON, SECRET, WRITE, Draws, Person, Shop, creative, offer
from vitrina.core.assignment import in_holdout
from vitrina.core.catalogue import Cap, Placement, PolicySettings
from vitrina.core.clock import DAY
from vitrina.core.decision import DecideRequest
from vitrina.core.errors import ConflictError, NotFoundError, PermissionRefusedError, UserError, VitrinaError
from vitrina.core.event import VIEW, Event
from vitrina.core.predicate import Compare
from vitrina.decide.explain import Explainer
from vitrina.understand.features.commerce import FEATURES, NUMBER
from vitrina.understand.features.fold import FeatureSet
from vitrina.understand.features.vector import Vectoriser


def ask(shop, placement="home", caller=SECRET, user="1", **fields):
    return shop.engine.decide(DecideRequest(placement=placement, user_id=user, **fields), caller)


def explainer(shop):
    return Explainer(shop.log, shop.outcomes, shop.catalogue, shop.banks, Vectoriser().names, lambda record: None)


def viewer(views=5):
    state = {}
    for i in range(views):
        at = NOON - i * DAY
        FeatureSet(FEATURES, NUMBER).fold(
            state,
            Event(
                message_id=f"v{i}",
                type="track",
                name=VIEW,
                user_id="1",
                occurred_at=at,
                received_at=at,
                available_at=at,
                product_id=f"p{i}",
            ),
        )
    return state


def test_answer_says_what_the_log_says(shop):
    shop.stock_up(4, slots=2)
    shop.people.by_user["1"] = Person("u:1", consents=("personalisation",), first="u:1", state=viewer())
    decided = ask(shop, context={"locale": "ru", "device": "mobile", "deep": {"no": 1}})
    row, told = decided.row, decided.answer
    assert shop.log.find(told.decision_id) == row
    assert [item.offer_id for item in told.items] == [f"o{k:02}" for k in row.items]
    assert [item.position for item in told.items] == [1, 2]
    assert [item.probability for item in told.items] == list(row.probabilities)
    assert told.items[0].content == {"title": told.items[0].offer_id}
    assert told.personalised
    assert told.basis == {"purpose": "personalisation", "lawfulBasis": "consent", "record": "c_personalisation"}
    assert told.expires_at == NOON + 300 * 1_000_000
    assert row.context == {"locale": "ru", "device": "mobile"}
    assert np.frombuffer(row.features, dtype="<f4")[1] == 1.0
    assert shop.people.touched == [("u:1", NOON, "u:1", tuple(item.offer_id for item in told.items))]


def test_row_is_on_disk_and_small(shop):
    shop.catalogue.put_all(
        [offer(f"offer-{i:03}", cap=Cap(1, "day"), minimum_age=i % 3 * 18 or None) for i in range(100)]
    )
    shop.catalogue.put_all([creative(f"offer-{i:03}") for i in range(100)])
    shop.catalogue.put(Placement(id="home", slots=20, holdout=0.0))
    shop.people.by_user["1"] = Person(
        "u:1",
        consents=("personalisation",),
        shown={f"offer-{i:03}": [NOON - 1] for i in range(0, 60, 2)},
        state=viewer(),
    )
    decided = ask(shop, context={f"key{i}": "x" * 100 for i in range(30)})
    assert decided.ticket.result() == [1]
    [stored] = shop.journal.read()
    assert msgspec.msgpack.decode(stored.body, type=type(decided.row)) == decided.row
    plain = ask(shop, slots=1).row
    assert len(msgspec.msgpack.encode(plain)) <= 2048
    assert len(stored.body) <= 5000


def test_unknown_person_is_decided_from_context_alone(shop):
    shop.stock_up()
    decided = ask(shop, user=None, anonymous_id="x")
    assert not decided.answer.personalised
    assert decided.answer.basis == {"purpose": "personalisation", "refused": "profile.unknown", "record": None}
    assert decided.answer.items[0].reasons[0].code == "shown.context"
    assert decided.row.subject == decided.row.profile_id == decided.row.assignment_key == "a:x"
    assert np.frombuffer(decided.row.features, dtype="<f4")[1] == 0.0


def test_without_consent_no_personal_data_are_read(shop):
    shop.stock_up()

    class Closed(Person):
        def personal(self, grant):
            raise AssertionError("personal data were read")

    shop.people.by_user["1"] = Closed("u:1")
    assert ask(shop).row.basis == "consent.none"
    shop.people.by_user["1"] = Closed("u:1", consents=("email",))
    assert not ask(shop).row.personalised


def test_personal_rules_need_a_grant(shop):
    shop.stock_up(0)
    shop.catalogue.put(offer("vip", audience=Compare("views_7d", ">=", 3)))
    shop.catalogue.put(offer("town", audience=Compare("trait.city", "==", "Riga")))
    shop.catalogue.put(offer("cart", audience=Compare("context.page", "==", "cart")))
    shop.catalogue.put_all([creative(name) for name in ("vip", "town", "cart")])
    person = {"traits": {"city": "Riga"}, "state": viewer()}
    shop.people.by_user["1"] = Person("u:1", consents=("personalisation",), **person)
    shop.people.by_user["2"] = Person("u:2", **person)
    assert {i.offer_id for i in ask(shop, slots=3, context={"page": "cart"}).answer.items} == {"vip", "town", "cart"}
    assert {i.offer_id for i in ask(shop, slots=3, user="2", context={"page": "cart"}).answer.items} == {"cart"}


def test_nothing_eligible_serves_the_fallback(shop):
    shop.stock_up(2, fallback={"title": "our own"})
    decided = ask(shop, exclude=("o00", "o01"))
    assert decided.answer.fallback
    assert decided.answer.items == ()
    assert decided.answer.content == {"title": "our own"}
    assert decided.row.slate_probability == 1.0


@pytest.mark.parametrize(
    ("error", "code", "fields"),
    [
        (NotFoundError, "placement.unknown", {"placement": "nowhere"}),
        (UserError, "decide.identity", {"user": None}),
        (UserError, "decide.slots", {"slots": 0}),
        (UserError, "decide.slots", {"slots": 21}),
        (UserError, "decide.at", {"at": "2026-01-01T00:00:00Z"}),
        (UserError, "decide.at", {"at": "soon", "preview": True}),
        (UserError, "decide.at", {"at": "2026-01-01T00:00:00", "preview": True}),
        (PermissionRefusedError, "decide.preview", {"preview": True, "caller": WRITE}),
    ],
)
def test_what_cannot_be_asked(shop, error, code, fields):
    shop.stock_up()
    with pytest.raises(error) as caught:
        ask(shop, **fields)
    assert caught.value.code == code
    assert caught.value.where
    assert caught.value.cure


def test_cap_holds_from_the_next_decision_on(shop):
    shop.stock_up(0)
    shop.catalogue.put(offer("a", cap=Cap(2, "day")))
    shop.catalogue.put(creative("a"))
    shop.people.by_user["1"] = Person("u:1")
    shown = []
    for _ in range(3):
        shop.clock.advance(1)
        shown.append(len(ask(shop).answer.items))
    assert shown == [1, 1, 0]


def held_user(shop, fraction, held=True):
    return next(str(i) for i in range(10_000) if in_holdout("home", f"u:{i}", fraction) is held)


@pytest.mark.parametrize("serves", ["uniform", "fallback", ("o03", "o09", "o01")])
def test_holdout_is_served_apart_and_its_ghost_is_logged(shop, serves):
    shop.stock_up(5)
    if isinstance(serves, tuple):
        shop.catalogue.put_all([offer("o09", enabled=False)])
    shop.catalogue.put(Placement(id="home", slots=2, holdout=0.2, holdout_serves=serves))
    decided = ask(shop, user=held_user(shop, 0.2))
    row = decided.row
    assert decided.answer.holdout
    assert row.holdout
    assert len(row.ghost) == len(row.ghost_probabilities) == 2
    if serves == "uniform":
        assert row.policy == "uniform"
        assert row.probabilities == (1 / 5, 1 / 4)
        assert {reason.code for item in decided.answer.items for reason in item.reasons} == {"shown.holdout"}
    elif serves == "fallback":
        assert decided.answer.fallback
        assert row.items == ()
    else:
        assert [item.offer_id for item in decided.answer.items] == ["o03", "o01"]
        assert row.probabilities == (1.0, 1.0)
    treated = ask(shop, user=held_user(shop, 0.2, held=False)).row
    assert not treated.holdout
    assert treated.ghost == ()
    assert explainer(shop).recompute(row).difference <= 1e-9


def test_holdout_is_sticky_on_the_first_identifier(shop):
    shop.stock_up(3, holdout=0.5)
    known = {name: ask(shop, user=None, anonymous_id=name).row for name in map(str, range(20))}
    assert 4 < sum(row.holdout for row in known.values()) < 16
    for name, before in known.items():
        shop.people.by_user[f"a:{name}"] = Person(f"a:{name}", first=f"a:{name}")
        shop.people.by_user[f"u{name}"] = Person(f"u:u{name}")
        for _ in range(2):  # signing in: not joined yet, then remembered on the userId
            signed_in = ask(shop, user=f"u{name}", anonymous_id=name).row
            assert signed_in.assignment_key == f"a:{name}"
            assert signed_in.holdout == before.holdout
        assert ask(shop, user=f"u{name}").row.holdout == before.holdout


def test_a_device_of_somebody_else_does_not_decide_the_holdout(shop):
    shop.stock_up(3, holdout=0.5)
    shop.people.by_user["a:shared"] = Person("u:other", first="a:shared")
    shop.people.by_user["1"] = Person("u:1")
    assert ask(shop, user="1", anonymous_id="shared").row.assignment_key == "u:1"


def test_preview_leaves_no_trace(shop):
    shop.stock_up(3)
    decided = ask(shop, preview=True, at="2027-01-01T00:00:00+01:00", request_id="r")
    assert decided.ticket is None
    assert decided.row.preview
    assert decided.row.at == 1798758000000000
    assert shop.journal.count() == 0
    assert shop.people.touched == []
    assert shop.log.find(decided.answer.decision_id) is None


def test_replay_leaves_no_trace(shop):
    shop.stock_up(3, policy=PolicySettings(kind="ranking"), slots=3)
    decided = shop.engine.decide(DecideRequest(placement="home", user_id="1"), SECRET, replayed=True)
    assert decided.ticket is None
    assert shop.journal.count() == 0
    again = shop.engine.decide(DecideRequest(placement="home", user_id="1"), SECRET, replayed=True)
    assert decided.row.items == again.row.items


def test_request_id_gives_the_same_answer_again(shop, tmp_path):
    shop.stock_up(5, slots=2)
    first = ask(shop, request_id="r1", context={"page": "/"})
    shop.clock.advance(DAY)
    again = ask(shop, request_id="r1", context={"page": "/"})
    assert again.answer == first.answer
    assert again.row is None
    assert shop.journal.count() == 2  # the decision, and what its request id points to
    with pytest.raises(ConflictError) as caught:
        ask(shop, request_id="r1", context={"page": "/cart"})
    assert caught.value.where == "requestId"
    other_caller = ask(shop, request_id="r1", caller=WRITE)
    assert other_caller.answer.decision_id != first.answer.decision_id
    shop.catalogue.put(offer("o00", price=1))
    shop.store.close()
    later = Shop(tmp_path, seed=2)
    assert ask(later, request_id="r1", context={"page": "/"}).answer == first.answer
    with pytest.raises(ConflictError):
        ask(later, request_id="r1")
    later.store.close()


def test_failed_log_opens_the_question_again(tmp_path):
    shop = Shop(tmp_path, threaded=True)
    shop.stock_up(3)

    def rename(old: str, new: str) -> None:
        change = f"alter table decisions_journal rename column {old} to {new}"
        shop.store.write(lambda connection: connection.exec_driver_sql(change))

    rename("lasting", "away")
    failed = ask(shop, request_id="r")
    with pytest.raises(VitrinaError):
        failed.ticket.result(5)
    rename("away", "lasting")
    repeated = ask(shop, request_id="r")
    repeated.ticket.result(5)
    assert repeated.answer.decision_id != failed.answer.decision_id
    shop.store.close()


def test_same_seed_and_events_give_the_same_decisions(tmp_path):
    slates = []
    for name in ("one", "two"):
        shop = Shop(tmp_path / name)
        shop.stock_up(8, slots=3)
        slates.append([ask(shop, user=str(i)).row for i in range(30)])
        shop.store.close()
    assert slates[0] == slates[1]
    assert len({row.items for row in slates[0]}) > 3


@pytest.mark.parametrize("policy", [PolicySettings(), PolicySettings(floor=0.3), PolicySettings(kind="uniform")])
def test_every_chance_is_replayed_from_the_log(tmp_path, policy):
    shop = Shop(tmp_path)
    shop.stock_up(12, slots=4, holdout=0.2, policy=policy)
    for i in range(40):
        shop.people.by_user[str(i)] = Person(
            f"u:{i}", consents=("personalisation",) * (i % 2), state=viewer(i % 7), age=20
        )
        ask(shop, user=str(i), context={"device": "mobile"}, exclude=(f"o{i % 12:02}",))
        if i == 20:
            shop.banks.banks[2], shop.banks.newest = Draws(2), 2
            shop.catalogue.put(offer("o03", price=5, margin=4))
    shop.store.close()
    later = Shop(tmp_path)  # nothing in memory: lists are made again from revisions
    later.banks.banks[2] = Draws(2)
    explain = explainer(later)
    rows = [row for _, row in later.log.read()]
    assert len(rows) == 40
    assert len({row.catalogue for row in rows}) == len({row.policy_version for row in rows if not row.holdout}) == 2
    for row in rows:
        again = explain.recompute(row)
        assert again.difference <= 1e-9
        assert np.prod(row.probabilities) == pytest.approx(row.slate_probability, abs=1e-12)
    later.store.close()


def test_ranking_shows_the_best_first(shop):
    shop.stock_up(0)
    shop.catalogue.put_all([offer(f"o{i}", margin=100 * i) for i in range(4)])
    shop.catalogue.put_all([creative(f"o{i}") for i in range(4)])
    shop.catalogue.put(Placement(id="home", holdout=0.0, slots=4, policy=PolicySettings(kind="ranking")))
    row = ask(shop).row
    margins = (
        shop.banks.current("home")
        .bind(shop.catalogue.candidates("home"))
        .margins(np.frombuffer(row.features, dtype="<f4"))
    )
    assert list(row.items) == np.argsort(-margins.mean(axis=0), kind="stable").tolist()
    assert row.probabilities == (1.0,) * 4


def test_recommender_proposes_in_a_large_catalogue(shop):
    class Recommender:
        def scores(self, personal, candidates, now):
            return np.arange(len(candidates), dtype=np.float32)

    shop.stock_up(30)
    shop.engine._recommender, shop.engine._shortlist_above = Recommender(), 10
    seen = {item.offer_id for i in range(50) for item in ask(shop, slots=3, user=str(i)).answer.items}
    assert seen <= {f"o{i:02}" for i in range(20, 30)}
    row = ask(shop).row
    assert explainer(shop).explain_row(row).refused[0].reason.code == "candidates.outside"


def test_labels_mark_advertising_and_synthetic_media(shop):
    shop.catalogue.put(offer("ad", advertising=True, attributes={"advertiser": "ACME", "erid": "2Vt"}))
    shop.catalogue.put(creative("ad", generated=True))
    shop.catalogue.put(Placement(id="home", holdout=0.0))
    shop.people.by_user["1"] = Person("u:1", consents=("ads_personalisation",), age=40)
    assert ask(shop).answer.labels == {"advertising": True, "advertiser": "ACME", "erid": "2Vt", "synthetic": True}
