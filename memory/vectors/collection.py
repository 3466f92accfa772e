"""A Chroma collection: vectors of one model, found by id."""

import re
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Collection as Ids
from contextlib import AbstractContextManager, suppress
from hashlib import sha256
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import chromadb
    from chromadb.api.client import Client

ErrorsExplained = Callable[[], AbstractContextManager[None]]

HNSW = {"space": "cosine", "ef_construction": 128, "max_neighbors": 24, "ef_search": 200}
"""After 8 rounds of deleting and adding a quarter of 6,000 clustered vectors, every vector is still found."""

NUMBERS_PER_WRITE = 40_000
"""Limit of one write. Chroma holds the interpreter's lock for 10 ms plus 1 ms per thousand numbers."""

DELETIONS_ALLOWED = 1_000
"""Deletions that never lead to a reset."""

DELETED = "deleted"

MAX_NAME = 100
"""Characters of a collection's name. Chroma accepts up to 512."""


def collection_name(*parts: str) -> str:
    """Join the contents, model and version of a collection into a name that Chroma accepts.

    Different parts always give different names, even where characters are replaced or cut off.
    """
    plain = "_".join(parts)
    name = re.sub(r"[^a-zA-Z0-9._-]", "-", plain).strip("._-")
    if name == plain and 3 <= len(name) <= MAX_NAME:
        return name
    digest = sha256("\0".join(parts).encode()).hexdigest()[:16]
    return f"{name[: MAX_NAME - 17]}-{digest}".lstrip("._-")


class Collection:
    """An open collection. Every method raises VectorsUnavailable if Chroma fails.

    `errors_explained` is the context in which Chroma is called, which turns its errors into that one.
    """

    def __init__(
        self, client: "Client", name: str, dimension: int, errors_explained: ErrorsExplained
    ) -> None:
        self._client, self._name, self._retired, self._dimension = client, name, f"{name}.old", dimension
        self._errors_explained = errors_explained
        self._writing = RLock()
        self._handle = self._open()

    def upsert(self, ids: Sequence[str], embeddings: NDArray[np.float32]) -> None:
        """Add vectors, one row for each id. An id that is present keeps its vector.

        Delete an id first to replace its vector.
        """
        if embeddings.shape != (len(ids), self._dimension) or not np.isfinite(embeddings).all():
            raise ValueError(f"{self._name} takes finite vectors of {self._dimension}, one for each id")
        with self._writing:
            for batch in self._batches(len(ids)):
                with self._errors_explained():
                    # `add`, because Chroma's index loses a vector that `upsert` replaces.
                    self._handle.add(ids=list(ids[batch]), embeddings=embeddings[batch])

    def delete(self, ids: Ids[str]) -> None:
        """Delete vectors. Unknown ids are ignored."""
        ids = list(ids)
        with self._writing:
            for batch in self._batches(len(ids)):
                with self._errors_explained():
                    known = self._handle.get(ids=ids[batch], include=[])["ids"]
                    if known:
                        self._handle.modify(metadata={DELETED: self._deleted() + len(known)})
                        self._handle.delete(ids=known)

    def ids(self) -> set[str]:
        """Return all ids."""
        with self._errors_explained():
            return set(self._handle.get(include=[])["ids"])

    def query(self, embedding: NDArray[np.float32], k: int) -> list[tuple[str, float]]:
        """Return up to `k` ids with their cosine similarity (-1..1), best first."""
        from chromadb.errors import NotFoundError

        with self._errors_explained():
            handle = self._handle
            try:
                result: Any = handle.query(
                    query_embeddings=embedding.reshape(1, -1), n_results=k, include=["distances"]
                )
            except NotFoundError:
                if self._handle is handle:
                    raise
                return []  # another thread has just reset the collection
        ids, distances = result["ids"][0], result["distances"][0]
        return [(name, 1.0 - float(distance)) for name, distance in zip(ids, distances, strict=True)]

    def reset_if_worn(self) -> bool:
        """Empty the collection if most of it was deleted, which makes searches miss vectors.

        Return True if the caller must fill it again.
        """
        with self._writing, self._errors_explained():
            deleted = self._deleted()
            if deleted < DELETIONS_ALLOWED or deleted * 2 <= self._handle.count():
                return False
            # Searches in other threads need a valid handle, so the old collection goes last.
            self._handle.modify(name=self._retired)
            self._handle = self._open()
            return True

    def _deleted(self) -> int:
        count = (self._handle.metadata or {}).get(DELETED, 0)
        return count if isinstance(count, int) else 0

    def _open(self) -> "chromadb.Collection":
        """Open the collection, new if it is missing, and delete one that a reset has replaced."""
        from chromadb.errors import NotFoundError

        configuration: Any = {"hnsw": HNSW}
        handle = self._client.get_or_create_collection(
            self._name, embedding_function=None, configuration=configuration
        )
        with suppress(NotFoundError):
            self._client.delete_collection(self._retired)
        return handle

    def _batches(self, count: int) -> Iterator[slice]:
        size = max(1, NUMBERS_PER_WRITE // self._dimension)
        return (slice(start, start + size) for start in range(0, count, size))
