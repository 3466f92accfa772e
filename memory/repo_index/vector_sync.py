"""Embed the chunks that have no vector, and make the searched collection equal to the stored vectors."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import TypeVar

import numpy as np

from memory.embeddings import Embedder
from memory.embeddings.base import Vectors
from memory.repo_index.index_store import IndexStore
from memory.repo_index.index_types import ProgressCallback
from memory.vectors import Collection as VectorCollection

BATCH = 64

_WRITE = 16
"""Vectors of one write. Chroma holds the interpreter's lock for two or three milliseconds of each."""

T = TypeVar("T")


@dataclass
class VectorSync:
    """One synchronisation, in batches that are each kept if it stops.

    `lacking` is the number of stored vectors that the collection does not have yet.
    """

    store: IndexStore
    embedder: Embedder
    refreshing: RLock
    progress: ProgressCallback
    stop: Callable[[], bool]
    lacking: int = 0

    def embed_missing(self, collection: VectorCollection | None) -> None:
        """Embed the chunks without a vector, store the vectors and add them to the collection."""
        embedder, store = self.embedder, self.store
        if missing := store.missing(embedder.key):
            with store.transaction():
                found = store.inherit(embedder.key)
            if found + store.borrow(embedder.key, missing):
                missing = store.missing(embedder.key)
        done = 0
        for keys in self._batches(missing):  # texts of similar length, which are padded least
            if texts := store.texts(keys):  # a refresh may have removed them
                rows = embedder.embed(list(texts.values()))
                with store.transaction():
                    store.keep(embedder.key, list(texts), rows)
                if collection:
                    _write(collection, list(texts), rows)
            done += len(keys)
            self.progress(done, len(missing))

    def align(self, collection: VectorCollection) -> None:
        """Delete what no chunk has any more from the collection, and add the stored vectors that it lacks."""
        wanted, present = self.store.keys(self.embedder.key), collection.ids()
        for keys in self._batches(sorted(present - wanted)):
            collection.delete(keys)
        if collection.reset_if_worn():
            present = set()
        lacking = sorted(wanted - present)
        self.lacking = len(lacking)
        for keys in self._batches(lacking):
            rows = self.store.embeddings(self.embedder.key, keys, self.embedder.dimension)
            _write(collection, list(rows), np.array(list(rows.values()), np.float32))
            self.lacking -= len(keys)
            self.progress(len(lacking) - self.lacking, len(lacking))

    def _batches(self, items: list[T]) -> Iterator[list[T]]:
        """Yield batches until `stop` returns True."""
        for start in range(0, len(items), BATCH):
            # Chroma's writes hold the interpreter's lock, so a refresh would crawl beside them.
            with self.refreshing:
                pass
            if self.stop():
                return
            yield items[start : start + BATCH]


def _write(collection: VectorCollection, keys: Sequence[str], rows: Vectors) -> None:
    for start in range(0, len(keys), _WRITE):
        collection.upsert(keys[start : start + _WRITE], rows[start : start + _WRITE])
