"""A chunk as the index stores it: its key, its searchable words, and statistics over all chunks."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from math import log

from memory.chunks import Chunk
from memory.chunks.words import words

COLUMNS = ("path", "symbol", "body")


@dataclass(frozen=True)
class StoredChunk:
    """A chunk with its id and its key. `doc` is the id of the version of the file that it belongs to."""

    id: int
    doc: int
    path: str
    chunk: Chunk
    key: str


def embedded_text(path: str, chunk: Chunk) -> str:
    """Return the text that is embedded for a chunk."""
    # Without the path, fewer files are found.
    return f"# {path} {chunk.symbol}\n{chunk.text}"


def key_of(path: str, chunk: Chunk) -> str:
    """Return the hash of the text that is embedded, so that equal texts share one vector."""
    return sha256(embedded_text(path, chunk).encode()).hexdigest()[:32]


def row_of(path: str, chunk: Chunk) -> tuple[str, str, str]:
    """Return the words of path, symbol and body for the full-text table."""
    return " ".join(words(path)), " ".join(words(chunk.symbol)), " ".join(words(chunk.text))


def length_of(row: tuple[str, str, str]) -> int:
    """Count the words of a row."""
    return sum(column.count(" ") + 1 for column in row if column)


@dataclass(frozen=True)
class Corpus:
    """Statistics for BM25: the number of chunks, their mean length, and how many chunks hold a word."""

    chunks: int
    length: float
    holding: Callable[[str], int]

    def rarity(self, word: str, more_holding: int = 0, more: int = 0) -> float:
        """Return SQLite's inverse document frequency, with `more` chunks added to those of the index."""
        holding = self.holding(word) + more_holding
        return max(log((self.chunks + more - holding + 0.5) / (holding + 0.5)), 1e-6)
