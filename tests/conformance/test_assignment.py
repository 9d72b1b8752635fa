"""Assignment agrees with GrowthBook's SDKs: the vectors that they share for hash version 2."""

from __future__ import annotations

import pytest

from vitrina.core.assignment import bucket, in_holdout

VECTORS = [
    ("seed", "a", 0.0505),
    ("seed", "b", 0.2696),
    ("foo", "ab", 0.2575),
    ("foo", "def", 0.2019),
    ("89123klj", "8952klfjas09ujkasdf", 0.124),
    ("90850943850283058242805", "123", 0.7516),
    ("()**(%$##$%#$#", '___)((*":&', 0.0128),
]


@pytest.mark.parametrize(("seed", "identifier", "expected"), VECTORS)
def test_bucket_is_the_one_of_other_sdks(seed: str, identifier: str, expected: float) -> None:
    assert bucket(seed, identifier) == expected


def test_holdout_is_as_large_as_asked_and_grows_without_reshuffling() -> None:
    people = [f"u{i}" for i in range(20_000)]
    small = {person for person in people if in_holdout("home", person, 0.05)}
    large = {person for person in people if in_holdout("home", person, 0.1)}
    assert small < large
    assert abs(len(small) / len(people) - 0.05) < 4 * (0.05 * 0.95 / len(people)) ** 0.5  # four standard errors
    elsewhere = {person for person in people if in_holdout("cart", person, 0.05)}
    assert abs(len(small & elsewhere) - 50) < 4 * 50**0.5  # 20,000 × 0.05²: placements are independent
