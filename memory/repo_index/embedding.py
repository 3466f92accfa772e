"""Making the vectors that an index lacks, and bringing them to where they are searched."""

from collections.abc import Callable, Iterator
from threading import RLock
from typing import TypeVar

import numpy as np

from memory.embeddings import Embedder
from memory.repo_index.base import Progress, VectorCollection
from memory.repo_index.store import Store
from memory.repo_index.vectors import Exact

AT_ONCE = 64

T = TypeVar("T")


class Embedding:
    """One go at it, in batches that each stand. `text` is held by whoever brings full text up to the disk.

    `lacking` is how many vectors are made, but not yet where they are searched.
    """

    def __init__(
        self, store: Store, embedder: Embedder, text: RLock, progress: Progress, stop: Callable[[], bool]
    ) -> None:
        self.lacking = 0
        self._store = store
        self._embedder = embedder
        self._text = text
        self._progress = progress
        self._stop = stop

    def make(self, collection: VectorCollection | None) -> None:
        """Make what is missing; where there is a collection, it is searched at once."""
        embedder, store = self._embedder, self._store
        if missing := store.missing(embedder.key):
            with store.transaction():
                store.inherit(embedder.key)
            store.borrow(embedder.key, [key for key, _ in missing])
            missing = store.missing(embedder.key)
        missing.sort(key=lambda pair: len(pair[1]))
        done = 0
        for batch in self._batches(missing):
            keys, rows = [key for key, _ in batch], embedder.embed([text for _, text in batch])
            with store.transaction():
                store.keep(embedder.key, keys, rows)
            if collection and not isinstance(collection, Exact):
                collection.upsert(keys, rows)
            done += len(batch)
            self._progress(done, len(missing))

    def align(self, collection: VectorCollection) -> None:
        """Give a collection of its own what it lacks, and take from it what no chunk has any more."""
        if isinstance(collection, Exact):
            return
        wanted, had = self._store.keys(self._embedder.key), collection.ids()
        lacking = sorted(wanted - had)
        self.lacking = len(lacking)
        for keys in self._batches(lacking):
            found = self._store.embeddings(self._embedder.key, keys, self._embedder.dimension)
            collection.upsert(list(found), np.array(list(found.values()), np.float32))
            self.lacking -= len(keys)
            self._progress(len(lacking) - self.lacking, len(lacking))
        for keys in self._batches(sorted(had - wanted)):
            collection.delete(keys)
        collection.tidy(self._stop)

    def _batches(self, items: list[T]) -> Iterator[list[T]]:
        """Give items until `stop`, each batch after any refresh: beside Chroma's writing it would crawl."""
        for start in range(0, len(items), AT_ONCE):
            with self._text:
                pass
            if self._stop():
                return
            yield items[start : start + AT_ONCE]
