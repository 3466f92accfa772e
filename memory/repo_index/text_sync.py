"""Bring full text up to date with the disk: read, cut and write changed files in batches."""

import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from memory.chunks import Chunk, Chunker
from memory.repo_index import files
from memory.repo_index.files import FileContent, FileStat
from memory.repo_index.ignore import Ignore
from memory.repo_index.index_store import IndexStore
from memory.repo_index.index_types import Changes, ProgressCallback

_BATCH = 64
_SETTLED = 200_000_000
"""Nanoseconds after which another change of a file is sure to have another time."""


@dataclass
class TextSync:
    """Compares a folder with its index. `leave_out` is the folder of the indexes, which may lie within."""

    root: Path
    store: IndexStore
    chunker: Chunker
    leave_out: Path

    def run(self, paths: Collection[str] | None, progress: ProgressCallback) -> Changes:
        """Synchronise everything, or what is at and below some paths."""
        if paths is not None and any(path.rpartition("/")[2] == ".gitignore" for path in paths):
            paths = None
        known = self.store.files(paths)
        ignore = Ignore.of_folder(self.root)
        present: dict[str, FileStat] = {}
        for path in [""] if paths is None else paths:
            present.update(files.walk(self.root, path, ignore, self.leave_out))
        stale = sorted(path for path, stat in present.items() if path not in known or known[path][0] != stat)
        gone = known.keys() - present.keys()
        changed: list[str] = []
        for start in range(0, len(stale), _BATCH):
            batch = [self._read(path) for path in stale[start : start + _BATCH]]
            with self.store.transaction():
                for path, content, chunks in batch:
                    if content is None:
                        gone.update({path} & known.keys())
                    elif self._write(path, content, chunks) and known.get(path, ())[1:] != (content.blob,):
                        changed.append(path)
            progress(start + len(batch), len(stale))
        if gone or changed:
            with self.store.transaction():
                self.store.remove(gone)
                if paths is None:
                    self.store.forget()
        return Changes(tuple(changed), tuple(sorted(gone)))

    def _read(self, path: str) -> tuple[str, FileContent | None, list[Chunk] | None]:
        """Read and cut a file. The chunks are None if its content is indexed already."""
        content = files.read(self.root, path)
        if content is None or self.store.knows(path, content.blob):
            return path, content, None
        return path, content, self.chunker.chunks(path, content.text)

    def _write(self, path: str, content: FileContent, chunks: list[Chunk] | None) -> bool:
        stat = content.stat
        if time.time_ns() - max(stat.mtime, stat.ctime) < _SETTLED:
            # A second write within the clock's resolution keeps the time, so the file is read again later.
            stat = replace(stat, ctime=0)
        if chunks is not None:
            self.store.add(path, content.blob, chunks)
        return self.store.put(path, stat, content.blob)
