"""Bring full text up to date with the disk: read, cut and write changed files in batches."""

import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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


@dataclass(frozen=True)
class _ReadFile:
    """A file that was read. `chunks` is None if its content is indexed already."""

    path: str
    content: FileContent | None
    chunks: list[Chunk] | None


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
        ignore = Ignore(self.root)
        present: dict[str, FileStat] = {}
        for path in [""] if paths is None else paths:
            present.update(files.walk(self.root, path, ignore, self.leave_out))
        stale = sorted(path for path, stat in present.items() if path not in known or known[path][0] != stat)
        gone = known.keys() - present.keys()
        changed: list[str] = []
        for done, batch in self._read_ahead(stale):
            with self.store.transaction():
                for file in batch:
                    if file.content is None:
                        gone.update({file.path} & known.keys())
                    elif self._write(file, file.content):
                        before = known.get(file.path)
                        if before is None or before[1] != file.content.blob:
                            changed.append(file.path)
            progress(done, len(stale))
        if gone:
            with self.store.transaction():
                self.store.remove(gone)
        if paths is None and (gone or changed):
            with self.store.transaction():
                self.store.forget()
        return Changes(tuple(changed), tuple(sorted(gone)))

    def _read_ahead(self, paths: Sequence[str]) -> Iterator[tuple[int, list[_ReadFile]]]:
        """Yield batches of files. The next two are read and cut while one is written."""
        batches = [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
        if len(batches) == 1:
            yield len(paths), self._read(batches[0])
            return
        done = 0
        with ThreadPoolExecutor(1, thread_name_prefix="index") as reader:
            waiting = [reader.submit(self._read, batch) for batch in batches[:2]]
            for number, batch in enumerate(batches):
                read = waiting.pop(0).result()
                if number + 2 < len(batches):
                    waiting.append(reader.submit(self._read, batches[number + 2]))
                done += len(batch)
                yield done, read

    def _read(self, paths: Sequence[str]) -> list[_ReadFile]:
        read = []
        for path in paths:
            content = files.read(self.root, path)
            chunks = None
            if content and not self.store.knows(path, content.blob):
                chunks = self.chunker.chunks(path, content.text)
            read.append(_ReadFile(path, content, chunks))
        return read

    def _write(self, file: _ReadFile, content: FileContent) -> bool:
        stat = content.stat
        if time.time_ns() - max(stat.mtime, stat.ctime) < _SETTLED:
            # A second write within the clock's resolution keeps the time, so the file is read again later.
            stat = replace(stat, ctime=0)
        if file.chunks is None:
            return self.store.put(file.path, stat, content.blob)
        self.store.add(file.path, stat, content.blob, file.chunks)
        return True
