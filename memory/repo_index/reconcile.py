"""Brings an index up to the disk: what differs is read, cut and written, in batches that each stand."""

import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from memory.chunks import Chunk, Chunker
from memory.repo_index import files
from memory.repo_index.base import Changes, Progress
from memory.repo_index.files import Content, Stat
from memory.repo_index.ignore import Ignore
from memory.repo_index.store import Store

_AT_ONCE = 64
_SETTLED = 200_000_000
"""Nanoseconds after which another change of a file is sure to have another time."""


@dataclass(frozen=True)
class _Ready:
    """A file, read; `chunks` is None where its content is indexed already."""

    path: str
    content: Content | None
    chunks: list[Chunk] | None


@dataclass
class Reconciler:
    """Compares a folder with its index; `leave_out` is the folder of the indexes, should it lie within."""

    root: Path
    store: Store
    chunker: Chunker
    leave_out: Path

    def run(self, paths: Collection[str] | None, progress: Progress) -> Changes:
        """Reconcile everything, or what is at and below some paths."""
        if paths is not None and any(path.rpartition("/")[2] == ".gitignore" for path in paths):
            paths = None
        known = self.store.files(paths)
        ignore = Ignore(self.root)
        seen: dict[str, Stat] = {}
        for place in [""] if paths is None else paths:
            seen.update(files.below(self.root, place, ignore, self.leave_out))
        stale = sorted(path for path, stat in seen.items() if path not in known or known[path][0] != stat)
        gone = {path for path in known if path not in seen}
        changed: list[str] = []
        for done, batch in self._ready(stale):
            with self.store.transaction():
                for ready in batch:
                    if ready.content is None:
                        gone.update({ready.path} & known.keys())
                    elif (
                        self._write(ready, ready.content)
                        and ready.content.blob != known.get(ready.path, ("", ""))[1]
                    ):
                        changed.append(ready.path)
            progress(done, len(stale))
        if gone:
            with self.store.transaction():
                self.store.remove(gone)
        if paths is None and (gone or changed):
            with self.store.transaction():
                self.store.forget()
        return Changes(tuple(changed), tuple(sorted(gone)))

    def _ready(self, paths: Sequence[str]) -> Iterator[tuple[int, list[_Ready]]]:
        """Read and cut batches ahead of their being written: that is another process's work."""
        batches = [paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE)]
        if len(batches) == 1:
            yield len(paths), self._read(batches[0])
            return
        done = 0
        with ThreadPoolExecutor(1, thread_name_prefix="index") as ahead:
            waiting = [ahead.submit(self._read, batch) for batch in batches[:2]]
            for number, batch in enumerate(batches):
                ready = waiting.pop(0).result()
                if number + 2 < len(batches):
                    waiting.append(ahead.submit(self._read, batches[number + 2]))
                done += len(batch)
                yield done, ready

    def _read(self, paths: Sequence[str]) -> list[_Ready]:
        found = []
        for path in paths:
            content = files.read(self.root, path)
            chunks = None
            if content and not self.store.knows(path, content.blob):
                chunks = self.chunker.chunks(path, content.text)
            found.append(_Ready(path, content, chunks))
        return found

    def _write(self, ready: _Ready, content: Content) -> bool:
        stat = content.stat
        if time.time_ns() - max(stat.mtime, stat.ctime) < _SETTLED:
            stat = replace(stat, ctime=0)
        if ready.chunks is None:
            return self.store.put(ready.path, stat, content.blob)
        self.store.add(ready.path, stat, content.blob, ready.chunks)
        return True
