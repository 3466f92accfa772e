"""Exact search over the vectors that the index itself stores, without Chroma."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory.embeddings.base import Vectors
from memory.repo_index.index_store import IndexStore
from memory.repo_index.vector_codec import places_and_values, unpacked


class ExactCollection:
    """All vectors of a model in memory. New ones are read from the index before each query."""

    def __init__(self, store: IndexStore, model: str, dimension: int) -> None:
        self._store, self._model = store, model
        self._keys: list[str] = []
        self._last = 0
        self._dimension = dimension
        self._matrix: _SparseMatrix | _DenseMatrix | None = None

    def upsert(self, ids: Sequence[str], embeddings: Vectors) -> None:
        """Do nothing. The vectors are read from the index."""

    def delete(self, ids: Collection[str]) -> None:
        """Do nothing. A search ignores ids that the index no longer has."""

    def reset_if_worn(self) -> bool:
        """Do nothing. Deletions do not harm an exact search."""
        return False

    def ids(self) -> set[str]:
        """Return all ids."""
        self._load()
        return set(self._keys)

    def query(self, embedding: Vectors, k: int) -> list[tuple[str, float]]:
        """Return the nearest ids with their cosine similarity, best first."""
        self._load()
        if self._matrix is None:
            return []
        scores = self._matrix.scores(embedding)
        best = np.argpartition(-scores, min(k, len(scores) - 1))[:k]
        best = best[np.lexsort((best, -scores[best]))]
        return [(self._keys[number], float(scores[number])) for number in best]

    def _load(self) -> None:
        rows = self._store.vectors(self._model, self._last)
        if not rows:
            return
        self._last = rows[-1][0]
        # Hashed words fill few of 4096 places. A dense matrix would waste most of its memory.
        if self._matrix is None:
            sparse = rows[0][2][:1] == b"s"
            self._matrix = (_SparseMatrix if sparse else _DenseMatrix)(self._dimension)
        self._matrix.add([data for _, _, data in rows])
        self._keys += [key for _, key, _ in rows]


class _DenseMatrix:
    def __init__(self, dimension: int) -> None:
        self._rows = np.zeros((0, dimension), np.float32)

    def add(self, packed: Sequence[bytes]) -> None:
        dimension = self._rows.shape[1]
        self._rows = np.vstack([self._rows, *(unpacked(data, dimension) for data in packed)])

    def scores(self, embedding: Vectors) -> Vectors:
        scores: Vectors = self._rows @ embedding
        return scores


class _SparseMatrix:
    """Entries sorted by place, and an unsorted tail of the entries that came last."""

    def __init__(self, dimension: int) -> None:
        self._count, self._dimension = 0, dimension
        self._sorted = self._tail = _Entries.none()
        self._starts = np.zeros(dimension + 1, np.int64)

    def add(self, packed: Sequence[bytes]) -> None:
        pairs = [places_and_values(data) for data in packed]
        numbers = np.arange(self._count, self._count + len(packed), dtype=np.int32)
        self._count += len(packed)
        self._tail += _Entries(
            np.concatenate([places for places, _ in pairs]),
            np.repeat(numbers, [len(places) for places, _ in pairs]),
            np.concatenate([values for _, values in pairs]).astype(np.float32),
        )
        # Sorting each new entry in would cost more than scanning a short tail.
        if len(self._tail.places) * 8 > len(self._sorted.places):
            whole = self._sorted + self._tail
            self._sorted, self._tail = whole.at(np.argsort(whole.places, kind="stable")), _Entries.none()
            self._starts = np.searchsorted(self._sorted.places, np.arange(self._dimension + 1))

    def scores(self, embedding: Vectors) -> Vectors:
        scores = np.zeros(self._count, np.float32)
        for place in np.flatnonzero(embedding):
            some = self._sorted.at(slice(self._starts[place], self._starts[place + 1]))
            scores[some.rows] += some.values * embedding[place]
        np.add.at(scores, self._tail.rows, self._tail.values * embedding[self._tail.places])
        return scores


@dataclass(frozen=True)
class _Entries:
    """The filled places of a sparse matrix: their columns, rows and values."""

    places: NDArray[np.uint16]
    rows: NDArray[np.int32]
    values: Vectors

    @classmethod
    def none(cls) -> "_Entries":
        return cls(np.zeros(0, np.uint16), np.zeros(0, np.int32), np.zeros(0, np.float32))

    def __add__(self, other: "_Entries") -> "_Entries":
        return _Entries(
            np.concatenate([self.places, other.places]),
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.values, other.values]),
        )

    def at(self, chosen: slice | NDArray[np.int64]) -> "_Entries":
        return _Entries(self.places[chosen], self.rows[chosen], self.values[chosen])
