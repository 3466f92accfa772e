"""One repository's index in SQLite: files, their versions and chunks, full text and vectors."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from heapq import nlargest
from pathlib import Path
from threading import RLock
from typing import Any, Literal

from memory.chunks import Chunk
from memory.chunks.words import words
from memory.embeddings.base import Vectors
from memory.repo_index import schema, shared_vectors
from memory.repo_index.files import FileStat
from memory.repo_index.vector_codec import packed, similarity, unpacked
from memory.secrets import mask_tokens

_KEEP_SECONDS = 7 * 86_400.0
_KEEP_VERSIONS = 1_000
_MANY = 500
"""Values that one statement takes at most."""


@dataclass(frozen=True)
class StoredChunk:
    """A chunk with its id and its key. `doc` is the id of the version of the file that it belongs to."""

    id: int
    doc: int
    path: str
    chunk: Chunk
    key: str


class IndexStore:
    """One connection that writes and one that reads. Any thread may use both."""

    def __init__(self, path: Path | None) -> None:
        """Open or create the file, or keep everything in memory. Raises sqlite3.Error."""
        self._path = path
        self._writer, self._writing = schema.connect(path), RLock()
        self._reader, self._reading = self._writer, self._writing
        try:
            schema.create(self._writer)
            if path:
                self._reader, self._reading = schema.connect(path), RLock()
        except BaseException:
            self._writer.close()
            raise

    def close(self) -> None:
        """Close both connections."""
        with self._writing, self._reading:
            self._writer.close()
            self._reader.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything that is written within, or nothing."""
        with self._writing:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")

    # The methods from here to `inherit` write. They need a transaction.

    def put(self, path: str, stat: FileStat, blob: str) -> bool:
        """Record a file whose content is indexed. Return False if it is not."""
        doc = self._doc(path, blob)
        if doc is not None:
            self.remove([path])
            row = (path, doc, stat.size, stat.mtime, stat.inode, stat.ctime)
            self._writer.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)", row)
        return doc is not None

    def add(self, path: str, blob: str, chunks: Sequence[Chunk]) -> None:
        """Index a version of a file, which the disk need not have. `put` records that it has."""
        if self._doc(path, blob) is not None:
            return
        # `words` is always 0. The column stays so that indexes of earlier releases stay valid.
        insert = self._writer.execute(
            "INSERT INTO docs (path, blob, words, chunks, used) VALUES (?, ?, 0, ?, ?)",
            (path, blob, len(chunks), time.time()),
        )
        doc = insert.lastrowid or 0
        chunks = [replace(chunk, text=mask_tokens(chunk.text)) for chunk in chunks]
        start = self._writer.execute("SELECT coalesce(max(id), 0) + 1 FROM chunks").fetchone()[0]
        self._writer.executemany(
            "INSERT INTO chunks (id, doc, symbol, first, last, outline, text, key) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (id, doc, c.symbol, c.first, c.last, c.outline, c.text, _key_of(path, c))
                for id, c in enumerate(chunks, start)
            ],
        )
        self._writer.executemany(
            "INSERT INTO words (rowid, path, symbol, body) VALUES (?, ?, ?, ?)",
            [(id, *_row_of(path, chunk)) for id, chunk in enumerate(chunks, start)],
        )

    def remove(self, paths: Collection[str]) -> None:
        """Remove files. Their content stays indexed for a week, for snapshots and for branch switches."""
        for path in paths:
            self._writer.execute(
                "UPDATE docs SET used = ? WHERE id = (SELECT doc FROM files WHERE path = ?)",
                (time.time(), path),
            )
            self._writer.execute("DELETE FROM files WHERE path = ?", (path,))

    def forget(self) -> None:
        """Delete versions that no file has had for a week, and the oldest beyond the number of files."""
        unused = "SELECT id, used FROM docs WHERE id NOT IN (SELECT doc FROM files) ORDER BY used DESC"
        rows = self._writer.execute(unused).fetchall()
        room = max(_KEEP_VERSIONS, self._writer.execute("SELECT count(*) FROM files").fetchone()[0])
        oldest = time.time() - _KEEP_SECONDS
        gone = [(doc,) for number, (doc, used) in enumerate(rows) if number >= room or used < oldest]
        words = "DELETE FROM words WHERE rowid IN (SELECT id FROM chunks WHERE doc = ?)"
        for statement in (words, "DELETE FROM chunks WHERE doc = ?", "DELETE FROM docs WHERE id = ?"):
            self._writer.executemany(statement, gone)
        if gone:
            self._writer.execute("DELETE FROM vectors WHERE key NOT IN (SELECT key FROM chunks)")

    def keep(self, model: str, keys: Sequence[str], rows: Vectors) -> None:
        """Store vectors."""
        self._writer.executemany(
            "INSERT OR REPLACE INTO vectors (model, key, vector) VALUES (?, ?, ?)",
            [(model, key, packed(row)) for key, row in zip(keys, rows, strict=True)],
        )

    def inherit(self, model: str) -> int:
        """Give the chunks of moved files the vectors of their old paths. Return how many got one."""
        return self._writer.execute(_MOVED, (model,)).rowcount

    def borrow(self, model: str, keys: Iterable[str]) -> int:
        """Copy the vectors of these keys from other indexes. Must not run within a transaction.

        Return how many were found.
        """
        if not self._path:
            return 0
        with self._writing:
            return shared_vectors.borrow(self._writer, self._path, model, keys)

    def _doc(self, path: str, blob: str) -> int | None:
        query = "SELECT id FROM docs WHERE path = ? AND blob = ?"
        row: tuple[int] | None = self._writer.execute(query, (path, blob)).fetchone()
        return row[0] if row else None

    # The methods from here on read.

    def read(self, statement: str, values: Iterable[object] = ()) -> list[tuple[Any, ...]]:
        """Run a query."""
        with self._reading:
            return self._reader.execute(statement, tuple(values)).fetchall()

    def files(self, paths: Collection[str] | None = None) -> dict[str, tuple[FileStat, str]]:
        """Return stat and blob id of all files, or of those at and below some paths."""
        query = "SELECT files.path, size, mtime, inode, ctime, blob FROM files JOIN docs ON docs.id = doc"
        if paths is None:
            rows = self.read(query)
        else:
            # "0" is the character after "/", so the range holds all that lies below the path.
            below = f"{query} WHERE files.path = ? OR (files.path > ? AND files.path < ?)"
            rows = [row for path in paths for row in self.read(below, (path, f"{path}/", f"{path}0"))]
        return {path: (FileStat(*stat), blob) for path, *stat, blob in rows}

    def knows(self, path: str, blob: str) -> bool:
        """Return True if `put` will find this content."""
        return bool(self.read("SELECT id FROM docs WHERE path = ? AND blob = ?", (path, blob)))

    def counts(self, model: str) -> tuple[int, int, int]:
        """Return the number of files, of their chunks, and of the chunks that a model has embedded."""
        row = self.read("SELECT count(*), coalesce(sum(chunks), 0) FROM files JOIN docs ON docs.id = doc")[0]
        return *row, self.read(f"SELECT count(*) FROM ({_EMBEDDED})", [model])[0][0]

    def missing(self, model: str) -> list[str]:
        """Return the keys of the files' chunks that a model has not embedded, those of short texts first."""
        rows = self.read(_MISSING, [model])
        return [key for (key,) in rows]

    def texts(self, keys: Sequence[str]) -> dict[str, str]:
        """Return the texts to embed for some keys."""
        return {each.key: embedded_text(each.path, each.chunk) for each in self.chunks("key", keys)}

    def keys(self, model: str) -> set[str]:
        """Return the keys of the files' chunks that a model has embedded."""
        return {row[0] for row in self.read(_EMBEDDED, [model])}

    def embeddings(self, model: str, keys: Sequence[str], dimension: int) -> dict[str, Vectors]:
        """Return the stored vectors of some keys."""
        rows = self._in("SELECT key, vector FROM vectors WHERE model = ? AND key", keys, model)
        return {key: unpacked(data, dimension) for key, data in rows}

    def embedded(self, model: str, keys: Sequence[str]) -> set[str]:
        """Return those of some keys that a model has embedded."""
        return {key for (key,) in self._in("SELECT key FROM vectors WHERE model = ? AND key", keys, model)}

    def holding(self, word: str) -> int:
        """Count the chunks that hold a word."""
        return int(self.read("SELECT count(*) FROM words WHERE words MATCH ?", [f'"{word}"'])[0][0])

    def size(self) -> int:
        """Count the chunks of all versions."""
        return int(self.read("SELECT count(*) FROM chunks")[0][0])

    def nearest(self, model: str, embedding: Vectors, k: int) -> list[tuple[str, float]]:
        """Return the nearest keys with their cosine similarity, best first. Compares every vector."""
        rows = self.read("SELECT key, vector FROM vectors WHERE model = ?", [model])
        scored = ((key, similarity(data, embedding)) for key, data in rows)
        return nlargest(k, scored, key=lambda pair: pair[1])

    def matching(self, query: str, limit: int) -> list[tuple[int, float]]:
        """Return the ids of the chunks that match a full-text query best, with scores. Higher is better."""
        return self.read(
            "SELECT rowid, -bm25(words) AS score FROM words WHERE words MATCH ? ORDER BY score DESC LIMIT ?",
            (query, limit),
        )

    def chunks(
        self, column: Literal["chunks.id", "docs.id", "key"], values: Sequence[object]
    ) -> list[StoredChunk]:
        """Return the chunks whose id, version or key is one of the values. Several chunks may share a key."""
        return [_chunk(row) for row in self._in(f"{_CHUNKS} WHERE {column}", values)]

    def _in(self, query: str, values: Sequence[object], *before: object) -> list[tuple[Any, ...]]:
        """Run a query that ends with a column, for the rows whose column is one of the values."""
        rows = []
        for start in range(0, len(values), _MANY):
            some = values[start : start + _MANY]
            rows += self.read(f"{query} IN ({', '.join('?' * len(some))})", (*before, *some))
        return rows

    def current(self) -> dict[str, int]:
        """Return the id of the version of each file on the disk."""
        return dict(self.read("SELECT path, doc FROM files"))

    def versions(self, files: Mapping[str, str]) -> dict[str, int]:
        """Return the ids of those versions of `files` (blob id by path) that are indexed."""
        rows = self.read("SELECT path, blob, id FROM docs")
        return {path: doc for path, blob, doc in rows if files.get(path) == blob}


_MOVED = """
INSERT OR IGNORE INTO vectors (model, key, vector)
SELECT model, new.key, vector
FROM files JOIN docs AS here ON here.id = files.doc
JOIN docs AS gone ON gone.blob = here.blob AND gone.id NOT IN (SELECT doc FROM files)
JOIN chunks AS new ON new.doc = here.id
JOIN chunks AS old ON old.doc = gone.id
  AND old.first = new.first AND old.symbol = new.symbol AND old.text = new.text
JOIN vectors ON model = ? AND vectors.key = old.key
"""
_EMBEDDED = (
    "SELECT chunks.key FROM files JOIN chunks ON chunks.doc = files.doc "
    "JOIN vectors ON vectors.key = chunks.key AND model = ?"
)
_MISSING = (
    "SELECT chunks.key FROM files JOIN chunks ON chunks.doc = files.doc WHERE NOT EXISTS "
    "(SELECT * FROM vectors WHERE model = ? AND vectors.key = chunks.key) "
    "GROUP BY chunks.key ORDER BY length(text)"
)
_CHUNKS = (
    "SELECT chunks.id, docs.id, docs.path, symbol, first, last, text, outline, key "
    "FROM chunks JOIN docs ON docs.id = chunks.doc"
)


def _chunk(row: tuple[Any, ...]) -> StoredChunk:
    id, doc, path, symbol, first, last, text, outline, key = row
    return StoredChunk(id, doc, path, Chunk(symbol, first, last, text, bool(outline)), key)


def embedded_text(path: str, chunk: Chunk) -> str:
    """Return the text that is embedded for a chunk."""
    # Without the path, fewer files are found.
    return f"# {path} {chunk.symbol}\n{chunk.text}"


def _key_of(path: str, chunk: Chunk) -> str:
    """Return the hash of the text that is embedded, so that equal texts share one vector."""
    return sha256(embedded_text(path, chunk).encode()).hexdigest()[:32]


def _row_of(path: str, chunk: Chunk) -> tuple[str, str, str]:
    """Return the words of path, symbol and body for the full-text table."""
    return " ".join(words(path)), " ".join(words(chunk.symbol)), " ".join(words(chunk.text))
