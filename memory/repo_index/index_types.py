"""The values that a repository's index takes and returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from memory.embeddings import EmbeddingSettings
from memory.vectors import Collection

Engine = Literal["text", "text and vectors"]
ProgressCallback = Callable[[int, int], None]
"""Receives the number of files or chunks that are done, and the total."""


class RepoIndexError(Exception):
    """The folder cannot be indexed. The message says why and what to do."""


@dataclass(frozen=True)
class IndexSettings:
    """The folders of indexes and of Chroma, and how texts are embedded."""

    folder: Path
    chroma: Path
    embeddings: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    chroma_host: str | None = None
    chroma_port: int = 8001


@dataclass(frozen=True)
class Snippet:
    """Lines `first` to `last` (from 1) of a file, with their symbol if any, and why they were found."""

    path: str
    symbol: str
    first: int
    last: int
    text: str
    score: float
    why: str


PastChange = tuple[str, Sequence[str]]
"""The subject of an earlier commit, and the paths that it changed."""


@dataclass(frozen=True)
class SnapshotView:
    """A snapshot to search instead of the disk: git blob ids by path, and a function that reads a file.

    `past` returns the commits before it, none if they are not known.
    """

    files: Mapping[str, str]
    read: Callable[[str], bytes | None]
    past: Callable[[], Sequence[PastChange]] = tuple


@dataclass(frozen=True)
class Changes:
    """The result of a refresh: new or changed paths, deleted paths, or a `note` why nothing was done."""

    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class IndexStatus:
    """The state of an index. `embedded` is the share of chunks with vectors, `note` says what is missing."""

    files: int
    chunks: int
    embedded: float
    engine: Engine
    note: str


OpenCollection = Callable[[str, int], Collection]
"""Opens the collection of a name and a dimension. Raises VectorsUnavailable."""
