"""The learner on a real store: what teaches, what doesn't, and that a restart changes nothing."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.unit.decide.shop import SECRET, Person, Shop
from tests.unit.decide.test_engine import viewer
from vitrina.core.catalogue import OutcomeRule
from vitrina.core.clock import DAY, HOUR, MINUTE, SECOND, SystemClock
from vitrina.core.decision import DecideRequest
from vitrina.core.event import CLICK, ORDER, REFUND, Event
from vitrina.decide.delays import AGES, Delays
from vitrina.decide.engine import Engine
from vitrina.decide.learning import Learner, LearnerSettings
from vitrina.decide.placement_model import YOUNG
from vitrina.understand.features.commerce import FEATURES, NUMBER
from vitrina.understand.features.fold import FeatureSet
from vitrina.understand.features.vector import Vectoriser


class School(Shop):
    """A shop whose banks come from a learner."""

    def __init__(self, folder, *, save_seconds=0.0, threaded=False, clock=None, **placement):
        super().__init__(folder, threaded=threaded)
        if clock is not None:
            self.clock = clock
        self.settings = LearnerSettings(seed=3, draws=16, save_seconds=save_seconds)
        self.learner = self.open()
        self.engine = Engine(
            catalogue=self.catalogue, profiles=self.people, features=FeatureSet(FEATURES, NUMBER),
            vectoriser=Vectoriser(),
            banks=self, log=self.log, stock=self.stock, clock=self.clock, rng=np.random.default_rng(1),
        )  # fmt: skip
        self.stock_up(3, **placement)
        self.messages = 0

    def open(self):
        return Learner(
            self.store, self.log, self.outcomes, self.catalogue, features=Vectoriser().names,
            feature_set=NUMBER * 1000 + Vectoriser().number, settings=self.settings,
        )  # fmt: skip

    def current(self, placement_id):
        return self.learner.current(placement_id)

    def numbered(self, number):
        return self.learner.numbered(number)

    def decide(self, user="1", **fields):
        return self.engine.decide(DecideRequest(placement="home", user_id=user, **fields), SECRET).row

    def event(self, name, row, *, trusted=True, position=0, message=None, at=None, **fields):
        self.messages += 1
        at = self.clock.now() if at is None else at
        offer = self.catalogue.numbered(row.catalogue).offer_ids[row.items[position]]
        event = Event(
            message_id=message or f"m{self.messages}", type="track", name=name, user_id=row.subject.removeprefix("u:"),
            occurred_at=at, received_at=at, available_at=at, trusted=trusted, decision_id=row.id, offer_id=offer,
            **fields,
        )  # fmt: skip
        return self.outcomes.join(event)

    def later(self, micros):
        self.clock.advance(micros)
        return self.learner.step(self.clock.now())

    def mean_margin(self, bank=None):
        x = Vectoriser().empty({}, self.clock.now())
        return (bank or self.learner.current("home")).bind(self.catalogue.candidates("home")).margins(x).mean(axis=0)


@pytest.fixture
def school(tmp_path):
    school = School(tmp_path)
    yield school
    school.store.close()


def test_a_click_gives_a_new_bank_within_a_second(school):
    row = school.decide()
    before = school.learner.current("home")
    school.event(CLICK, row)
    school.later(SECOND)
    after = school.learner.current("home")
    assert after.number > before.number
    k = row.items[0]
    assert school.mean_margin(after)[k] > school.mean_margin(before)[k]
    assert school.decide("2").bank == after.number


def test_a_no_is_booked_in_thirds_at_the_ages_of_the_delays(school):
    school.decide()
    booked, start = [0.0], school.clock.now()
    for age in school.learner.ages()["click"]:
        school.learner.step(start + age - 1)
        assert school.learner.weights("home").get("click", 0.0) == pytest.approx(booked[-1])
        school.learner.step(start + age)
        booked.append(school.learner.weights("home")["click"])
    np.testing.assert_allclose(booked, [0, 1 / 3, 2 / 3, 1])
    school.later(DAY)
    assert school.learner.weights("home") == {"click": pytest.approx(1), "buy": 0}


class Ledger(Learner):
    """A learner that notes what it books against each decision, and when."""

    def __init__(self, *args, **fields):
        super().__init__(*args, **fields)
        self.booked = {}

    def _teach(self, row, k, head, y, weight):
        assert y == 0.0
        self.booked.setdefault(row.id, []).append((len(self.steps), weight))
        super()._teach(row, k, head, y, weight)

    steps = ()


def ledger_of(school):
    """The school's learner, exchanged for one that keeps a ledger."""
    school.learner = Ledger(
        school.store, school.log, school.outcomes, school.catalogue, features=Vectoriser().names,
        feature_set=NUMBER * 1000 + Vectoriser().number, settings=school.settings,
    )  # fmt: skip
    return school.learner


ONE_HEAD = {"outcomes": (OutcomeRule(event=ORDER, window=7 * DAY),)}


@pytest.mark.parametrize(("kind", "quick"), [("click", False), ("sale", False), ("sale", True)])
def test_a_no_weighs_one_however_the_placement_grows_up_meanwhile(tmp_path, kind, quick):
    """Sixty decisions, of which the 30th is the last one of the placement's youth, and some are booked in part by then.

    Sales that come within seconds are a case of their own: a "no" would be due before its decision is counted.
    """
    school = School(tmp_path, **(ONE_HEAD if kind == "sale" else {}))
    ledger = ledger_of(school)
    if quick:
        for _ in range(10_000):
            ledger._delays["sale"].add(SECOND)
    school.decide("first")
    school.later(100 * DAY)
    ledger._models["home"].visits = YOUNG - 30
    ages, made, parts = ledger.ages()[kind], [], set()
    assert (ages[2] < ledger.ages()["click"][0]) == quick
    for number in range(60):
        made.append(school.decide(str(number)).id)
        school.later(SECOND if quick else ages[2] // 10)
        if not parts and ledger._models["home"].visits > YOUNG:
            parts = {len(ledger.booked.get(decision, ())) for decision in made[:30]}
    school.later(100 * DAY)
    assert parts == {3} if quick else parts >= {1, 2, 3}
    weights = [[weight for _, weight in ledger.booked[decision]] for decision in made]
    assert [sum(each) for each in weights] == pytest.approx([1.0] * 60)
    assert [len(each) for each in weights] == [3] * 30 + [1] * 30
    assert ledger._models["home"].visits == YOUNG + 30
    school.store.close()


def test_of_a_grown_up_placement_the_age_follows_from_the_id_and_each_is_as_frequent(tmp_path):
    """600 decisions: a share of a third varies by √(⅓·⅔/600) = .019; four of those. Read again, each is as before."""
    school = School(tmp_path, save_seconds=1e9)
    ledger = ledger_of(school)
    school.decide("first")
    school.later(DAY)
    ledger._models["home"].visits = YOUNG
    ledger._models["home"].young_until = 1
    ledger.save(school.clock.now())
    made, start = [school.decide(str(number)).id for number in range(600)], school.clock.now()
    found = []
    for _ in range(2):
        learner = ledger_of(school)  # as it was saved above
        for age in learner.ages()["click"]:
            learner.steps = (*learner.steps, age)
            learner.step(start + age)
        assert all(len(learner.booked[decision]) == 1 for decision in made)
        found.append([learner.booked[decision][0] for decision in made])
    assert found[0] == found[1]
    assert {weight for _, weight in found[0]} == {1.0}
    shares = np.bincount([stage for stage, _ in found[0]], minlength=4)[1:] / 600
    np.testing.assert_allclose(shares, 1 / 3, atol=4 * 0.0193)


def test_a_late_yes_ends_the_booking(school):
    row = school.decide()
    school.learner.step(school.clock.now() + school.learner.ages()["click"][0])
    school.clock.advance(HOUR)
    school.event(CLICK, row)
    school.later(SECOND)
    assert school.learner.weights("home")["click"] == pytest.approx(1 / 3 + 1)


def test_a_sale_teaches_both_heads_once_however_often_it_is_sent(school):
    row = school.decide()
    for message in ("a", "a", "b"):
        school.event(CLICK, row, message=message)
    school.clock.advance(MINUTE)
    for message, order in (("o1", "7"), ("o1", "7"), ("o2", "7"), ("o3", "8")):
        school.event(ORDER, row, message=message, order_id=order, value=300)
    school.later(DAY)
    assert school.learner.weights("home") == {"click": 1, "buy": 1}


def test_a_sale_without_a_click_counts_as_clicked(school):
    school.event(ORDER, school.decide(), order_id="1", value=300)
    school.later(DAY)
    assert school.learner.weights("home") == {"click": 1, "buy": 1}


def test_an_untrusted_sale_moves_nothing(tmp_path):
    hashes = []
    for forged in (False, True):
        (tmp_path / str(forged)).mkdir()
        school = School(tmp_path / str(forged))
        row = school.decide()
        school.event(CLICK, row, trusted=False)
        school.clock.advance(MINUTE)
        if forged:
            assert school.event(ORDER, row, trusted=False, order_id="1", value=99_999) is not None
        school.later(DAY)
        hashes.append((school.learner.weights("home"), school.mean_margin().tolist()))
        school.store.close()
    assert hashes[0] == hashes[1]


def test_a_robots_click_is_neither_yes_nor_no(school):
    school.event(CLICK, school.decide(), quarantined=True)
    school.later(DAY)
    assert school.learner.weights("home") == {"click": 0, "buy": 0}


def test_refunds_lower_the_margin_of_their_offer_alone(school):
    row = school.decide()
    school.event(ORDER, row, order_id="1", value=300)
    school.later(SECOND)
    before = school.learner.losses("home")
    school.event(REFUND, row, order_id="1", value=300)
    school.later(2 * SECOND)
    after, offer = school.learner.losses("home"), school.catalogue.candidates("home").offer_ids[row.items[0]]
    assert before == {"": 0.05, offer: pytest.approx(1 / 21)}
    assert after == {"": 0.05, offer: pytest.approx(2 / 21)}
    assert school.learner.current("home").loss(offer) == after[offer]


def test_previews_and_replays_teach_nothing(school):
    school.decide(preview=True)
    school.engine.decide(DecideRequest(placement="home", user_id="2"), SECRET, replayed=True)
    school.later(DAY)
    assert school.learner.weights("home") == {}


def test_what_a_holdout_person_saw_teaches_and_the_ghost_does_not(tmp_path):
    school = School(tmp_path, holdout=1.0)
    row = school.decide()
    assert row.holdout
    assert row.ghost
    school.later(DAY)
    assert school.learner.weights("home")["click"] == pytest.approx(1)
    assert len(school.learner._models["home"].heads["click"].offers) == 1
    school.store.close()


def test_without_clicks_there_is_one_head(tmp_path):
    school = School(tmp_path, outcomes=(OutcomeRule(event=ORDER, window=7 * DAY),))
    row, other = school.decide(), school.decide("2")
    school.event(ORDER, row, order_id="1", value=300)
    for _ in range(3):
        school.later(10 * DAY)
    assert school.learner.weights("home") == {"buy": pytest.approx(2)}
    assert school.learner.current("home").heads == 1
    assert other.bank == 1
    school.store.close()


def live(school, rng, steps, after_each):
    """A random life: decisions, clicks, sales, refunds, late and repeated ones, and a step after each round."""
    rows = []
    for step in range(steps):
        for n in range(int(rng.integers(1, 8))):
            rows.append(school.decide(f"{step}-{n}"))
        for _ in range(4):
            row = rows[int(rng.integers(len(rows)))]
            draw = rng.random()
            if draw < 0.6:
                school.event(CLICK, row)
            elif draw < 0.9:
                school.event(ORDER, row, order_id=row.id, value=300, trusted=bool(rng.random() < 0.8))
            else:
                school.event(REFUND, row, order_id=row.id, value=100)
        school.later(int(rng.integers(SECOND, 4 * HOUR)))
        after_each(school)


def test_a_restart_resumes_exactly(tmp_path):
    """Same events, same steps: one learner all along, one closed and opened after every step, one killed every time."""

    def nothing(school):
        pass

    def reopen(school):
        school.learner.stop(school.clock.now())
        school.learner = school.open()

    def kill(school):
        school.learner = school.open()

    states = []
    for number, (after, save_seconds) in enumerate([(nothing, 1e9), (reopen, 1e9), (kill, 0.0)]):
        (tmp_path / str(number)).mkdir()
        school = School(tmp_path / str(number), save_seconds=save_seconds)
        live(school, np.random.default_rng(8), 12, after)
        states.append((school.learner.state_hash(), school.learner.current("home").pack()))
        school.store.close()
    assert states[0] == states[1] == states[2]


def test_what_was_not_saved_is_read_again(tmp_path):
    school = School(tmp_path, save_seconds=0.0)
    live(school, np.random.default_rng(9), 3, lambda school: None)
    school.settings = LearnerSettings(seed=3, draws=16, save_seconds=1e9)
    lost = school.learner = school.open()
    row = school.decide()
    school.event(CLICK, row)
    school.later(HOUR)
    again = school.open()
    assert again.state_hash() != lost.state_hash()
    again.step(school.clock.now())
    assert again.weights("home") == pytest.approx(lost.weights("home"))
    school.store.close()


def test_banks_are_kept_by_number(school):
    row = school.decide()
    first = school.learner.current("home").pack()
    for _ in range(3):
        school.event(CLICK, school.decide())
        school.later(2 * SECOND)
    assert school.learner.numbered(row.bank).pack() == first
    assert school.learner.numbered(999) is None
    assert school.learner.forget_banks(school.clock.now()) >= 1
    assert school.open().numbered(row.bank) is None
    assert school.open().current("home").number == school.learner.current("home").number


def test_the_journal_may_forget_what_was_read(school):
    school.event(CLICK, school.decide())
    school.later(10 * DAY)
    assert school.outcomes_journal.offset("learner") == 1
    assert school.outcomes_journal.delete(1) == 1


def test_a_person_that_was_erased_no_longer_teaches(school):
    school.people.by_user["1"] = Person("u:1", consents=("personalisation",))
    school.decide("1")
    school.log.forget({"u:1"})
    school.store.write(lambda connection: school.journal.delete_subjects(connection, ["u:1"]))
    school.later(DAY)
    assert school.learner.weights("home") == {}


@pytest.fixture
def pupils(tmp_path):
    """A school of one offer whose person 1 permits personalisation, and whose learner asks `school.permitted`."""
    school = School(tmp_path)
    school.permitted = set()
    school.learner = Learner(
        school.store, school.log, school.outcomes, school.catalogue, features=Vectoriser().names,
        feature_set=NUMBER * 1000 + Vectoriser().number, settings=school.settings,
        personal=Vectoriser().personal, may_train=school.permitted.__contains__,
    )  # fmt: skip
    school.people.by_user["1"] = Person("u:1", consents=("personalisation",), state=viewer())
    yield school
    school.store.close()


def personal_weights(school, head):
    """What was learned of personal entries, by all offers and by single ones."""
    model, personal = school.learner._models["home"].heads[head], list(Vectoriser().personal)
    own = [place for place, entry in enumerate(model.layout.subset) if entry in personal]
    shared = model.mean.reshape(len(Vectoriser().names), -1)[personal]
    return np.concatenate([shared.ravel(), model.offer_mean[:, own].ravel()])


def test_of_somebody_who_does_not_permit_it_only_what_the_page_knew_is_learned(pupils):
    row = pupils.decide("1", context={"device": "mobile"})
    assert row.personalised
    pupils.event(CLICK, row)
    pupils.event(ORDER, row, order_id="1", value=300)
    pupils.decide("1")
    pupils.later(DAY)
    assert pupils.learner.weights("home") == {"click": pytest.approx(2), "buy": 1}
    assert not personal_weights(pupils, "click").any() and not personal_weights(pupils, "buy").any()
    assert pupils.learner._models["home"].heads["click"].mean.any()
    assert (pupils.learner.personalised, pupils.learner.unpermitted) == (5, 5)
    pupils.learner.save(pupils.clock.now())
    assert "5 of 5 examples" in pupils.open().permission_said()


def test_permission_is_asked_when_it_is_learned(pupils):
    """A "no" is booked in thirds: the person allows it after the first of them, and takes it back after the second."""
    pupils.decide("1")
    start, seen = pupils.clock.now(), []
    for age, answer in zip(
        pupils.learner.ages()["click"],
        (pupils.permitted.discard, pupils.permitted.add, pupils.permitted.discard),
        strict=True,
    ):
        answer("u:1")
        pupils.learner.step(start + age)
        seen.append((pupils.learner.unpermitted, personal_weights(pupils, "click").copy()))
    assert [unpermitted for unpermitted, _ in seen] == [1, 1, 2]
    assert not seen[0][1].any() and seen[1][1].any()


def test_nobody_is_asked_about_what_the_page_alone_decided(pupils):
    pupils.event(CLICK, pupils.decide("2"))
    pupils.later(DAY)
    assert pupils.learner.weights("home")["click"] == 1
    assert (pupils.learner.personalised, pupils.learner.unpermitted) == (0, 0)


def test_in_its_own_thread_a_bank_comes_within_seconds(tmp_path):
    """Real time and a loaded machine: 10 seconds for what takes one."""
    school = School(tmp_path, threaded=True, clock=SystemClock())
    school.learner.start(school.clock)
    row = school.decide()
    school.event(CLICK, row)
    school.decide("2")
    until = time.monotonic() + 10
    while school.learner.current("home").number == row.bank and time.monotonic() < until:
        time.sleep(0.05)
    school.learner.stop(school.clock.now())
    assert school.learner.current("home").number > row.bank
    assert school.learner.failure == ""
    assert school.learner.state_hash() == school.open().state_hash()
    school.store.close()


def test_delays_start_from_a_guess_and_end_at_the_measured_ones():
    """10,000 exponential delays of mean 2 h: each age within 5 % of the true quantile (bins are 13 % wide)."""
    delays = Delays(30 * SECOND)
    expected = [-np.log(1 - q) for q in AGES]
    np.testing.assert_allclose(delays.ages(), np.array(expected) * 30 * SECOND, rtol=0.05)
    for delay in np.random.default_rng(4).exponential(2 * HOUR, 10_000):
        delays.add(int(delay))
    np.testing.assert_allclose(delays.ages(), np.array(expected) * 2 * HOUR, rtol=0.05)
    again = Delays(30 * SECOND)
    again.restore(delays.counts)
    assert again.ages() == delays.ages()


def test_a_delay_may_seem_negative():
    delays = Delays(HOUR)
    delays.add(-5)
    assert delays.counts[0] == 1
