"""The simulated shop behaves as its truth says."""

from __future__ import annotations

import numpy as np

from vitrina.core.clock import HOUR, MINUTE
from vitrina.gym.market import ADULT, Market


def test_the_same_seed_is_the_same_market():
    one, same, other = Market(3, people=50), Market(3, people=50), Market(4, people=50)
    values = [np.array([m.value(p) for p in m.people]) for m in (one, same, other)]
    np.testing.assert_array_equal(values[0], values[1])
    assert not np.array_equal(values[0], values[2])
    assert one.people == same.people


def test_money_follows_the_stated_chances():
    """40,000 showings of one offer to one person: clicks and margin within four standard errors of the truth."""
    market, rng, n = Market(1, people=30), np.random.default_rng(5), 40_000
    person, offer = market.people[3], "trail"
    earned = np.zeros(n)
    for i in range(n):
        response = market.respond(person, offer, rng)
        if response.order_after is not None and response.refund_after is None:
            earned[i] = market.margin(offer)
    error = earned.std() / np.sqrt(n)
    assert abs(earned.mean() - market.shown_value(person, offer)) < 4 * error


def test_what_follows_comes_in_order():
    market, rng = Market(2, people=200), np.random.default_rng(6)
    answers = [market.respond(p, "trail", rng) for p in market.people for _ in range(20)]
    sold = [a for a in answers if a.order_after is not None]
    assert sold
    assert all(a.click_after is not None and a.order_after >= a.click_after + MINUTE for a in sold)
    assert all(a.refund_after >= a.order_after + HOUR for a in sold if a.refund_after is not None)


def test_wine_is_for_people_known_to_be_adults():
    market = Market(1, people=300)
    for person in market.people:
        value = market.value(person)
        allowed = person.age is not None and person.age >= ADULT
        for k, offer in enumerate(market.offers):
            assert np.isnan(value[k]) == (offer.category == "wines" and not allowed)


def test_tastes_show_in_what_people_look_at():
    """The category looked at most often is the one the person buys best, for most of the people (chance: 1 in 6)."""
    market, rng = Market(1, people=200), np.random.default_rng(7)
    categories = [offer.category for offer in market.offers]
    hits = 0
    for person in market.people:
        seen = [c for _ in range(20) for c in market.looks_at(person, rng)]
        favourite = max(set(seen), key=seen.count)
        click = market._click[person.number]
        hits += favourite == max(categories, key=lambda c: np.mean([click[k] for k in range(12) if categories[k] == c]))
    assert hits > 200 / 2


def test_knowing_everybody_is_worth_a_multiple_of_chance():
    market = Market(1)
    values = np.array([market.value(person) for person in market.people])
    assert np.nanmax(values, axis=1).mean() > 2 * np.nanmean(values, axis=1).mean()
