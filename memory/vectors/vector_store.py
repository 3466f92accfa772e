"""A store of vectors: Chroma in a folder that this process owns, or a Chroma server."""

import atexit
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from memory.records.owner import Owner, this_process
from memory.vectors import client as chroma
from memory.vectors.client import VectorsUnavailable
from memory.vectors.collection import Collection
from memory.vectors.seal import break_seal, prepare, seal

if TYPE_CHECKING:
    from chromadb.api.client import Client

COOL_DOWN = 10.0
"""Seconds after a failure in which the store is not opened again."""


class VectorStore:
    """The server at `host`, or else the store in `folder`. It is opened on first use and after a failure.

    `notify` receives one message when vectors become unavailable and one when they are back. A collection
    that raised must be opened again, and may then be empty. `note` says that damaged files were deleted when
    the store was opened.
    """

    def __init__(
        self,
        folder: Path,
        host: str | None = None,
        port: int = 8001,
        notify: Callable[[str], None] = lambda text: None,
        cool_down: float = COOL_DOWN,
    ) -> None:
        self.place = f"the Chroma server at {host}:{port}" if host else f"the store of vectors in {folder}"
        self.note = ""
        self.client: Client | None = None
        self._folder, self._host, self._port = folder, host, port
        self._notify, self._cool_down = notify, cool_down
        self._opening = RLock()
        self._lock: FileLock | None = None
        self._collections: dict[str, Collection] = {}
        self._lost: VectorsUnavailable | None = None
        self._failure: VectorsUnavailable | None = None
        self._retry_at = 0.0

    def collection(self, name: str, dimension: int) -> Collection:
        """Open a collection, or create it. Return the same object for the same name. Takes seconds at first.

        Raises VectorsUnavailable, within the cool-down at once.
        """
        with self._opening:
            try:
                client = self.open()
                explained = partial(self.errors_explained, client)
                with explained():
                    if name not in self._collections:
                        self._collections[name] = Collection(client, name, dimension, explained)
                    return self._collections[name]
            except VectorsUnavailable as error:
                self._fail(error)
                raise

    def open(self) -> "Client":
        """Open the store unless it is open.

        Raises VectorsUnavailable if another process owns the folder, it is read-only, or no server answers.
        """
        with self._opening:
            if self._lost:
                self._fail(self._lost)
            if self._failure and time.monotonic() < self._retry_at:
                raise VectorsUnavailable(str(self._failure)) from self._failure
            if self.client is None:
                self.client = self._connect()
                if self.note:
                    self._notify(self.note)
                elif self._failure:
                    self._notify("vectors can be searched again")
                self._failure = None
            return self.client

    def close(self) -> None:
        """Close the store. Seal its folder unless Chroma has failed. The next call opens it again."""
        with self._opening:
            atexit.unregister(self.close)
            client, self.client = self.client, None
            self._collections.clear()
            if client is not None:
                with suppress(Exception):
                    chroma.close(client)
            if self._lock:
                (break_seal if self._lost else seal)(self._folder)
                self._lock.release()
            self._lock = self._lost = None
            self._retry_at = 0.0

    @contextmanager
    def errors_explained(self, client: "Client | None") -> Iterator[None]:
        """Raise VectorsUnavailable for whatever Chroma raises, and let the next `open` replace `client`."""
        if self._lost or client is not self.client:
            raise VectorsUnavailable(str(self._lost or f"{self.place} is closed")) from self._lost
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
            failure = VectorsUnavailable(f"{self.place} failed: {reason}")
            if client is self.client:
                self._lost = failure
            raise failure from error

    def _connect(self) -> "Client":
        self.note = ""
        self._lock = None if self._host else _locked(self._folder)
        try:
            with self.errors_explained(None):
                if self._host:
                    client = chroma.server(self._host, self._port)
                else:
                    self.note = prepare(self._folder)
                    client = chroma.embedded(self._folder)
                    # Opening alone changes the database's time. A process that is killed before it
                    # writes must not cost the vectors.
                    seal(self._folder)
        except VectorsUnavailable:
            self.close()
            raise
        atexit.register(self.close)
        return client

    def _fail(self, error: VectorsUnavailable) -> None:
        retry_at = self._retry_at
        self.close()
        self._retry_at = retry_at
        if time.monotonic() < retry_at:
            return
        self._retry_at = time.monotonic() + self._cool_down
        if str(self._failure) != str(error):
            self._notify(f"{error}; full text is searched without vectors")
        self._failure = error


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
