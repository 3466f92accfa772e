"""Search in the files of a snapshot that are not indexed: scored like those of the index."""

import sqlite3
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from threading import RLock

from memory.chunks import Chunker
from memory.embeddings import Embedder
from memory.embeddings.base import Vectors
from memory.repo_index.files import decoded, is_wanted
from memory.repo_index.index_store import IndexStore
from memory.repo_index.index_types import SnapshotView
from memory.repo_index.search import WEIGHTS, Hits
from memory.repo_index.stored_chunk import (
    COLUMNS,
    Corpus,
    StoredChunk,
    embedded_text,
    key_of,
    length_of,
    row_of,
)

_FILES = 300
"""Files of one snapshot that are cut at most."""
_SECONDS = 1.5
"""Time in which one search may cut files. The next search cuts the rest."""
_REMEMBERED = 2_000
_EMBEDDED_AT_ONCE = 64
_K1, _B = 1.2, 0.75
"""SQLite's constants for BM25."""


@dataclass(frozen=True)
class CutFiles:
    """The chunks of a snapshot's own files, and the number of files that were left out."""

    chunks: list[StoredChunk]
    left_out: int


class Overlay:
    """A cache of cut files by path and blob id. Their ids are negative, so that they equal none on disk."""

    def __init__(self) -> None:
        self._chunker, self._lock, self._next = Chunker(), RLock(), count(1)
        self._docs: dict[tuple[str, str], list[StoredChunk]] = {}
        self._lengths: dict[int, int] = {}
        self._vectors: dict[str, Vectors] = {}
        self._words = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        for table in ("words", "stems"):
            self._words.execute(
                f"CREATE VIRTUAL TABLE {table} USING fts5 (path, symbol, body, tokenize = 'porter unicode61')"
            )
        self._words.execute("CREATE VIRTUAL TABLE places USING fts5vocab (words, 'instance')")
        self._words.execute("CREATE VIRTUAL TABLE stem USING fts5vocab (stems, 'row')")

    def close(self) -> None:
        """Stop the parser and drop the cache."""
        with self._lock:
            self._chunker.close()
            self._words.close()

    def cut(self, view: SnapshotView, indexed: Mapping[str, int]) -> CutFiles:
        """Cut the files of a snapshot whose content is not indexed."""
        with self._lock:
            lacking = [pair for pair in view.files.items() if pair[0] not in indexed and is_wanted(pair[0])]
            deadline, left_out = time.monotonic() + _SECONDS, max(len(lacking) - _FILES, 0)
            chunks: list[StoredChunk] = []
            for path, blob in sorted(lacking)[:_FILES]:
                if (path, blob) not in self._docs:
                    if time.monotonic() > deadline:
                        left_out += 1
                        continue
                    self._docs[path, blob] = self._cut(path, view)
                chunks += self._docs[path, blob]
            return CutFiles(chunks, left_out)

    def _cut(self, path: str, view: SnapshotView) -> list[StoredChunk]:
        while len(self._docs) >= _REMEMBERED:  # the oldest file goes first
            for old in self._docs.pop(next(iter(self._docs))):
                self._words.execute("DELETE FROM words WHERE rowid = ?", (-old.id,))
                self._vectors.pop(old.key, None)
                del self._lengths[-old.id]
        text = decoded(view.read(path))
        doc, chunks = -next(self._next), self._chunker.chunks(path, text) if text else []
        stored = [StoredChunk(-next(self._next), doc, path, chunk, key_of(path, chunk)) for chunk in chunks]
        for each in stored:
            row = row_of(path, each.chunk)
            self._lengths[-each.id] = length_of(row)
            self._words.execute(
                "INSERT INTO words (rowid, path, symbol, body) VALUES (?, ?, ?, ?)", (-each.id, *row)
            )
        return stored

    def search_words(self, cut: CutFiles, query: Sequence[str], corpus: Corpus) -> Hits:
        """Find chunks by BM25 with the word statistics of the index, so that scores are comparable."""
        known, scores = {-chunk.id: chunk for chunk in cut.chunks}, defaultdict[int, float](float)
        with self._lock:
            for word in query:
                times = self._frequencies(word, known)
                rarity = corpus.rarity(word, len(times), len(known))
                for number, frequency in times.items():
                    length = 1 - _B + _B * self._lengths[number] / (corpus.length or self._lengths[number])
                    scores[number] += rarity * frequency * (_K1 + 1) / (frequency + _K1 * length)
        return Hits(sorted(((known[n], score) for n, score in scores.items()), key=lambda pair: -pair[1]))

    def search_vectors(self, cut: CutFiles, embedder: Embedder, query: Vectors, store: IndexStore) -> Hits:
        """Find chunks by vectors. Embeds a few of the chunks without one. Raises EmbeddingError."""
        with self._lock:
            lacking = {chunk.key: chunk for chunk in cut.chunks if chunk.key not in self._vectors}
            self._vectors.update(store.embeddings(embedder.key, list(lacking), embedder.dimension))
            some = [chunk for key, chunk in lacking.items() if key not in self._vectors][:_EMBEDDED_AT_ONCE]
            rows = embedder.embed([embedded_text(each.path, each.chunk) for each in some])
            self._vectors.update(zip((chunk.key for chunk in some), rows, strict=True))
            near = [
                (chunk, float(self._vectors[chunk.key] @ query))
                for chunk in cut.chunks
                if chunk.key in self._vectors
            ]
        return Hits(sorted(near, key=lambda pair: -pair[1]))

    def _frequencies(self, word: str, known: Mapping[int, StoredChunk]) -> dict[int, float]:
        """Count a word in each chunk, weighted by the column."""
        # SQLite alone knows the stem of a word, so the word goes through a table of its own.
        self._words.execute("DELETE FROM stems")
        self._words.execute("INSERT INTO stems (body) VALUES (?)", (word,))
        rows = self._words.execute(
            "SELECT doc, col, count(*) FROM places WHERE term IN (SELECT term FROM stem) GROUP BY doc, col"
        )
        times = defaultdict[int, float](float)
        for number, column, frequency in rows:
            if number in known:
                times[number] += WEIGHTS[COLUMNS.index(column)] * frequency
        return times
