"""The bytes of a vector in the index: half precision, and only the filled places if most are zero."""

import numpy as np
from numpy.typing import NDArray

from memory.embeddings.base import Vectors

_SPARSE = 4
"""A vector with fewer than a fourth of its places filled is stored as places and values."""


def packed(row: Vectors) -> bytes:
    """Encode a vector."""
    places = np.flatnonzero(row)
    if len(places) * _SPARSE < len(row):
        return b"s" + places.astype(np.uint16).tobytes() + row[places].astype(np.float16).tobytes()
    return b"d" + row.astype(np.float16).tobytes()


def unpacked(data: bytes, dimension: int) -> Vectors:
    """Decode a vector."""
    row = np.zeros(dimension, np.float32)
    places, values = _places_and_values(data)
    row[places] = values
    return row


def similarity(data: bytes, row: Vectors) -> float:
    """Return the cosine similarity of an encoded vector and a plain one, both of length 1."""
    places, values = _places_and_values(data)
    return float(values @ row[places])


def _places_and_values(data: bytes) -> tuple[NDArray[np.uint16] | slice, Vectors]:
    """Decode a vector into its filled places and their values."""
    if data[:1] == b"d":
        return slice(None), np.frombuffer(data, np.float16, offset=1).astype(np.float32)
    count = (len(data) - 1) // 4
    values = np.frombuffer(data, np.float16, count, 1 + 2 * count)
    return np.frombuffer(data, np.uint16, count, 1), values.astype(np.float32)
