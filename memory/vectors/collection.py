"""Vectors by id, of one model; fit to search although ids come and go."""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Collection as Many
from contextlib import AbstractContextManager, suppress
from threading import RLock
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import chromadb
    from chromadb.api.client import Client

T = TypeVar("T")

HNSW = {"space": "cosine", "ef_construction": 128, "max_neighbors": 24, "ef_search": 200}
"""After 8 rounds of deleting and adding a quarter of 6,000 clustered vectors, every vector is still found."""

NUMBERS = 40_000
"""Numbers in the vectors that one call writes: no other Python thread runs meanwhile, 10 ms for each
and 1 ms for each thousand of them."""

PAGE = 1_000
"""Vectors read in one call; Chroma takes 5,461."""

FEW = 1_000
"""Deletions that never pile up."""

DELETED = "deleted"


class Store(Protocol):
    """What holds collections: a client of Chroma's, and a context that explains its errors."""

    @property
    def client(self) -> "Client": ...

    def used(self) -> AbstractContextManager[None]: ...


class Collection:
    """An open collection. Each method raises VectorsUnavailable when Chroma fails or has gone away."""

    def __init__(self, store: Store, name: str, dimension: int) -> None:
        self.name = name
        self.dimension = dimension
        self._store = store
        self._writing = RLock()
        self._handle = self._opened()

    def upsert(self, ids: Sequence[str], embeddings: NDArray[np.float32]) -> None:
        """Add vectors, one row an id; an id that is there keeps its vector, for ids name contents.

        Chroma's index loses vectors that are replaced: in place of that, delete an id first.
        """
        if embeddings.shape != (len(ids), self.dimension) or not np.isfinite(embeddings).all():
            raise ValueError(f"{self.name} takes finite vectors of {self.dimension}, one for each id")
        rows = {name: row for row, name in enumerate(ids)}
        with self._writing:
            for batch in _batches(list(rows), self._batch):
                with self._store.used():
                    self._handle.add(ids=batch, embeddings=embeddings[[rows[name] for name in batch]])

    def delete(self, ids: Many[str]) -> None:
        """Remove vectors; ids that are not there are passed over."""
        with self._writing:
            for batch in _batches(list(ids), self._batch):
                with self._store.used():
                    known = self._handle.get(ids=batch, include=[])["ids"]
                    if known:
                        self._count_deleted(len(known))
                        self._handle.delete(ids=known)

    def ids(self) -> set[str]:
        """Every id."""
        with self._store.used():
            return set(self._handle.get(include=[])["ids"])

    def count(self) -> int:
        """How many vectors there are."""
        with self._store.used():
            return int(self._handle.count())

    def query(self, embedding: NDArray[np.float32], k: int) -> list[tuple[str, float]]:
        """Give up to `k` ids with their cosine similarity (-1..1), best first."""
        with self._store.used():
            found = self._nearest(embedding, k)
        ids, distances = found["ids"][0], found["distances"][0]
        return [(name, 1.0 - float(distance)) for name, distance in zip(ids, distances, strict=True)]

    def tidy(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Build the collection anew if more was deleted than half of what it holds; True when that was done.

        The old one serves until the new one is whole, and again when `stop` says so.
        """
        with self._writing, self._store.used():
            deleted = self._deleted()
            if deleted < FEW or deleted * 2 <= self._handle.count():
                return False
            fresh = self._copy(stop)
            if fresh is not None:
                self._swap(fresh)
            return fresh is not None

    def _nearest(self, embedding: NDArray[np.float32], k: int) -> Any:
        from chromadb.errors import NotFoundError

        asked = self._handle
        query = embedding.reshape(1, -1)
        try:
            return asked.query(query_embeddings=query, n_results=k, include=["distances"])
        except NotFoundError:
            if self._handle is asked:
                raise
            return self._handle.query(query_embeddings=query, n_results=k, include=["distances"])

    def _deleted(self) -> int:
        count = (self._handle.metadata or {}).get(DELETED, 0)
        return count if isinstance(count, int) else 0

    def _count_deleted(self, more: int) -> None:
        self._handle.modify(metadata={DELETED: self._deleted() + more})

    def _opened(self) -> "chromadb.Collection":
        """Open the collection; a swap that was cut short is ended first."""
        from chromadb.errors import NotFoundError

        client = self._store.client
        try:
            self._get(self.name)
        except NotFoundError:
            with suppress(NotFoundError):
                self._get(self._fresh).modify(name=self.name)
        for left in (self._fresh, self._old):
            with suppress(NotFoundError):
                client.delete_collection(left)
        return self._make(self.name)

    def _copy(self, stop: Callable[[], bool]) -> "chromadb.Collection | None":
        fresh, old = self._make(self._fresh), self._handle
        for page in _batches(old.get(include=[])["ids"], PAGE):
            found = old.get(ids=page, include=["embeddings"])
            vectors = np.asarray(found["embeddings"], dtype=np.float32)
            for batch in _batches(range(len(vectors)), self._batch):
                if stop():
                    self._store.client.delete_collection(self._fresh)
                    return None
                fresh.add(ids=[found["ids"][row] for row in batch], embeddings=vectors[batch])
        return fresh

    def _swap(self, fresh: "chromadb.Collection") -> None:
        """Put the new one in place; `_opened` knows each state that this can be cut short in."""
        old = self._handle
        old.modify(name=self._old)
        fresh.modify(name=self.name)
        self._handle = fresh
        self._store.client.delete_collection(self._old)

    @property
    def _batch(self) -> int:
        return max(1, NUMBERS // self.dimension)

    @property
    def _fresh(self) -> str:
        return f"{self.name}.fresh"

    @property
    def _old(self) -> str:
        return f"{self.name}.old"

    def _get(self, name: str) -> "chromadb.Collection":
        return self._store.client.get_collection(name, embedding_function=None)

    def _make(self, name: str) -> "chromadb.Collection":
        configuration: Any = {"hnsw": HNSW}
        return self._store.client.get_or_create_collection(
            name, embedding_function=None, configuration=configuration
        )


def _batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
