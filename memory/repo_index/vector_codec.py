"""A vector as bytes, in the form in which the index keeps it."""

import numpy as np
from numpy.typing import NDArray

from memory.embeddings.base import Vectors

_SPARSE = 4
"""A vector with fewer than a fourth of its places filled is kept as places and values."""


def packed(row: Vectors) -> bytes:
    """Make bytes of a vector: half precision; where most of it is zero, only the rest with its places."""
    places = np.flatnonzero(row)
    if len(places) * _SPARSE < len(row):
        return b"s" + places.astype(np.uint16).tobytes() + row[places].astype(np.float16).tobytes()
    return b"d" + row.astype(np.float16).tobytes()


def unpacked(data: bytes, dimension: int) -> Vectors:
    """Read `packed` back."""
    if data[:1] == b"d":
        return np.frombuffer(data, np.float16, offset=1).astype(np.float32)
    row = np.zeros(dimension, np.float32)
    places, values = places_and_values(data)
    row[places] = values
    return row


def places_and_values(data: bytes) -> tuple[NDArray[np.uint16], NDArray[np.float16]]:
    """Read what `packed` made of a vector that is mostly zero."""
    count = (len(data) - 1) // 4
    return np.frombuffer(data, np.uint16, count, 1), np.frombuffer(data, np.float16, count, 1 + 2 * count)
