"""Every reason against an offer, alone and against the others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.decide.shop import NOON, Person, creative, offer
from vitrina.core.catalogue import Cap, CreativeStatus, Placement, Schedule
from vitrina.core.clock import DAY, HOUR
from vitrina.core.consent import Purpose
from vitrina.core.money import Money
from vitrina.core.predicate import Compare
from vitrina.core.reasons import REFUSALS, number_code
from vitrina.decide.candidates import build
from vitrina.decide.eligibility import list_eligible
from vitrina.decide.packing import pack_bits, pack_refusals, unpack_bits, unpack_refusals
from vitrina.understand.audiences import compile_closure

HOME = Placement(id="home", currency="EUR")


def listed(*offers, creatives=None, placement=HOME):
    shown = [creative(each.id) for each in offers] if creatives is None else creatives
    return build(placement, offers, shown, {}, compile_closure)


def reason(one, person=None, values=None, *, now=NOON, creatives=None, **rest):
    eligible = list_eligible(listed(one, creatives=creatives), person, values or {}, now, **rest)
    assert eligible.count == int(eligible.mask.sum()) == (eligible.codes == b"\0")
    return number_code(eligible.codes[0]), eligible.params.get(0, {})


ADULT = Person("u:1", consents=("personalisation", "ads_personalisation", "email"), age=30)
CHILD = Person("u:2", consents=("ads_personalisation",), age=12)


@pytest.mark.parametrize(
    ("expected", "fields", "person", "rest"),
    [
        ("eligible", {}, None, {}),
        ("offer.off", {"enabled": False}, None, {}),
        ("creative.missing", {}, None, {"creatives": []}),
        ("creative.missing", {}, None, {"creatives": [creative("a", status=CreativeStatus.DRAFT)]}),
        ("creative.missing", {}, None, {"creatives": [creative("a", channel="email")]}),
        ("consent.required", {"requires_consent": (Purpose.EMAIL,)}, None, {}),
        ("consent.required", {"requires_consent": (Purpose.MESSAGING,)}, ADULT, {}),
        ("eligible", {"requires_consent": (Purpose.EMAIL,)}, ADULT, {}),
        ("age.unknown", {"minimum_age": 18}, None, {}),
        ("age.unknown", {"maximum_age": 18}, Person("u:3"), {}),
        ("age.minimum", {"minimum_age": 18}, CHILD, {}),
        ("age.maximum", {"maximum_age": 18}, ADULT, {}),
        ("eligible", {"minimum_age": 30, "maximum_age": 30}, ADULT, {}),
        ("advertising.consent", {"advertising": True}, None, {}),
        ("advertising.minor", {"advertising": True}, CHILD, {}),
        ("advertising.gpc", {"advertising": True}, ADULT, {"gpc": True}),
        ("eligible", {"advertising": True}, ADULT, {}),
        ("audience.outside", {"audience": Compare("orders_90d", ">=", 2)}, None, {}),
        ("audience.outside", {"audience": Compare("orders_90d", ">=", 2)}, None, {"values": {"orders_90d": 1}}),
        ("eligible", {"audience": Compare("orders_90d", ">=", 2)}, None, {"values": {"orders_90d": 2}}),
        (
            "exclude.audience",
            {"exclude": Compare("context.page", "==", "cart")},
            None,
            {"values": {"context.page": "cart"}},
        ),
        ("eligible", {"exclude": Compare("context.page", "==", "cart")}, None, {}),
        ("exclude.request", {}, None, {"exclude": ("a", "never-heard-of")}),
        ("exclude.bought", {"exclude_bought_days": 30}, ADULT, {"bought": {"a": NOON - 29 * DAY}}),
        ("eligible", {"exclude_bought_days": 30}, ADULT, {"bought": {"a": NOON - 30 * DAY}}),
        ("eligible", {"exclude_bought_days": 30}, ADULT, {"bought": None}),
        ("schedule.before", {"schedule": Schedule(start=NOON + 1)}, None, {}),
        ("eligible", {"schedule": Schedule(start=NOON, end=NOON + 1)}, None, {}),
        ("schedule.after", {"schedule": Schedule(end=NOON)}, None, {}),
        ("schedule.day", {"schedule": Schedule(days=(1, 2))}, None, {}),
        ("eligible", {"schedule": Schedule(days=(1,), hours=(12,))}, None, {}),
        ("schedule.hour", {"schedule": Schedule(hours=(11, 13))}, None, {}),
        ("stock.out", {"stock": 3}, None, {"sold_out": frozenset({"a"})}),
        ("eligible", {"stock": 3}, None, {}),
        ("currency.other", {"cost": Money(1, "USD")}, None, {"price": None}),
        ("candidates.outside", {}, None, {"shortlist": ()}),
    ],
)
def test_reason(expected, fields, person, rest):
    rest = dict(rest)
    if rest.pop("price", "") is None:
        from vitrina.core.catalogue import Offer

        one = Offer(id="a", name="A", **fields)
    else:
        one = offer("a", **fields)
    # NOON is a Monday in the schedule cases that need one
    now = (
        NOON + DAY * ((1 - ((NOON // DAY + 3) % 7 + 1)) % 7)
        if expected in ("eligible", "schedule.day") and "days" in str(fields)
        else NOON
    )
    if expected == "schedule.day":
        now += 3 * DAY
    assert reason(one, person, rest.pop("values", None), now=now, **rest)[0] == expected


@pytest.mark.parametrize(("per", "span"), [("day", DAY), ("week", 7 * DAY), ("month", 30 * DAY), ("ever", 4000 * DAY)])
def test_cap_counts_a_rolling_window(per, span):
    one = offer("a", cap=Cap(2, per))
    inside, outside = NOON - span + 1, NOON - span
    assert reason(one, Person("u:1", shown={"a": [inside, NOON - 1]})) == (f"cap.{per}", {"shown": 2, "limit": 2})
    if per != "ever":
        assert reason(one, Person("u:1", shown={"a": [outside, NOON - 1]})) == ("eligible", {})
    assert reason(one, Person("u:1", shown={"b": [NOON - 1] * 5})) == ("eligible", {})
    assert reason(one, None) == ("eligible", {})


def test_withdrawn_consent_is_told_apart():
    person = Person("u:1")
    person.consents = {"email": (False, "consent", NOON - 1, "c", None)}
    assert reason(offer("a", requires_consent=(Purpose.EMAIL,)), person)[0] == "consent.withdrawn"


def test_schedule_turns_at_the_moment_it_says():
    one = offer("a", schedule=Schedule(start=NOON + 5, end=NOON + 2 * HOUR, hours=(13,)))
    candidates = listed(one)
    told = [
        number_code(list_eligible(candidates, None, {}, NOON + at).codes[0])
        for at in (0, 4, 5, HOUR - 1, HOUR, 2 * HOUR - 1, 2 * HOUR, 0, HOUR)
    ]
    assert told == [
        "schedule.before",
        "schedule.before",
        "schedule.hour",
        "schedule.hour",
        "eligible",
        "eligible",
        "schedule.after",
        "schedule.before",
        "eligible",
    ]


def test_first_reason_is_kept_and_neighbours_stay():
    offers = [offer("a", enabled=False, minimum_age=18), offer("b"), offer("c", minimum_age=18, cap=Cap(1, "day"))]
    eligible = list_eligible(listed(*offers), Person("u:1", shown={"c": [NOON - 1]}), {}, NOON, exclude=("a", "c"))
    assert [number_code(code) for code in eligible.codes] == ["offer.off", "eligible", "age.unknown"]
    assert eligible.mask.tolist() == [False, True, False]
    assert eligible.count == 1
    assert eligible.params == {}


def test_only_offers_of_the_placement_are_candidates():
    placements = listed(offer("a", placements=("home",)), offer("b", placements=("cart",)), offer("c"))
    assert placements.offer_ids == ("a", "c")


def test_number_names_the_list():
    one = listed(offer("a"), offer("b"))
    assert one.number == listed(offer("b"), offer("a")).number
    assert one.number != listed(offer("a"), offer("b", revision=2)).number
    assert 0 < one.number < 1 << 63


def test_creative_follows_the_page_language():
    creatives = [creative("a", locale) for locale in ("", "ru", "ru-RU", "de")]
    candidates = listed(offer("a"), creatives=creatives)
    chosen = {locale: candidates.creatives_for(locale)[0].locale for locale in ("ru_RU", "ru-KZ", "de-AT", "fr", "")}
    assert chosen == {"ru_RU": "ru-RU", "ru-KZ": "ru", "de-AT": "de", "fr": "", "": ""}


@given(st.lists(st.integers(0, len(REFUSALS) - 1), min_size=1, max_size=600))
def test_packing_is_undone(codes):
    raw = bytes(codes)
    mask = np.frombuffer(raw, dtype=np.uint8) == 0
    assert unpack_refusals(pack_refusals(raw, raw.count(0)), len(raw)) == raw
    assert unpack_bits(pack_bits(mask), len(raw)).tolist() == mask.tolist()
