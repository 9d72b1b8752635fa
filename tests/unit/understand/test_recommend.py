"""The recommender's states are the same online and in batch, its fit sees no future, its ranking is deterministic."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrina.understand import recommend as r
from vitrina.understand.recommend_fit import Interactions, fit

DAY = 86_400_000_000
SETTINGS = r.RecommenderSettings(ease_ridge=1.0, next_basket_ridge=1.0, neighbours=5)

orders = st.lists(
    st.tuples(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(0, 400 * DAY)), min_size=1, max_size=12
)


def _batch_frequency(history: list[tuple[list[int], int]], product: int, now: int, half_life_days: float) -> float:
    return sum(2.0 ** (-(now - at) / (half_life_days * DAY)) for bought, at in history if product in bought)


@settings(max_examples=100, deadline=None)
@given(orders, st.randoms(use_true_random=False), st.integers(0, 12))
def test_personal_state_online_equals_batch_in_any_order_and_split(history, random, cut):
    now = 401 * DAY
    shuffled = list(history)
    random.shuffle(shuffled)
    halves = []
    for part in (shuffled[:cut], shuffled[cut:]):
        state = r.empty_personal()
        for bought, at in part:
            state = r.add_order(state, np.array(bought), at, SETTINGS)
        halves.append(state)
    state = r.merge_personal(*halves, SETTINGS)
    expected = {p for bought, _ in history for p in bought}
    assert state.product.tolist() == sorted(expected)
    assert state.orders == len(history)
    assert state.last == max(at for _, at in history)
    found = r.personal_frequency(state, now, SETTINGS)
    half_life = SETTINGS.personal_half_life_days
    wanted = [_batch_frequency(history, p, now, half_life) for p in state.product]
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(orders, st.randoms(use_true_random=False), st.integers(0, 12))
def test_popularity_online_equals_batch_in_any_order_and_split(history, random, cut):
    now = 401 * DAY
    shuffled = list(history)
    random.shuffle(shuffled)
    halves = []
    for part in (shuffled[:cut], shuffled[cut:]):
        state = r.empty_popularity(SETTINGS, 10)
        for bought, at in part:
            state = r.add_popularity(state, np.array(bought), at)
        halves.append(state)
    counts = r.popularity_counts(r.merge_popularity(*halves), now)
    for row, half_life in enumerate(halves[0].half_lives_days):
        wanted = [_batch_frequency(history, p, now, half_life) for p in range(10)]
        np.testing.assert_allclose(counts[row], wanted, rtol=1e-9, atol=1e-12)


def test_frequency_halves_after_one_half_life():
    state = r.add_order(r.empty_personal(), np.array([3, 3]), 0, SETTINGS)
    assert r.personal_frequency(state, int(SETTINGS.personal_half_life_days * DAY), SETTINGS).tolist() == [0.5]


def test_states_with_other_half_lives_are_not_merged():
    other = msgspec.structs.replace(SETTINGS, popularity_half_lives_days=(1.0, 2.0, 3.0))
    with pytest.raises(ValueError, match="half-lives"):
        r.merge_popularity(r.empty_popularity(SETTINGS), r.empty_popularity(other))


def _shop(people: int = 40) -> Interactions:
    """Each person buys 0 and 1 together first, later 2; odd people buy 3 alone in between."""
    rows = []
    order = 0
    for person in range(people):
        baskets = [((0, 1), person), *([((3,), person + 5)] if person % 2 else []), ((2,), person + 10)]
        for products, day in baskets:
            rows += [(person, p, order, day * DAY) for p in products]
            order += 1
    return Interactions(*(np.array(column, np.int64) for column in zip(*rows, strict=True)))


def test_fit_finds_what_is_bought_together_and_next():
    model = fit(_shop(), 200 * DAY, SETTINGS)

    def weight(items: r.ItemWeights, source: int, target: int) -> float:
        row = slice(items.start[source], items.start[source + 1])
        return float(dict(zip(items.target[row].tolist(), items.weight[row].tolist(), strict=True)).get(target, 0.0))

    assert weight(model.similar, 0, 1) == pytest.approx(40 / 42)
    assert weight(model.similar, 0, 2) == 0.0
    assert weight(model.co_purchase, 0, 0) == 0.0
    assert weight(model.co_purchase, 0, 1) > 0.0
    assert weight(model.next_basket, 0, 2) > weight(model.next_basket, 0, 1)


def test_ease_of_two_products_by_hand():
    # Two people, both with products 0 and 1: G = [[2/√2 + 1, 2/√2], [2/√2, 2/√2 + 1]], so B₀₁ = √2 / (√2 + 1).
    rows = [(0, 0, 0, 0), (0, 1, 0, 0), (1, 0, 1, 0), (1, 1, 1, 0)]
    model = fit(Interactions(*(np.array(c, np.int64) for c in zip(*rows, strict=True))), DAY, SETTINGS)
    row = slice(model.co_purchase.start[0], model.co_purchase.start[1])
    by_target = dict(zip(model.co_purchase.target[row].tolist(), model.co_purchase.weight[row].tolist(), strict=True))
    assert by_target[1] == pytest.approx(np.sqrt(2) / (np.sqrt(2) + 1), rel=1e-5)


def test_a_poisoned_future_changes_nothing():
    past = _shop()
    later = Interactions(
        np.append(past.person, [0, 0]),
        np.append(past.product, [9, 0]),
        np.append(past.order, [999, 999]),
        np.append(past.at, [100 * DAY, 100 * DAY]),
    )
    assert msgspec.json.encode(_plain(fit(later, 100 * DAY, SETTINGS))) == msgspec.json.encode(
        _plain(fit(past, 100 * DAY, SETTINGS))
    )


def _plain(model: r.RecommenderModel) -> list[list[float]]:
    parts = (model.next_basket, model.co_purchase, model.similar)
    return [array.tolist() for part in parts for array in (part.start, part.target, part.weight)]


def _moment(products: int = 6):
    model = fit(_shop(), 200 * DAY, SETTINGS)
    popularity = r.empty_popularity(SETTINGS, products)
    for bought in ([0, 1], [0], [2], [5]):
        popularity = r.add_popularity(popularity, np.array(bought), 199 * DAY)
    personal = r.add_order(r.empty_personal(), np.array([0, 1]), 190 * DAY, SETTINGS)
    return model, r.prepare(popularity, 200 * DAY, SETTINGS), personal


def test_candidates_are_sorted_distinct_and_repeatable():
    model, prior, personal = _moment()
    for state in (personal, r.empty_personal()):
        found = r.candidates(model, prior, state, 200 * DAY, 6)
        assert found == r.candidates(model, prior, state, 200 * DAY, 6)
        assert sorted(c.product for c in found) == list(range(6))
        scores = [c.score for c in found]
        assert scores == sorted(scores, reverse=True)


def test_known_products_can_be_left_out():
    model, prior, personal = _moment()
    assert {c.product for c in r.candidates(model, prior, personal, 200 * DAY, exclude_known=True)} == {2, 3, 4, 5}


def test_a_product_newer_than_the_fit_is_ranked_by_popularity():
    model, prior, _ = _moment(8)
    assert model.products == 4
    scores = r.score(model, prior, r.empty_personal(), 200 * DAY)
    assert scores.shape == (8,)
    assert scores[5] > scores[6] == scores[7]


def test_equal_scores_go_to_the_smaller_number():
    assert r.best(np.array([1.0, 2.0, 2.0, 2.0, 0.0]), 2).tolist() == [1, 2]
    assert r.best(np.array([]), 3).tolist() == []


def test_a_shop_without_history_still_answers():
    nothing = Interactions(*(np.empty(0, np.int64) for _ in range(4)))
    model = fit(nothing, DAY, SETTINGS)
    prior = r.prepare(r.empty_popularity(SETTINGS, 0), DAY, SETTINGS)
    assert r.candidates(model, prior, r.empty_personal(), DAY) == []
    prior = r.prepare(r.empty_popularity(SETTINGS, 3), DAY, SETTINGS)
    assert [c.product for c in r.candidates(model, prior, r.empty_personal(), DAY)] == [0, 1, 2]


def test_variety_moves_a_lookalike_down_but_keeps_every_product():
    model, prior, _ = _moment()
    plain = msgspec.structs.replace(model, settings=msgspec.structs.replace(SETTINGS, variety_without_history=0.0))
    varied = msgspec.structs.replace(model, settings=msgspec.structs.replace(SETTINGS, variety_without_history=1.0))
    before = [c.product for c in r.candidates(plain, prior, r.empty_personal(), 200 * DAY)]
    after = [c.product for c in r.candidates(varied, prior, r.empty_personal(), 200 * DAY)]
    assert before[0] == after[0] == 0
    assert after.index(1) > before.index(1)
    assert sorted(before) == sorted(after)
