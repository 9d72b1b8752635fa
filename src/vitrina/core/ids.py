"""Identifiers: time-ordered ids for our own records, and short hashes for other people's."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from vitrina.core.clock import Micros

__all__ = ["hash16", "new_id", "subject_key"]

_BEGUN: dict[bytes, blake2b] = {}
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford base 32


_BITS = 1 << 50
_PAIRS = tuple(one + two for one in _ALPHABET for two in _ALPHABET)


def _base32(number: int) -> str:
    """The low 50 bits as 10 characters."""
    pairs = _PAIRS
    return (
        pairs[number >> 40 & 1023]
        + pairs[number >> 30 & 1023]
        + pairs[number >> 20 & 1023]
        + pairs[number >> 10 & 1023]
        + pairs[number & 1023]
    )


def new_id(prefix: str, now: Micros, rng: np.random.Generator) -> str:
    """A time-ordered id: prefix, 10 characters of milliseconds, 10 random characters (50 bits).

    Ids made in the same millisecond are in no order among themselves.

    >>> new_id("d", 1_700_000_000_000_000, np.random.default_rng(1))[:12]
    'd_01HF7YAT00'
    """
    return f"{prefix}_{_base32(now // 1000)}{_base32(int(rng.random() * _BITS))}"


def hash16(text: str, scope: bytes = b"") -> bytes:
    """16 bytes of BLAKE2b of `text`; `scope` (at most 16 bytes, one of a few) keeps name spaces apart."""
    begun = _BEGUN.get(scope)
    if begun is None:
        begun = _BEGUN[scope] = blake2b(digest_size=16, person=scope)
    hasher = begun.copy()  # half the time of setting one up
    hasher.update(text.encode("utf-8", "surrogatepass"))
    return hasher.digest()


def subject_key(user_id: str | None, anonymous_id: str | None) -> str:
    """The leaf an event belongs to: `u:` and the userId if there is one, else `a:` and the anonymousId, else "".

    >>> subject_key("42", "x"), subject_key(None, "x"), subject_key(None, None)
    ('u:42', 'a:x', '')
    """
    if user_id:
        return f"u:{user_id}"
    return f"a:{anonymous_id}" if anonymous_id else ""
