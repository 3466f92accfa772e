"""All live indexes of a process, and the pool of vectors that they share."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock

from memory.live.live_index import ChangeListener, LiveIndex
from memory.repo_index import IndexSettings, RepoIndex
from memory.vectors import VectorPool


class LiveIndexes:
    """Live indexes by their root.

    `notify` receives messages for people. Vectors start `delay` seconds after the text, because importing
    Chroma does not pay for a process that has ended by then.
    """

    def __init__(self, settings: IndexSettings, notify: Callable[[str], None], delay: float = 0.0) -> None:
        self.vectors = VectorPool(settings.chroma, settings.chroma_host, settings.chroma_port, notify)
        self._settings = settings
        self._notify = notify
        self._delay = delay
        self._lock = Lock()
        self._live: dict[Path, LiveIndex[RepoIndex]] = {}

    def of(self, root: Path, listener: ChangeListener | None = None) -> LiveIndex[RepoIndex]:
        """Return a folder's index at once. It is brought up to date in the background.

        Raises RepoIndexError.
        """
        root = root.resolve()
        with self._lock:
            if root not in self._live:
                index = RepoIndex(root, self._settings, self.vectors.collection)
                self._live[root] = LiveIndex(index, self._notify, listener, self._delay).start()
            return self._live[root]

    def close(self) -> None:
        """Stop all indexes, also in the middle of their work."""
        with self._lock:
            for live in self._live.values():
                live.close()
            self._live.clear()
            self.vectors.close()
