"""Chunks as they are kept: what they are named by, what is searched of them, and what they have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from math import log

from memory.chunks import Chunk
from memory.chunks.words import words


@dataclass(frozen=True)
class Found:
    """A chunk as it is kept; `doc` is the version of a file that it belongs to."""

    id: int
    doc: int
    path: str
    chunk: Chunk
    key: str


COLUMNS = ("path", "symbol", "body")


def embedded_text(path: str, chunk: Chunk) -> str:
    """The text of a chunk that becomes its vector."""
    return f"# {path} {chunk.symbol}\n{chunk.text}"


def key_of(path: str, chunk: Chunk) -> str:
    """Name a chunk by what becomes its vector."""
    return sha256(embedded_text(path, chunk).encode()).hexdigest()[:32]


def row_of(path: str, chunk: Chunk) -> tuple[str, str, str]:
    """A chunk's words as full text takes them: of its path, its symbol and its body."""
    return " ".join(words(path)), " ".join(words(chunk.symbol)), " ".join(words(chunk.text))


def length_of(row: tuple[str, str, str]) -> int:
    """Count a chunk's words."""
    return sum(column.count(" ") + 1 for column in row if column)


@dataclass(frozen=True)
class Corpus:
    """What all chunks of an index have in common: their number, their length in words, their words."""

    chunks: int
    length: float
    holding: Callable[[str], int]

    def rarity(self, word: str, more_holding: int = 0, more: int = 0) -> float:
        """A word's inverse document frequency as SQLite has it, with `more` chunks beside the index's."""
        holding = self.holding(word) + more_holding
        return max(log((self.chunks + more - holding + 0.5) / (holding + 0.5)), 1e-6)
