"""The index of one folder."""

import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

from memory.chunks import VERSION as CHUNKER
from memory.chunks import Chunker
from memory.embeddings import Embedder, EmbeddingError, open_embedder
from memory.repo_index import schema
from memory.repo_index.base import (
    Changes,
    Engine,
    IndexSettings,
    OpenCollection,
    Progress,
    RepoIndexError,
    Snippet,
    Status,
    VectorCollection,
    VectorsUnavailable,
    View,
)
from memory.repo_index.embedding import Embedding
from memory.repo_index.lock import held
from memory.repo_index.overlay import Overlay, Piece
from memory.repo_index.query import terms
from memory.repo_index.reconcile import Reconciler
from memory.repo_index.repair import mended
from memory.repo_index.search import Hits, by_meaning, by_words, joined, unembedded
from memory.repo_index.store import Store
from memory.repo_index.vectors import Exact
from memory.vectors import collection_name


def _silent(done: int, total: int) -> None:
    pass


class RepoIndex:
    """Full text and vectors of the files below a folder; for any thread, of any number of processes.

    One process writes at a time; the others read what is there. `note` says what is not as it should be,
    `lacks_text` that `refresh` should be called though no file has changed: what it had read was damaged.
    """

    def __init__(self, root: Path, folder: Path, open_embedding: Callable[[], Embedder]) -> None:
        self.root = root
        self.note = self._trouble = ""
        self._folder = folder
        self._name = schema.name_of(root)
        self._path: Path | None = folder / f"{self._name}.db"
        self._open_embedding = open_embedding
        self._open_collection: OpenCollection | None = None
        self._embedder: Embedder | None = None
        self._collection: VectorCollection | None = None
        self._embedding: Embedding | None = None
        self._building = 0
        self._work, self._opening = RLock(), RLock()
        self._chunker, self._overlay, self._left_out = Chunker(), Overlay(), 0
        self.lacks_text = False
        self._store = self._opened()

    @classmethod
    def open(
        cls, root: Path, settings: IndexSettings, collections: OpenCollection | None = None
    ) -> "RepoIndex":
        """Open a folder's index, new and empty if there is none; raises RepoIndexError.

        `collections` opens the store that vectors are searched in; without it they are searched exactly, in
        memory.
        """
        if not root.is_dir():
            raise RepoIndexError(f"{root} is no folder; name one that holds source files")
        index = cls(root.resolve(), settings.folder, lambda: open_embedder(settings.embeddings))
        index._open_collection = collections
        return index

    def __enter__(self) -> "RepoIndex":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the parser and close the file."""
        with self._work:
            self._chunker.close()
            self._overlay.close()
            self._store.close()

    @property
    def embedder(self) -> Embedder:
        """What makes vectors, opened when first needed; its `why` tells how it was chosen."""
        with self._opening:
            if self._embedder is None:
                self._embedder = self._open_embedding()
            return self._embedder

    @mended
    def refresh(
        self, paths: Collection[str] | None = None, progress: Progress = _silent, wait: float = 0.0
    ) -> Changes:
        """Bring full text up to the disk: all of it, or what is at and below some paths.

        Another process that is at it is waited for `wait` seconds; then nothing is done, and `note` says so.
        """
        with self._work, self._counted(), held(self._beside(".lock"), wait) as ours:
            if not ours:
                return Changes(note="another process brings this index up to date")
            store, lacking = self._store, None if self.lacks_text else paths
            changes = Reconciler(self.root, store, self._chunker, self._folder).run(lacking, progress)
            self.lacks_text = self._store is not store
            return changes

    @mended
    def embed(
        self, progress: Progress = _silent, stop: Callable[[], bool] = lambda: False, wait: float = 0.0
    ) -> None:
        """Make the vectors that are missing, in batches that each stand; `stop` is asked between them.

        Without their store they are made and kept all the same; it is opened here, never by a search.
        """
        with self._counted(), held(self._beside(".vectors.lock"), wait) as ours:
            try:
                collection = self._reached()
                if ours:
                    embedding = Embedding(self._store, self.embedder, self._work, progress, stop)
                    embedding.make(collection)
                    if collection:
                        self._embedding = embedding
                        embedding.align(collection)
            except (EmbeddingError, VectorsUnavailable) as error:
                self._lose(error)

    @property
    def lacks_vectors(self) -> bool:
        """Whether `embed` should be called though no file has changed: searches are by text alone."""
        return bool(self._trouble) or self._collection is None

    @mended
    def status(self) -> Status:
        """Tell how far the index is."""
        count, chunks = self._store.counts()
        key = self._embedder.key if self._embedder else None
        embedded = self._store.share(key) if key else 0.0
        lacking = self._embedding.lacking if self._embedding else 0
        embedded *= 1 - lacking / max(chunks, lacking, 1)
        left_out = f"{self._left_out} files of the run's own are not searched yet" if self._left_out else ""
        note = "; ".join(filter(None, (self.note, self._trouble, left_out)))
        building = self._building > 0
        engine: Engine = "text and vectors" if embedded and not self.lacks_vectors else "text"
        return Status(count, chunks, embedded, engine, note, building)

    @mended
    def search(self, query: str, k: int, view: View | None = None) -> list[Snippet]:
        """Find the pieces of `k` files that answer a query best, with what there is of the index by now."""
        store, asked = self._store, terms(query)
        indexed = store.current() if view is None else store.versions(view.files)
        piece = self._overlay.cut(view, indexed) if view else Piece([], 0)
        self._left_out = piece.left_out
        seen = set(indexed.values())
        text = by_words(store, asked, seen.__contains__)
        if piece.chunks:
            text += self._overlay.by_words(piece, asked, store.corpus())
        near = self._near(query, seen, piece)
        late = unembedded(text, store, self.embedder.key) if near.scored else ()
        return joined(query, text, near, k, late)

    def _near(self, query: str, seen: set[int], piece: Piece) -> Hits:
        collection = self._collection
        try:
            if collection is None and self._open_collection is None:
                collection = self._vectors()
            if collection is None:
                return Hits([])
            asked = self.embedder.embed([query])[0]
            near = by_meaning(self._store, collection, asked, seen.__contains__)
            if piece.chunks:
                near += self._overlay.by_meaning(piece, self.embedder, asked, self._store)
        except (EmbeddingError, VectorsUnavailable) as error:
            self._lose(error)
            return Hits([])
        return near

    def _lose(self, error: Exception) -> None:
        """Go on by text; the store of vectors may be another one when it is back."""
        self._trouble = str(error)
        if isinstance(error, VectorsUnavailable):
            self._collection = None

    def _reached(self) -> VectorCollection | None:
        """Open the collection; without it, what is wrong is noted."""
        try:
            collection, self._trouble = self._vectors(), ""
        except VectorsUnavailable as error:
            collection = None
            self._lose(error)
        return collection

    def _vectors(self) -> VectorCollection:
        """The collection of this embedder, this chunker and this folder."""
        with self._opening:
            if self._collection is None:
                embedder = self.embedder
                if self._open_collection is None:
                    self._collection = Exact(self._store, embedder.key, embedder.dimension)
                else:
                    name = collection_name("code", embedder.key, f"c{CHUNKER}", self._name[-12:])
                    self._collection = self._open_collection(name, embedder.dimension)
            return self._collection

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._building += 1
        try:
            yield
        finally:
            self._building -= 1

    @property
    def kept(self) -> Store:
        """The store that is read and written now."""
        return self._store

    def mend(self, broken: object, cause: str) -> None:
        """Set a damaged file aside and begin anew, unless another thread has."""
        with self._opening:
            if self._store is broken:
                self._store.close()
                self._store, self._collection = self._renewed(cause), None
                self.lacks_text = True

    def _renewed(self, cause: str) -> Store:
        if self._path:
            aside = schema.set_aside(self._path)
            self.note = f"the index was damaged ({cause}) and is made anew; the old one is {aside}"
        return Store(self._path)

    def _opened(self) -> Store:
        """Open the file, mended; where nothing can be written, one that does not last."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with held(self._beside(".lock")):
                return Store(self._path)
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, sqlite3.Error) and schema.is_broken(error):
                return self._renewed(str(error))
            self.note = f"{self._folder} cannot be written ({error}); this index ends with the process"
            self._path = None
            return Store(None)

    def _beside(self, suffix: str) -> Path | None:
        return self._path and self._path.with_suffix(suffix)
