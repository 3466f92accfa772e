"""What a snapshot has and the index has not: chunks in memory, scored as if they were in the index."""

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
from memory.repo_index.base import View
from memory.repo_index.files import decoded, is_wanted
from memory.repo_index.index_rows import COLUMNS, Corpus, Found, embedded_text, key_of, length_of, row_of
from memory.repo_index.search import WEIGHTS, Hits
from memory.repo_index.store import Store

_FILES = 300
"""Files of one snapshot that are cut at most."""
_SECONDS = 1.5
"""How long one search may cut files; what is left over is for the next one."""
_REMEMBERED = 2_000
_EMBEDDED_AT_ONCE = 64
_K1, _B = 1.2, 0.75
"""Of BM25, as SQLite has them."""


@dataclass(frozen=True)
class Piece:
    """The part of a snapshot that was cut, and how many of its files were left out."""

    chunks: list[Found]
    left_out: int


class Overlay:
    """Files by path and blob id; chunks and versions have negative ids, so that they meet none on disk."""

    def __init__(self) -> None:
        self._chunker, self._lock, self._next = Chunker(), RLock(), count(1)
        self._docs: dict[tuple[str, str], list[Found]] = {}
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
        """End the parser and drop what is remembered."""
        with self._lock:
            self._chunker.close()
            self._words.close()

    def cut(self, view: View, indexed: Mapping[str, int]) -> Piece:
        """Cut the files of a snapshot that are not indexed as they are there."""
        with self._lock:
            lacking = [pair for pair in view.files.items() if pair[0] not in indexed and is_wanted(pair[0])]
            late, left_out = time.monotonic() + _SECONDS, max(len(lacking) - _FILES, 0)
            found: list[Found] = []
            for path, blob in sorted(lacking)[:_FILES]:
                if (path, blob) not in self._docs:
                    if time.monotonic() > late:
                        left_out += 1
                        continue
                    self._docs[path, blob] = self._cut(path, view)
                found += self._docs[path, blob]
            return Piece(found, left_out)

    def _cut(self, path: str, view: View) -> list[Found]:
        while len(self._docs) >= _REMEMBERED:
            for old in self._docs.pop(next(iter(self._docs))):
                self._words.execute("DELETE FROM words WHERE rowid = ?", (-old.id,))
                self._vectors.pop(old.key, None)
                del self._lengths[-old.id]
        text = decoded(view.read(path))
        doc, chunks = -next(self._next), self._chunker.chunks(path, text) if text else []
        found = [Found(-next(self._next), doc, path, chunk, key_of(path, chunk)) for chunk in chunks]
        for one in found:
            row = row_of(path, one.chunk)
            self._lengths[-one.id] = length_of(row)
            self._words.execute(
                "INSERT INTO words (rowid, path, symbol, body) VALUES (?, ?, ?, ?)", (-one.id, *row)
            )
        return found

    def by_words(self, piece: Piece, asked: Sequence[str], corpus: Corpus) -> Hits:
        """Find chunks by their words: BM25 with the index's own frequencies."""
        known, scores = {-one.id: one for one in piece.chunks}, defaultdict[int, float](float)
        with self._lock:
            for word in asked:
                times = self._times(word, known)
                rarity = corpus.rarity(word, len(times), len(known))
                for number, frequency in times.items():
                    length = 1 - _B + _B * self._lengths[number] / (corpus.length or self._lengths[number])
                    scores[number] += rarity * frequency * (_K1 + 1) / (frequency + _K1 * length)
        return Hits(sorted(((known[n], score) for n, score in scores.items()), key=lambda pair: -pair[1]))

    def by_meaning(self, piece: Piece, embedder: Embedder, query: Vectors, store: Store) -> Hits:
        """Find chunks by their vectors; of those without one, a few get theirs now; raises EmbeddingError."""
        with self._lock:
            lacking = {one.key: one for one in piece.chunks if one.key not in self._vectors}
            self._vectors.update(store.embeddings(embedder.key, list(lacking), embedder.dimension))
            some = [one for key, one in lacking.items() if key not in self._vectors][:_EMBEDDED_AT_ONCE]
            rows = embedder.embed([embedded_text(one.path, one.chunk) for one in some])
            self._vectors.update(zip((one.key for one in some), rows, strict=True))
            near = [
                (one, float(self._vectors[one.key] @ query))
                for one in piece.chunks
                if one.key in self._vectors
            ]
        return Hits(sorted(near, key=lambda pair: -pair[1]))

    def _times(self, word: str, known: Mapping[int, Found]) -> dict[int, float]:
        """How often each chunk holds a word, by the weights of where it stands."""
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
