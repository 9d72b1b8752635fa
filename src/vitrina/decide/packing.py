"""How a decision's parts become few bytes in its log row, and what they were again."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from vitrina.core.decision import DecisionRow

__all__ = ["pack_bits", "pack_refusals", "unpack_bits", "unpack_features", "unpack_greedy", "unpack_refusals"]

_PLAIN = 256


def pack_bits(mask: NDArray[np.bool_]) -> bytes:
    """bool[K] as a bitmap, least significant bit first."""
    return np.packbits(mask, bitorder="little").tobytes()


def unpack_bits(bitmap: bytes, count: int) -> NDArray[np.bool_]:
    """The bool[count] that `pack_bits` packed."""
    return np.unpackbits(np.frombuffer(bitmap, dtype=np.uint8), count=count, bitorder="little").astype(np.bool_)


def pack_refusals(codes: bytes, eligible: int) -> bytes:
    """One byte a candidate: nothing when all are eligible, zlib-packed when there are more than 256."""
    if eligible == len(codes):
        return b""
    return codes if len(codes) <= _PLAIN else zlib.compress(codes, 1)


def unpack_refusals(packed: bytes, count: int) -> bytes:
    """The codes that `pack_refusals` packed; `count` is the number of candidates."""
    if not packed:
        return bytes(count)
    return packed if count <= _PLAIN else zlib.decompress(packed)


def unpack_features(row: DecisionRow) -> NDArray[np.float32]:
    """float32[d]: the vector that the score used."""
    return np.frombuffer(row.features, dtype="<f4")


def unpack_greedy(row: DecisionRow) -> NDArray[np.uint16]:
    """uint16[M]: the candidate that each draw liked best; empty for policies without draws."""
    return np.frombuffer(row.greedy, dtype="<u2")
