"""The contract test of policies: a new policy starts by passing `check_policy`."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from vitrina.decide.policies.contract import Choice, Margins, Mask, Policy

__all__ = ["check_policy"]

_TOLERANCE = 1e-12
_DOUBTFUL = 1e-4
"""Chi-square p-value below which drawn and stated chances disagree.

With a fixed seed a correct policy fails or passes for ever; over seeds it would fail once in 10,000.
"""


def check_policy(policy: Policy, *, draws: int = 100_000, seed: int = 1) -> None:
    """Put `policy` to the test: chances sum to 1, agree with what is drawn, respect the mask, and follow the seed.

    Args:
        policy: what is tested.
        draws: slates drawn for the comparison of drawn with stated chances.
        seed: of the cases and of the draws.

    Raises:
        AssertionError: with the promise that was broken.
    """
    rng = np.random.default_rng(seed)
    for items, eligible_count, slots in ((1, 1, 1), (4, 4, 3), (6, 4, 4), (5, 3, 5), (40, 31, 5)):
        margins, eligible = _case(rng, items, eligible_count)
        _check_slate(policy, margins, eligible, slots, seed)
        _check_seed(policy, margins, eligible, slots, seed)
    margins, eligible = _case(rng, 5, 4)
    _check_every_slate(policy, margins, eligible, 3)
    _check_drawn(policy, margins, eligible, 2, draws, seed)


def _case(rng: np.random.Generator, items: int, eligible_count: int) -> tuple[Margins, Mask]:
    margins = (rng.normal(size=(16, items)) * 100 + rng.normal(size=items) * 80).astype(np.float32)
    eligible = np.zeros(items, dtype=np.bool_)
    eligible[rng.permutation(items)[:eligible_count]] = True
    return margins, eligible


def _check_slate(policy: Policy, margins: Margins, eligible: Mask, slots: int, seed: int) -> None:
    kept, mask = margins.copy(), eligible.copy()
    rng = np.random.default_rng(seed)
    for _ in range(50):
        choice = policy.choose(margins, eligible, slots, rng)
        assert np.array_equal(margins, kept), "the margins were changed"
        assert np.array_equal(eligible, mask), "the mask was changed"
        assert len(choice.items) == min(slots, int(eligible.sum())), "the slate has another length than asked for"
        assert len(set(choice.items)) == len(choice.items), "an item is shown twice"
        assert all(eligible[item] for item in choice.items), "an ineligible item is shown"
        _check_logged(policy, margins, eligible, choice)


def _check_logged(policy: Policy, margins: Margins, eligible: Mask, choice: Choice) -> None:
    product = 1.0
    for k, (item, logged) in enumerate(zip(choice.items, choice.probabilities, strict=True)):
        chances = policy.distribution(margins, eligible, choice.items[:k])
        assert abs(float(chances.sum()) - 1.0) <= _TOLERANCE, "chances don't sum to 1"
        assert not chances[~eligible].any(), "an ineligible item has a chance"
        assert not chances[list(choice.items[:k])].any(), "an item shown already has a chance"
        assert abs(float(chances[item]) - logged) <= _TOLERANCE, "the stated chance isn't that of the distribution"
        product *= logged
    assert abs(product - choice.slate_probability) <= _TOLERANCE, (
        "the slate's chance isn't the product of its positions'"
    )


def _check_seed(policy: Policy, margins: Margins, eligible: Mask, slots: int, seed: int) -> None:
    one, two = np.random.default_rng(seed), np.random.default_rng(seed)
    for _ in range(20):
        assert policy.choose(margins, eligible, slots, one) == policy.choose(margins, eligible, slots, two), (
            "the seed is not followed"
        )


def _slates(policy: Policy, margins: Margins, eligible: Mask, slots: int) -> dict[tuple[int, ...], float]:
    chances: dict[tuple[int, ...], float] = {}
    for slate in permutations(np.flatnonzero(eligible).tolist(), slots):
        chance = 1.0
        for k, item in enumerate(slate):
            if chance > 0.0:
                chance *= float(policy.distribution(margins, eligible, slate[:k])[item])
        chances[slate] = chance
    return chances


def _check_every_slate(policy: Policy, margins: Margins, eligible: Mask, slots: int) -> None:
    total = sum(_slates(policy, margins, eligible, slots).values())
    assert abs(total - 1.0) <= _TOLERANCE, "the chances of all slates don't sum to 1"


def _check_drawn(policy: Policy, margins: Margins, eligible: Mask, slots: int, draws: int, seed: int) -> None:
    from scipy.stats import chi2

    expected = _slates(policy, margins, eligible, slots)
    seen = dict.fromkeys(expected, 0)
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        seen[policy.choose(margins, eligible, slots, rng).items] += 1
    impossible = [slate for slate, chance in expected.items() if chance == 0.0 and seen[slate]]
    assert not impossible, f"slates of chance 0 were drawn: {impossible}"
    likely = [slate for slate, chance in expected.items() if chance * draws >= 5]
    if len(likely) < 2:
        return
    rest = sum(chance for slate, chance in expected.items() if slate not in likely)
    cells = [(seen[slate], expected[slate] * draws) for slate in likely]
    if rest * draws >= 5:
        cells.append((draws - sum(seen[slate] for slate in likely), rest * draws))
    statistic = sum((observed - wanted) ** 2 / wanted for observed, wanted in cells)
    p_value = float(chi2.sf(statistic, len(cells) - 1))
    assert p_value > _DOUBTFUL, f"drawn slates disagree with their stated chances (p = {p_value:.2g})"
