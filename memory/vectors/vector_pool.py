"""Collections of one store, which is opened on first use and again some time after a failure."""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from memory.vectors.collection import Collection, VectorsUnavailable
from memory.vectors.vector_store import VectorStore

COOL_DOWN = 10.0
"""Seconds after a failure in which the store is not opened again."""


class VectorPool:
    """Opens collections and replaces a store that has failed.

    `notify` receives one message when vectors become unavailable and one when they are back. A collection
    that raised must be opened again, and may then be empty.
    """

    def __init__(
        self,
        folder: Path,
        host: str | None = None,
        port: int = 8001,
        notify: Callable[[str], None] = lambda text: None,
        cool_down: float = COOL_DOWN,
    ) -> None:
        self._address = (folder, host, port)
        self._notify = notify
        self._cool_down = cool_down
        self._lock = Lock()
        self._store: VectorStore | None = None
        self._failure: VectorsUnavailable | None = None
        self._retry_at = 0.0

    def collection(self, name: str, dimension: int) -> Collection:
        """Open a collection, which may take seconds.

        Raises VectorsUnavailable, within the cool-down at once.
        """
        with self._lock:
            try:
                return self._open_store().collection(name, dimension)
            except VectorsUnavailable as error:
                self._fail(error)
                raise

    def close(self) -> None:
        """Close the store. The next call opens it again."""
        with self._lock:
            self._drop()
            self._retry_at = 0.0

    def _open_store(self) -> VectorStore:
        if self._store is not None and self._store.lost is not None:
            self._fail(self._store.lost)
        if self._failure is not None and time.monotonic() < self._retry_at:
            raise VectorsUnavailable(str(self._failure)) from self._failure
        if self._store is None:
            self._store = VectorStore.open(*self._address)
            if self._store.note:
                self._notify(self._store.note)
            elif self._failure is not None:
                self._notify("vectors can be searched again")
            self._failure = None
        return self._store

    def _fail(self, error: VectorsUnavailable) -> None:
        self._drop()
        if time.monotonic() < self._retry_at:
            return
        self._retry_at = time.monotonic() + self._cool_down
        if self._failure is None or str(self._failure) != str(error):
            self._notify(f"{error}; full text is searched without vectors")
        self._failure = error

    def _drop(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
