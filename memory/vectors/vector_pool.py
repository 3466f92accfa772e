"""A process's way to its vectors: opened when first asked for, and again some time after a failure."""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from memory.vectors.base import VectorsUnavailable
from memory.vectors.collection import Collection
from memory.vectors.store import Vectors

COOL_DOWN = 10.0
"""Seconds for which a store that failed, or was not to be had, is not tried again."""


class Shelf:
    """Hands out collections of one store; whoever is refused goes on without, and asks again later.

    `say` hears what a person should know, once each time: that vectors are out of reach, why, and that they
    are back. A collection that raised is asked for anew, and may be empty then.
    """

    def __init__(
        self,
        folder: Path,
        host: str | None = None,
        port: int = 8001,
        say: Callable[[str], None] = lambda text: None,
        cool_down: float = COOL_DOWN,
    ) -> None:
        self._place = (folder, host, port)
        self._say = say
        self._cool_down = cool_down
        self._lock = Lock()
        self._vectors: Vectors | None = None
        self._refused: VectorsUnavailable | None = None
        self._again = 0.0

    def collection(self, name: str, dimension: int) -> Collection:
        """Open a collection; raises VectorsUnavailable, within the cool-down without trying.

        It may take seconds, so whoever must not wait keeps the collection that was opened before.
        """
        with self._lock:
            try:
                return self._opened().collection(name, dimension)
            except VectorsUnavailable as error:
                self._refuse(error)
                raise

    def close(self) -> None:
        """Let the store go; the next one that asks opens it again."""
        with self._lock:
            self._drop()
            self._again = 0.0

    def _opened(self) -> Vectors:
        if self._vectors is not None and self._vectors.lost is not None:
            self._refuse(self._vectors.lost)
        if self._refused is not None and time.monotonic() < self._again:
            raise VectorsUnavailable(str(self._refused)) from self._refused
        if self._vectors is None:
            self._vectors = Vectors.open(*self._place)
            if self._vectors.note:
                self._say(self._vectors.note)
            elif self._refused is not None:
                self._say("vectors can be searched again")
            self._refused = None
        return self._vectors

    def _refuse(self, error: VectorsUnavailable) -> None:
        self._drop()
        if time.monotonic() < self._again:
            return
        self._again = time.monotonic() + self._cool_down
        if self._refused is None or str(self._refused) != str(error):
            self._say(f"{error}; full text is searched without vectors")
        self._refused = error

    def _drop(self) -> None:
        if self._vectors is not None:
            self._vectors.close()
            self._vectors = None
