"""Embed the chunks that have no vector, and make the searched collection equal to the stored vectors."""

from collections.abc import Callable, Iterator
from threading import RLock
from typing import TypeVar

import numpy as np

from memory.embeddings import Embedder
from memory.repo_index.exact_collection import ExactCollection
from memory.repo_index.index_store import IndexStore
from memory.repo_index.index_types import ProgressCallback, VectorCollection

BATCH = 64

T = TypeVar("T")


class VectorSync:
    """One synchronisation, in batches that are each kept if it stops.

    `lacking` is the number of stored vectors that the collection does not have yet.
    """

    def __init__(
        self,
        store: IndexStore,
        embedder: Embedder,
        refreshing: RLock,
        progress: ProgressCallback,
        stop: Callable[[], bool],
    ) -> None:
        self.lacking = 0
        self._store = store
        self._embedder = embedder
        self._refreshing = refreshing
        self._progress = progress
        self._stop = stop

    def embed_missing(self, collection: VectorCollection | None) -> None:
        """Embed the chunks without a vector, store the vectors and add them to the collection."""
        embedder, store = self._embedder, self._store
        if missing := store.missing(embedder.key):
            with store.transaction():
                store.inherit(embedder.key)
            store.borrow(embedder.key, [key for key, _ in missing])
            missing = store.missing(embedder.key)
        missing.sort(key=lambda pair: len(pair[1]))  # texts of similar length are padded least
        done = 0
        for batch in self._batches(missing):
            keys, rows = [key for key, _ in batch], embedder.embed([text for _, text in batch])
            with store.transaction():
                store.keep(embedder.key, keys, rows)
            if collection and not isinstance(collection, ExactCollection):
                collection.upsert(keys, rows)
            done += len(batch)
            self._progress(done, len(missing))

    def align(self, collection: VectorCollection) -> None:
        """Delete what no chunk has any more from the collection, and add the stored vectors that it lacks."""
        if isinstance(collection, ExactCollection):
            return
        wanted, present = self._store.keys(self._embedder.key), collection.ids()
        for keys in self._batches(sorted(present - wanted)):
            collection.delete(keys)
        if collection.reset_if_worn():
            present = set()
        lacking = sorted(wanted - present)
        self.lacking = len(lacking)
        for keys in self._batches(lacking):
            rows = self._store.embeddings(self._embedder.key, keys, self._embedder.dimension)
            collection.upsert(list(rows), np.array(list(rows.values()), np.float32))
            self.lacking -= len(keys)
            self._progress(len(lacking) - self.lacking, len(lacking))

    def _batches(self, items: list[T]) -> Iterator[list[T]]:
        """Yield batches until `stop` returns True."""
        for start in range(0, len(items), BATCH):
            # Chroma's writes hold the interpreter's lock, so a refresh would crawl beside them.
            with self._refreshing:
                pass
            if self._stop():
                return
            yield items[start : start + BATCH]
