"""A store of vectors: Chroma in a folder that this process owns, or a Chroma server."""

import atexit
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from memory.vectors import client as chroma
from memory.vectors.base import VectorsUnavailable
from memory.vectors.claim import Claim
from memory.vectors.collection import Collection
from memory.vectors.folder import prepare, seal

if TYPE_CHECKING:
    from chromadb.api.client import Client


class Vectors:
    """An open store. After its first failure it is `lost`: close it, and open another.

    `note` says what was found when it was opened, such as damage that was set aside.
    """

    def __init__(self, where: str, folder: Path | None = None, claim: Claim | None = None) -> None:
        self.where = where
        self.lost: VectorsUnavailable | None = None
        self.note = ""
        self._folder = folder
        self._claim = claim
        self._lock = Lock()
        self._collections: dict[str, Collection] = {}
        self._client: Client | None = None

    @classmethod
    def open(cls, folder: Path, host: str | None = None, port: int = 8001) -> "Vectors":
        """Connect to the server at `host`, or without one own the store in `folder`.

        Raises VectorsUnavailable, with the reason: another owner, no server, a read-only folder.
        """
        vectors = cls._reached(host, port) if host else cls._owned(folder)
        try:
            with vectors.used():
                vectors._client = chroma.server(host, port) if host else chroma.embedded(folder)
                atexit.register(vectors.close)
        except VectorsUnavailable:
            vectors.close()
            raise
        return vectors

    @classmethod
    def _reached(cls, host: str, port: int) -> "Vectors":
        return cls(f"the Chroma server at {host}:{port}")

    @classmethod
    def _owned(cls, folder: Path) -> "Vectors":
        claim = Claim.take(folder.with_name(f"{folder.name}.lock"))
        vectors = cls(f"the store of vectors in {folder}", folder, claim)
        try:
            vectors.note = prepare(folder)
        except OSError as error:
            claim.release()
            raise VectorsUnavailable(f"{folder} cannot be written: {error.strerror}") from error
        return vectors

    def collection(self, name: str, dimension: int) -> Collection:
        """Open a collection, made when it is missing; the same object for the same name."""
        with self._lock, self.used():
            if name not in self._collections:
                self._collections[name] = Collection(self, name, dimension)
            return self._collections[name]

    @property
    def client(self) -> "Client":
        """Chroma's client; only for use within `used()`."""
        if self._client is None:
            raise VectorsUnavailable(f"{self.where} is closed")
        return self._client

    @contextmanager
    def used(self) -> Iterator[None]:
        """Turn whatever Chroma raises into VectorsUnavailable; the store is lost from then on.

        It raises its own errors, httpx's, plain Exceptions, and Rust's panics, which are no Exceptions.
        """
        if self.lost:
            raise VectorsUnavailable(str(self.lost)) from self.lost
        try:
            yield
        except VectorsUnavailable:
            raise
        except BaseException as error:
            if not isinstance(error, Exception) and type(error).__module__ != "pyo3_runtime":
                raise
            self.lost = VectorsUnavailable(f"{self.where} failed: {_line(error)}")
            raise self.lost from error

    def close(self) -> None:
        """Let it go; a folder that served well is sealed, so that the next one opens it at once."""
        atexit.unregister(self.close)
        with self._lock:
            client, self._client = self._client, None
            if client is not None:
                with suppress(Exception):
                    chroma.close(client)
            if self._folder and self._claim:
                if self.lost is None:
                    seal(self._folder)
                self._claim.release()
                self._claim = None


def _line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0][:300]
