"""Index the files of a snapshot that the disk does not have, so that they are searched like the others."""

import time
from threading import Lock

from memory.chunks import Chunker
from memory.repo_index.files import decoded, is_wanted
from memory.repo_index.index_store import IndexStore
from memory.repo_index.index_types import SnapshotView

_FILES = 300
"""Files of one snapshot that are cut at most. With more, the index is just being made, and no run waits."""
_SECONDS = 1.5
"""Time in which one search may cut files. The next search cuts the rest."""


class SnapshotSync:
    """Cuts files for one search at a time. `left_out` counts the files that the last one left out."""

    def __init__(self) -> None:
        self.left_out = 0
        self._chunker, self._lock = Chunker(), Lock()

    def close(self) -> None:
        """Stop the parser."""
        with self._lock:
            self._chunker.close()

    def versions(self, store: IndexStore, view: SnapshotView) -> dict[str, int]:
        """Return the snapshot's versions of files (ids by path), after indexing those that are not yet."""
        with self._lock:
            known = store.versions(view.files)
            lacking = [pair for pair in view.files.items() if pair[0] not in known and is_wanted(pair[0])]
            deadline, cut = time.monotonic() + _SECONDS, []
            for path, blob in sorted(lacking) if len(lacking) <= _FILES else ():
                if time.monotonic() > deadline:
                    break
                text = decoded(view.read(path))
                cut.append((path, blob, self._chunker.chunks(path, text) if text else []))
            self.left_out = len(lacking) - len(cut)
            if not cut:
                return known
            with store.transaction():
                for file in cut:
                    store.add(*file)
                store.forget()
            return store.versions(view.files)
