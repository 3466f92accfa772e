"""A store of vectors: Chroma in a folder that this process owns, or a Chroma server."""

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from memory.records.owner import Owner, this_process
from memory.vectors import client as chroma
from memory.vectors.collection import Collection, VectorsUnavailable
from memory.vectors.seal import break_seal, prepare, seal

if TYPE_CHECKING:
    from chromadb.api.client import Client


class VectorStore:
    """An open store. After the first failure, `lost` holds the error and the store must be closed.

    `note` says that damaged files were deleted when the store was opened.
    """

    def __init__(self, place: str, folder: Path | None = None, lock: FileLock | None = None) -> None:
        self.place = place
        self.lost: VectorsUnavailable | None = None
        self.note = ""
        self._folder = folder
        self._lock = lock
        self._opening = Lock()
        self._collections: dict[str, Collection] = {}
        self._client: Client | None = None

    @classmethod
    def open(cls, folder: Path, host: str | None = None, port: int = 8001) -> "VectorStore":
        """Connect to the server at `host`. Without a host, lock and open the store in `folder`.

        Raises VectorsUnavailable if another process owns the folder, it is read-only, or no server answers.
        """
        if host:
            store = cls(f"the Chroma server at {host}:{port}")
        else:
            store = cls(f"the store of vectors in {folder}", folder, _locked(folder))
        try:
            with store.errors_explained():
                if host:
                    store._client = chroma.server(host, port)
                else:
                    store.note = prepare(folder)
                    store._client = chroma.embedded(folder)
                    # Opening alone changes the database's time. A process that is killed before it
                    # writes must not cost the vectors.
                    seal(folder)
                atexit.register(store.close)
        except VectorsUnavailable:
            store.close()
            raise
        return store

    def collection(self, name: str, dimension: int) -> Collection:
        """Open a collection, or create it. Return the same object for the same name."""
        with self._opening, self.errors_explained():
            if name not in self._collections:
                self._collections[name] = Collection(self, name, dimension)
            return self._collections[name]

    @property
    def client(self) -> "Client":
        """The Chroma client, for use within `errors_explained`."""
        if self._client is None:
            raise VectorsUnavailable(f"{self.place} is closed")
        return self._client

    @contextmanager
    def errors_explained(self) -> Iterator[None]:
        """Raise VectorsUnavailable for whatever Chroma raises, and mark the store as lost."""
        if self.lost:
            raise VectorsUnavailable(str(self.lost)) from self.lost
        try:
            yield
        except VectorsUnavailable:
            raise
        except BaseException as error:
            # Chroma raises errors of its own, httpx's, plain Exceptions, and Rust panics.
            # A panic derives from BaseException.
            if not isinstance(error, Exception) and type(error).__module__ != "pyo3_runtime":
                raise
            reason = (str(error) or type(error).__name__).partition("\n")[0][:300]
            self.lost = VectorsUnavailable(f"{self.place} failed: {reason}")
            raise self.lost from error

    def close(self) -> None:
        """Close the store. Seal its folder unless Chroma has failed."""
        atexit.unregister(self.close)
        with self._opening:
            client, self._client = self._client, None
            if client is not None:
                with suppress(Exception):
                    chroma.close(client)
            if self._folder and self._lock:
                (break_seal if self.lost else seal)(self._folder)
                self._lock.release()
                self._lock = None


def _locked(folder: Path) -> FileLock:
    """Take the lock beside a folder. Several processes on one folder would corrupt it silently."""
    path = folder.with_name(f"{folder.name}.lock")
    # Another thread than the one that opens the store may close it.
    lock = FileLock(path, timeout=0, mode=0o600, thread_local=False)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire()
        path.write_text(str(this_process()))
    except Timeout as error:
        raise VectorsUnavailable(f"the store of vectors is in use by {_holder(path)}") from error
    except OSError as error:
        raise VectorsUnavailable(f"{path} cannot be written: {error.strerror}") from error
    return lock


def _holder(path: Path) -> str:
    owner = Owner.parse(path.read_text(errors="replace"))
    if owner is None:
        return "another process"
    return "this process" if owner.pid == os.getpid() else f"process {owner.pid} on {owner.host}"
