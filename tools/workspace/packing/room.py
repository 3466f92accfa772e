"""The space that the files of a snapshot take."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from tools.workspace.errors import WorkspaceError

BLOCK = 4096
"""Bytes of a block. In a tmpfs every file takes whole blocks."""

MAX_WORKSPACE_MB = 2048
_NAMED = 5


@dataclass(frozen=True)
class Room:
    """Number of files, the bytes of their blocks, and the largest files with their sizes."""

    files: int
    bytes: int
    largest: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, sizes: Iterable[tuple[str, int]]) -> "Room":
        """Add up paths with their sizes."""
        files = total = 0
        largest: list[tuple[int, str]] = []
        for path, size in sizes:
            files += 1
            total += max(1, -(-size // BLOCK)) * BLOCK
            if len(largest) < _NAMED:
                heapq.heappush(largest, (size, path))
            elif size > largest[0][0]:
                heapq.heapreplace(largest, (size, path))
        return cls(files, total, tuple((path, size) for size, path in sorted(largest, reverse=True)))

    def check(self, most_mb: int) -> None:
        """Raise WorkspaceError if the files take more than `most_mb` MiB."""
        if self.bytes <= most_mb << 20:
            return
        named = ", ".join(f"{shown(path)} ({_megabytes(size)})" for path, size in self.largest)
        raise WorkspaceError(
            f"the {self.files:,} files of this repository take {_megabytes(self.bytes)}, and a sandbox gets "
            f"no more than {most_mb:,} MB of files. The largest are {named}. Remove large files from the "
            "repository, or raise MAX_WORKSPACE_MB"
        )


def shown(path: str) -> str:
    """Return a path that can be printed."""
    short = path if len(path) <= 200 else f"{path[:100]}…{path[-99:]}"
    return short if short.isprintable() else repr(short)


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MB"
