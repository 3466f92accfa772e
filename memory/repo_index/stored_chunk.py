"""A chunk as the index stores it, with its key and its searchable words."""

from dataclasses import dataclass
from hashlib import sha256

from memory.chunks import Chunk
from memory.chunks.words import words


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
