"""Identifiers: time-ordered ids for our own records, and short hashes for other people's."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from vitrina.core.clock import Micros

__all__ = ["hash16", "new_id", "subject_key"]

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford base 32


def _base32(number: int, length: int) -> str:
    out = [""] * length
    for i in range(length - 1, -1, -1):
        out[i] = _ALPHABET[number & 31]
        number >>= 5
    return "".join(out)


def new_id(prefix: str, now: Micros, rng: np.random.Generator) -> str:
    """A time-ordered id: prefix, 10 characters of milliseconds, 10 random characters (50 bits).

    Ids made in the same millisecond are in no order among themselves.

    >>> new_id("d", 1_700_000_000_000_000, np.random.default_rng(1))[:12]
    'd_01HF7YAT00'
    """
    return f"{prefix}_{_base32(now // 1000, 10)}{_base32(int(rng.integers(1 << 50)), 10)}"


def hash16(text: str, scope: bytes = b"") -> bytes:
    """16 bytes of BLAKE2b of `text`; `scope` (at most 16 bytes) keeps name spaces apart."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, person=scope).digest()


def subject_key(user_id: str | None, anonymous_id: str | None) -> str:
    """The leaf an event belongs to: `u:` and the userId if there is one, else `a:` and the anonymousId.

    >>> subject_key("42", "x"), subject_key(None, "x")
    ('u:42', 'a:x')
    """
    return f"u:{user_id}" if user_id else f"a:{anonymous_id}"
