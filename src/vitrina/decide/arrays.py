"""Arrays as bytes and back, without pickle: what a model or a bank looks like in the store.

The form is MessagePack: name → [dtype, shape, little-endian C-order bytes]. The same arrays give the same bytes, so
that a hash of them names a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitrina.core.errors import MachineError

__all__ = ["Arrays", "hash_arrays", "pack_arrays", "unpack_arrays"]

Arrays = dict[str, NDArray[np.generic]]
"""Named arrays of numbers, booleans or fixed-width text."""

_KINDS = frozenset("biufU")
_decoder = msgspec.msgpack.Decoder(dict[str, tuple[str, tuple[int, ...], bytes]])


def pack_arrays(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Bytes of named arrays, ordered by name.

    Raises:
        ValueError: an array holds objects, which no array of numbers or text does.

    >>> unpack_arrays(pack_arrays({"a": np.arange(3)}))["a"].tolist()
    [0, 1, 2]
    """
    packed: dict[str, tuple[str, tuple[int, ...], bytes]] = {}
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        if array.dtype.kind not in _KINDS:
            raise ValueError(f"{name} holds {array.dtype}, which can't be written as plain numbers")
        plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)
        packed[name] = (plain.dtype.str, plain.shape, plain.tobytes())
    return msgspec.msgpack.encode(packed)


def unpack_arrays(data: bytes) -> Arrays:
    """The arrays of `pack_arrays`, as copies that may be written to.

    Raises:
        MachineError: the bytes are not what `pack_arrays` writes.
    """
    try:
        packed = _decoder.decode(data)
        return {name: _array(dtype, shape, body) for name, (dtype, shape, body) in packed.items()}
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise MachineError(
            f"these stored arrays can't be read: {error}.",
            code="arrays.unreadable",
            cure="Restore the store from a backup.",
        ) from error


def _array(dtype: str, shape: tuple[int, ...], body: bytes) -> NDArray[np.generic]:
    kind = np.dtype(dtype)
    if kind.kind not in _KINDS:
        raise ValueError(f"{dtype} is no kind of number or text")
    return np.frombuffer(body, dtype=kind).reshape(shape).copy()


def hash_arrays(arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """32 hexadecimal digits that are the same exactly when the arrays are."""
    return blake2b(pack_arrays(arrays), digest_size=16).hexdigest()
