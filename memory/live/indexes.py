"""All live indexes of a process, and the one store that their vectors share."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock

from memory.live.live_index import Listener, LiveIndex
from memory.repo_index import IndexSettings, RepoIndex
from memory.vectors import Shelf


class Indexes:
    """Live indexes by their root. Whoever opens it closes it."""

    def __init__(self, settings: IndexSettings, say: Callable[[str], None], patience: float = 0.0) -> None:
        self.shelf = Shelf(settings.chroma, settings.chroma_host, settings.chroma_port, say)
        self._settings = settings
        self._say = say
        self._patience = patience
        self._lock = Lock()
        self._live: dict[Path, LiveIndex[RepoIndex]] = {}

    @classmethod
    def open(cls, settings: IndexSettings, say: Callable[[str], None], patience: float = 0.0) -> "Indexes":
        """Open none yet; `say` hears what a person should know about any of them.

        Vectors begin `patience` seconds after the text: a process that is over by then does without them.
        """
        return cls(settings, say, patience)

    def of(self, root: Path, listener: Listener | None = None) -> LiveIndex[RepoIndex]:
        """Give a folder's index at once, to be brought up to date in the background.

        Raises RepoIndexError.
        """
        root = root.resolve()
        with self._lock:
            if root not in self._live:
                index = RepoIndex.open(root, self._settings, self.shelf.collection)
                self._live[root] = LiveIndex(index, self._say, listener, self._patience).start()
            return self._live[root]

    def close(self) -> None:
        """End them all, also in the middle of their work."""
        with self._lock:
            for live in self._live.values():
                live.close()
            self._live.clear()
            self.shelf.close()
