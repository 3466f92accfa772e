"""The index of one folder."""

import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from threading import RLock
from typing import Concatenate, ParamSpec, TypeVar

from filelock import FileLock, Timeout

from memory.chunks import VERSION as CHUNKER
from memory.chunks import Chunker
from memory.embeddings import Embedder, EmbeddingError, open_embedder
from memory.repo_index import schema
from memory.repo_index.index_store import IndexStore
from memory.repo_index.index_types import (
    Changes,
    Engine,
    IndexSettings,
    IndexStatus,
    OpenCollection,
    ProgressCallback,
    RepoIndexError,
    SnapshotView,
    Snippet,
)
from memory.repo_index.search import CodeSearch
from memory.repo_index.search.hits import Hits, search_vectors, unembedded_files
from memory.repo_index.snapshot_sync import SnapshotSync
from memory.repo_index.text_sync import TextSync
from memory.repo_index.vector_sync import VectorSync
from memory.vectors import Collection as VectorCollection
from memory.vectors import VectorsUnavailable, collection_name

P = ParamSpec("P")
R = TypeVar("R")


def _repaired(
    method: Callable[Concatenate["RepoIndex", P], R],
) -> Callable[Concatenate["RepoIndex", P], R]:
    """Replace a damaged file and call the method again, once. Raises RepoIndexError for other failures."""

    @wraps(method)
    def call(index: "RepoIndex", /, *args: P.args, **kwargs: P.kwargs) -> R:
        store = index.store
        try:
            return method(index, *args, **kwargs)
        except sqlite3.Error as error:
            # Another thread may have replaced the store meanwhile, which closes this one.
            if not schema.is_broken(error) and index.store is store:
                raise RepoIndexError(f"the index of {index.root} failed: {error}") from error
            index.replace(store, str(error))
        try:
            return method(index, *args, **kwargs)
        except sqlite3.Error as error:
            raise RepoIndexError(f"the index of {index.root} failed: {error}") from error

    return call


class RepoIndex:
    """Full text and vectors of the files below a folder, for any thread of any number of processes.

    One process writes at a time. The others read what is there. `note` says what is wrong, and `lacks_text`
    that `refresh` must be called although no file has changed, because the index was damaged.
    """

    def __init__(
        self, root: Path, settings: IndexSettings, open_collection: OpenCollection | None = None
    ) -> None:
        """Open the index, new and empty if there is none. Raises RepoIndexError.

        Without `open_collection`, vectors are searched exactly, in memory.
        """
        if not root.is_dir():
            raise RepoIndexError(f"{root} is no folder; name one that holds source files")
        self.root = root = root.resolve()
        self.note = self._trouble = ""
        self.lacks_text = False
        self._folder = settings.folder
        self._name = schema.name_of(root)
        self._path: Path | None = self._folder / f"{self._name}.db"
        self._embeddings = settings.embeddings
        self._open_collection = open_collection
        self._embedder: Embedder | None = None
        self._collection: VectorCollection | None = None
        self._vector_sync: VectorSync | None = None
        self._refreshing, self._opening = RLock(), RLock()
        self._chunker, self._snapshots = Chunker(), SnapshotSync()
        self.store = self._open_store()

    def __enter__(self) -> "RepoIndex":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the parsers and close the file."""
        with self._refreshing:
            self._chunker.close()
            self._snapshots.close()
            self.store.close()

    @property
    def embedder(self) -> Embedder:
        """The embedder, opened on first use."""
        with self._opening:
            if self._embedder is None:
                self._embedder = open_embedder(self._embeddings)
            return self._embedder

    @_repaired
    def refresh(
        self,
        paths: Collection[str] | None = None,
        progress: ProgressCallback = lambda done, total: None,
        wait: float = 0.0,
    ) -> Changes:
        """Bring full text up to date with the disk: everything, or what is at and below some paths.

        If another process is doing that for longer than `wait` seconds, nothing is done and `note` says so.
        """
        with self._refreshing, self._locked(".lock", wait) as locked:
            if not locked:
                return Changes(note="another process brings this index up to date")
            store, stale = self.store, None if self.lacks_text else paths
            changes = TextSync(self.root, store, self._chunker, self._folder).run(stale, progress)
            # A search in another thread may have replaced a damaged store.
            self.lacks_text = self.store is not store
            return changes

    @_repaired
    def embed(
        self,
        progress: ProgressCallback = lambda done, total: None,
        stop: Callable[[], bool] = lambda: False,
        wait: float = 0.0,
    ) -> None:
        """Embed what has no vector yet, in batches that are each kept. `stop` is asked between them.

        Vectors are stored in the index even if Chroma is unavailable. Only this method opens Chroma.
        """
        with self._locked(".vectors.lock", wait) as locked:
            try:
                collection = self._opened()
                if locked:
                    sync = VectorSync(self.store, self.embedder, self._refreshing, progress, stop)
                    sync.embed_missing(collection)
                    if collection:
                        self._vector_sync = sync
                        sync.align(collection)
            except (EmbeddingError, VectorsUnavailable) as error:
                self._lose(error)

    @property
    def lacks_vectors(self) -> bool:
        """Return True if `embed` must be called although no file has changed: only text is searched yet."""
        return bool(self._trouble or (self._open_collection and self._collection is None))

    @_repaired
    def status(self) -> IndexStatus:
        """Return the state of the index."""
        files, chunks, done = self.store.counts(self._embedder.key if self._embedder else "")
        if self._vector_sync:
            done = max(done - self._vector_sync.lacking, 0)
        embedded = done / chunks if chunks else float(self._embedder is not None)
        left_out, text = self._snapshots.left_out, "files of the run's own are not searched yet"
        note = "; ".join(filter(None, (self.note, self._trouble, f"{left_out} {text}" if left_out else "")))
        engine: Engine = "text and vectors" if embedded and not self.lacks_vectors else "text"
        return IndexStatus(files, chunks, embedded, engine, note)

    @_repaired
    def search(self, query: str, k: int, view: SnapshotView | None = None) -> list[Snippet]:
        """Find the `k` best places in what is indexed so far, none if nothing is about the query.

        What the query names comes first, then the best snippet of each file that fits.
        """
        return self.code_search(view).snippets(query, k)

    def code_search(self, view: SnapshotView | None = None) -> CodeSearch:
        """Return the search in a snapshot, or in the files on the disk."""
        store = self.store
        visible = self._snapshots.versions(store, view) if view else store.current()
        return CodeSearch(
            store,
            visible,
            self._search_vectors,
            lambda text: unembedded_files(text, store, self.embedder.key),
            view.past if view else tuple,
        )

    def _search_vectors(self, query: str, visible: Collection[int]) -> Hits:
        collection = self._collection
        if self._open_collection and collection is None:
            return Hits([])
        try:
            return search_vectors(self.store, collection, self.embedder, query, visible)
        except (EmbeddingError, VectorsUnavailable) as error:
            self._lose(error)
            return Hits([])

    def _lose(self, error: Exception) -> None:
        """Search by text alone until `embed` opens the collection again."""
        self._trouble = str(error)
        if isinstance(error, VectorsUnavailable):
            self._collection = None

    def _opened(self) -> VectorCollection | None:
        """Return the collection of this embedder, this chunker and this folder, or None without Chroma."""
        self._trouble = ""
        with self._opening:
            if self._open_collection and self._collection is None:
                name = collection_name("code", self.embedder.key, f"c{CHUNKER}", self._name[-12:])
                try:
                    self._collection = self._open_collection(name, self.embedder.dimension)
                except VectorsUnavailable as error:
                    self._lose(error)
            return self._collection

    def replace(self, broken: IndexStore, cause: str) -> None:
        """Set a damaged file aside and start a new one, unless another thread already has."""
        with self._opening:
            if self.store is broken:
                self.store.close()
                self.store, self._collection = self._new_store(cause), None
                self.lacks_text = True

    def _new_store(self, cause: str) -> IndexStore:
        if self._path:
            aside = schema.set_aside(self._path)
            self.note = f"the index was damaged ({cause}) and is being rebuilt; the old file is {aside}"
        return IndexStore(self._path)

    def _open_store(self) -> IndexStore:
        """Open the file, new if it is damaged, or a store in memory if the folder cannot be written."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked(".lock"):
                return IndexStore(self._path)
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, sqlite3.Error) and schema.is_broken(error):
                return self._new_store(str(error))
            self.note = f"{self._folder} cannot be written ({error}); this index ends with the process"
            self._path = None
            return IndexStore(None)

    @contextmanager
    def _locked(self, suffix: str, seconds: float = 0.0) -> Iterator[bool]:
        """Hold a lock beside the index if it is free within some seconds. Yield whether it is held."""
        held = True
        with ExitStack() as stack:
            if self._path:
                try:
                    stack.enter_context(FileLock(self._path.with_suffix(suffix), timeout=seconds, mode=0o600))
                except Timeout:
                    held = False
            yield held
