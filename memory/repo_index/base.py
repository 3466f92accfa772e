"""The values that a repository's index takes and gives, and the seam to the store of its vectors."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from memory.embeddings import EmbeddingSettings
from memory.embeddings.base import Vectors
from memory.vectors import VectorsUnavailable

__all__ = [
    "Changes",
    "Engine",
    "IndexSettings",
    "OpenCollection",
    "Progress",
    "RepoIndexError",
    "Snippet",
    "Status",
    "VectorCollection",
    "VectorsUnavailable",
    "View",
]

Engine = Literal["text", "text and vectors"]
Progress = Callable[[int, int], None]
"""Is told how many files or chunks are done, and of how many."""


class RepoIndexError(Exception):
    """The folder cannot be indexed; the message says why and what to do."""


@dataclass(frozen=True)
class IndexSettings:
    """Where indexes lie, how texts become vectors, and where the vectors are kept."""

    folder: Path
    chroma: Path
    embeddings: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    chroma_host: str | None = None
    chroma_port: int = 8001


@dataclass(frozen=True)
class Snippet:
    """A piece of a file: lines `first` to `last` (from 1), its symbol if it has one, and why it was found."""

    path: str
    symbol: str
    first: int
    last: int
    text: str
    score: float
    why: str


@dataclass(frozen=True)
class View:
    """A snapshot to search in place of the disk: its paths with their git blob ids, and their contents."""

    files: Mapping[str, str]
    read: Callable[[str], bytes | None]


@dataclass(frozen=True)
class Changes:
    """What a refresh found: paths that are new or differ, paths that are gone; `note` why it did nothing."""

    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Status:
    """How far an index is: `embedded` is the share of chunks with vectors, `note` says what is missing."""

    files: int
    chunks: int
    embedded: float
    engine: Engine
    note: str
    building: bool


class VectorCollection(Protocol):
    """Vectors by id, of one model and dimension; any method may raise VectorsUnavailable."""

    def upsert(self, ids: Sequence[str], embeddings: Vectors) -> None: ...

    def delete(self, ids: Collection[str]) -> None: ...

    def ids(self) -> set[str]: ...

    def query(self, embedding: Vectors, k: int) -> list[tuple[str, float]]:
        """Give the nearest ids with their cosine similarity, best first."""
        ...

    def tidy(self, stop: Callable[[], bool]) -> bool:
        """Make it anew if deletions have piled up, unless `stop` says so; True when that was done."""
        ...


OpenCollection = Callable[[str, int], VectorCollection]
"""Opens the collection of a name and dimension."""
