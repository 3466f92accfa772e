"""Exact search among the vectors that the index itself keeps."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from memory.embeddings.base import Vectors
from memory.repo_index.store import Store
from memory.repo_index.vector_codec import places_and_values, unpacked


class _Bank(Protocol):
    """Vectors by their number."""

    def add(self, packed: Sequence[bytes]) -> None: ...

    def scores(self, embedding: Vectors) -> Vectors: ...


class _Dense:
    def __init__(self, dimension: int) -> None:
        self._rows = np.zeros((0, dimension), np.float32)

    def add(self, packed: Sequence[bytes]) -> None:
        dimension = self._rows.shape[1]
        self._rows = np.vstack([self._rows, *(unpacked(data, dimension) for data in packed)])

    def scores(self, embedding: Vectors) -> Vectors:
        found: Vectors = self._rows @ embedding
        return found


class _Sparse:
    """Places with the rows that fill them: sorted by place, but for a tail of those that came last."""

    def __init__(self, dimension: int) -> None:
        self._count, self._dimension = 0, dimension
        self._sorted = self._tail = _Filled.none()
        self._starts = np.zeros(dimension + 1, np.int64)

    def add(self, packed: Sequence[bytes]) -> None:
        pairs = [places_and_values(data) for data in packed]
        numbers = np.arange(self._count, self._count + len(packed), dtype=np.int32)
        self._count += len(packed)
        self._tail = self._tail + _Filled(
            np.concatenate([places for places, _ in pairs]),
            np.repeat(numbers, [len(places) for places, _ in pairs]),
            np.concatenate([values for _, values in pairs]).astype(np.float32),
        )
        if len(self._tail.places) * 8 > len(self._sorted.places):
            whole = self._sorted + self._tail
            self._sorted, self._tail = whole.at(np.argsort(whole.places, kind="stable")), _Filled.none()
            self._starts = np.searchsorted(self._sorted.places, np.arange(self._dimension + 1))

    def scores(self, embedding: Vectors) -> Vectors:
        found = np.zeros(self._count, np.float32)
        for place in np.flatnonzero(embedding):
            some = self._sorted.at(slice(self._starts[place], self._starts[place + 1]))
            found[some.rows] += some.values * embedding[place]
        np.add.at(found, self._tail.rows, self._tail.values * embedding[self._tail.places])
        return found


@dataclass(frozen=True)
class _Filled:
    places: NDArray[np.uint16]
    rows: NDArray[np.int32]
    values: Vectors

    @classmethod
    def none(cls) -> "_Filled":
        return cls(np.zeros(0, np.uint16), np.zeros(0, np.int32), np.zeros(0, np.float32))

    def __add__(self, other: "_Filled") -> "_Filled":
        return _Filled(
            np.concatenate([self.places, other.places]),
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.values, other.values]),
        )

    def at(self, chosen: slice | NDArray[np.int64]) -> "_Filled":
        return _Filled(self.places[chosen], self.rows[chosen], self.values[chosen])


class Exact:
    """Every vector of a model in memory, brought up to date before each query."""

    def __init__(self, store: Store, model: str, dimension: int) -> None:
        self._store, self._model = store, model
        self._keys: list[str] = []
        self._last = 0
        self._dimension = dimension
        self._bank: _Bank | None = None

    def upsert(self, ids: Sequence[str], embeddings: Vectors) -> None:
        """Do nothing: what the index keeps is read from there."""

    def delete(self, ids: Collection[str]) -> None:
        """Do nothing: ids that the index no longer knows are passed over where they are found."""

    def tidy(self, stop: Callable[[], bool]) -> bool:
        """Do nothing: deletions do not pile up here."""
        return False

    def ids(self) -> set[str]:
        """Give the ids of all vectors."""
        self._load()
        return set(self._keys)

    def query(self, embedding: Vectors, k: int) -> list[tuple[str, float]]:
        """Give the nearest ids with their cosine similarity, best first."""
        self._load()
        if self._bank is None:
            return []
        scores = self._bank.scores(embedding)
        best = np.argpartition(-scores, min(k, len(scores) - 1))[:k]
        best = best[np.lexsort((best, -scores[best]))]
        return [(self._keys[number], float(scores[number])) for number in best]

    def _load(self) -> None:
        rows = self._store.vectors(self._model, self._last)
        if not rows:
            return
        self._last = rows[-1][0]
        if self._bank is None:
            self._bank = _Sparse(self._dimension) if rows[0][2][:1] == b"s" else _Dense(self._dimension)
        self._bank.add([data for _, _, data in rows])
        self._keys += [key for _, key, _ in rows]
