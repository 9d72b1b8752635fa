"""Hashing people into holdouts and experiments, as GrowthBook's SDKs do (hash version 2).

Source: GrowthBook, "Build your own SDK", section on hashing (FNV-1a, 32 bit).
"""

from __future__ import annotations

__all__ = ["bucket", "fnv1a32", "in_holdout"]


def fnv1a32(text: str) -> int:
    """32-bit FNV-1a of the UTF-8 bytes of `text`.

    >>> fnv1a32("a")
    3826002220
    """
    value = 0x811C9DC5
    for byte in text.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def bucket(seed: str, identifier: str) -> float:
    """A number in [0, 1) in steps of 1/10 000 that is the same for this pair for ever (GrowthBook hash version 2).

    >>> bucket("seed", "a"), bucket("seed", "b")
    (0.0505, 0.2696)
    """
    return (fnv1a32(str(fnv1a32(seed + identifier))) % 10_000) / 10_000


def in_holdout(placement_id: str, identifier: str, fraction: float) -> bool:
    """True for the share `fraction` of identifiers that this placement's policy never treats."""
    return bucket(f"holdout:{placement_id}", identifier) < fraction
