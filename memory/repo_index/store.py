"""One repository's index on the disk: files, their chunks, and their words."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

from memory.chunks import Chunk
from memory.embeddings.base import Vectors
from memory.repo_index import schema
from memory.repo_index import shared_vectors as neighbours
from memory.repo_index.files import Stat
from memory.repo_index.index_rows import Corpus, Found, embedded_text, key_of, length_of, row_of
from memory.repo_index.vector_codec import packed, unpacked

_KEEP_SECONDS = 7 * 86_400.0
_MANY = 500
"""Values that one statement is given at most."""


class Store:
    """A connection that writes and one that reads; each for one thread at a time."""

    def __init__(self, path: Path | None) -> None:
        """Open or make the file, or keep all in memory; raises sqlite3.Error."""
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
        """Write all or nothing; another process that writes is waited for."""
        with self._writing:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")

    # What is written; within a transaction.

    def put(self, path: str, found: Stat, blob: str) -> bool:
        """Note a file whose content is indexed, under this path or another; False if it is not."""
        doc = self._doc(path, blob) or self._copy(path, blob)
        if doc is not None:
            self._point(path, found, doc)
        return doc is not None

    def add(self, path: str, found: Stat, blob: str, chunks: Sequence[Chunk]) -> None:
        """Index a file's content."""
        self._point(path, found, self._insert(path, blob, chunks))

    def remove(self, paths: Collection[str]) -> None:
        """Take files out; what was indexed of them is kept for a while."""
        for path in paths:
            self._writer.execute(
                "UPDATE docs SET used = ? WHERE id = (SELECT doc FROM files WHERE path = ?)",
                (time.time(), path),
            )
            self._writer.execute("DELETE FROM files WHERE path = ?", (path,))

    def forget(self) -> None:
        """Drop what no file has had for a week, or more of it than there are files."""
        old = "SELECT id, used FROM docs WHERE id NOT IN (SELECT doc FROM files) ORDER BY used DESC"
        left = self._writer.execute(old).fetchall()
        room = max(1_000, self._writer.execute("SELECT count(*) FROM files").fetchone()[0])
        gone = [
            row[0]
            for number, row in enumerate(left)
            if number >= room or row[1] < time.time() - _KEEP_SECONDS
        ]
        for doc in gone:
            self._writer.execute(
                "DELETE FROM words WHERE rowid IN (SELECT id FROM chunks WHERE doc = ?)", (doc,)
            )
            self._writer.execute("DELETE FROM chunks WHERE doc = ?", (doc,))
            self._writer.execute("DELETE FROM docs WHERE id = ?", (doc,))
        if gone:
            self._writer.execute("DELETE FROM vectors WHERE key NOT IN (SELECT key FROM chunks)")

    def keep(self, model: str, keys: Sequence[str], rows: Vectors) -> None:
        """Keep embeddings."""
        self._writer.executemany(
            "INSERT OR REPLACE INTO vectors (model, key, vector) VALUES (?, ?, ?)",
            [(model, key, packed(row)) for key, row in zip(keys, rows, strict=True)],
        )

    def inherit(self, model: str) -> None:
        """Give the chunks of moved files the embeddings that they had where the files were."""
        self._writer.execute(_MOVED, (model,))

    def borrow(self, model: str, lacking: Iterable[str]) -> None:
        """Give chunks the embeddings that other indexes have of these keys; not within a transaction."""
        if self._path:
            with self._writing:
                neighbours.borrow(self._writer, self._path, model, lacking)

    def _doc(self, path: str, blob: str) -> int | None:
        row = self._writer.execute("SELECT id FROM docs WHERE path = ? AND blob = ?", (path, blob)).fetchone()
        return row and int(row[0])

    def _copy(self, path: str, blob: str) -> int | None:
        """Index content that is known under another path, if that has the same suffix."""
        for doc, other in self._writer.execute(
            "SELECT id, path FROM docs WHERE blob = ?", (blob,)
        ).fetchall():
            if Path(other).suffix == Path(path).suffix:
                rows = self._writer.execute(
                    f"{_CHUNKS} WHERE docs.id = ? ORDER BY chunks.id", (doc,)
                ).fetchall()
                return self._insert(path, blob, [_found(row).chunk for row in rows])
        return None

    def _insert(self, path: str, blob: str, chunks: Sequence[Chunk]) -> int:
        rows = [row_of(path, chunk) for chunk in chunks]
        length = sum(map(length_of, rows))
        insert = self._writer.execute(
            "INSERT INTO docs (path, blob, words, chunks, used) VALUES (?, ?, ?, ?, ?)",
            (path, blob, length, len(chunks), time.time()),
        )
        doc = insert.lastrowid or 0
        start = self._writer.execute("SELECT coalesce(max(id), 0) + 1 FROM chunks").fetchone()[0]
        self._writer.executemany(
            "INSERT INTO chunks (id, doc, symbol, first, last, outline, text, key) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (id, doc, c.symbol, c.first, c.last, c.outline, c.text, key_of(path, c))
                for id, c in enumerate(chunks, start)
            ],
        )
        self._writer.executemany(
            "INSERT INTO words (rowid, path, symbol, body) VALUES (?, ?, ?, ?)",
            [(id, *row) for id, row in enumerate(rows, start)],
        )
        return doc

    def _point(self, path: str, found: Stat, doc: int) -> None:
        self.remove([path])
        self._writer.execute(
            "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)",
            (path, doc, found.size, found.mtime, found.inode, found.ctime),
        )

    # What is read.

    def read(self, statement: str, values: Iterable[object] = ()) -> list[tuple]:  # type: ignore[type-arg]
        """Run a query."""
        with self._reading:
            return self._reader.execute(statement, tuple(values)).fetchall()

    def files(self, paths: Collection[str] | None = None) -> dict[str, tuple[Stat, str]]:
        """Files with what was seen of them and their blob ids: all, or those at and below some paths."""
        every = "SELECT files.path, size, mtime, inode, ctime, blob FROM files JOIN docs ON docs.id = doc"
        if paths is None:
            rows = self.read(every)
        else:
            some = f"{every} WHERE files.path = ? OR (files.path > ? AND files.path < ?)"
            rows = [row for path in paths for row in self.read(some, (path, f"{path}/", f"{path}0"))]
        return {path: (Stat(*seen), blob) for path, *seen, blob in rows}

    def knows(self, path: str, blob: str) -> bool:
        """Tell whether `put` will find this content."""
        others = self.read("SELECT path FROM docs WHERE blob = ?", [blob])
        return any(Path(other).suffix == Path(path).suffix for (other,) in others)

    def counts(self) -> tuple[int, int]:
        """How many files and chunks there are."""
        row = self.read("SELECT count(*), coalesce(sum(chunks), 0) FROM files JOIN docs ON docs.id = doc")[0]
        return row[0], row[1]

    def missing(self, model: str) -> list[tuple[str, str]]:
        """The chunks of files that a model has not embedded: key and text of each."""
        rows = self.read(
            f"{_CHUNKS} JOIN files ON files.doc = docs.id WHERE NOT EXISTS "
            "(SELECT * FROM vectors WHERE model = ? AND vectors.key = chunks.key) GROUP BY key",
            [model],
        )
        return [(found.key, embedded_text(found.path, found.chunk)) for found in map(_found, rows)]

    def keys(self, model: str) -> set[str]:
        """The keys of the disk's chunks that a model has embedded."""
        return {row[0] for row in self.read(_EMBEDDED, [model])}

    def share(self, model: str) -> float:
        """How many of the disk's chunks a model has embedded, from 0 to 1."""
        chunks = self.counts()[1]
        done = self.read(f"SELECT count(*) FROM ({_EMBEDDED})", [model])[0][0]
        return done / chunks if chunks else 1.0

    def embeddings(self, model: str, keys: Sequence[str], dimension: int) -> dict[str, Vectors]:
        """What was kept for some keys."""
        found: dict[str, Vectors] = {}
        for start in range(0, len(keys), _MANY):
            some = keys[start : start + _MANY]
            marks = ", ".join("?" * len(some))
            chosen = f"SELECT key, vector FROM vectors WHERE model = ? AND key IN ({marks})"
            rows = self.read(chosen, [model, *some])
            found |= {key: unpacked(data, dimension) for key, data in rows}
        return found

    def embedded(self, model: str, keys: Sequence[str]) -> set[str]:
        """Those of some keys that a model has embedded."""
        chosen = f"SELECT key FROM vectors WHERE model = ? AND key IN ({', '.join('?' * len(keys))})"
        return {key for (key,) in self.read(chosen, [model, *keys])}

    def corpus(self) -> Corpus:
        """What full text knows of all chunks."""
        chunks, length = self.read("SELECT coalesce(sum(chunks), 0), coalesce(sum(words), 0) FROM docs")[0]
        return Corpus(chunks, length / max(chunks, 1), self.holding)

    def holding(self, word: str) -> int:
        """How many chunks hold a word."""
        return int(self.read("SELECT count(*) FROM words WHERE words MATCH ?", [f'"{word}"'])[0][0])

    def vectors(self, model: str, after: int) -> list[tuple[int, str, bytes]]:
        """The embeddings that were kept after a row, found by its number: `+` keeps the other index out."""
        return self.read(
            "SELECT id, key, vector FROM vectors WHERE +model = ? AND id > ? ORDER BY id", (model, after)
        )

    def matching(
        self, query: str, weights: tuple[float, float, float], limit: int
    ) -> list[tuple[int, float]]:
        """The chunks that match a full-text query best, with their scores; higher is better."""
        return self.read(
            "SELECT rowid, -bm25(words, ?, ?, ?) AS score FROM words WHERE words MATCH ? "
            "ORDER BY score DESC LIMIT ?",
            (*weights, query, limit),
        )

    def by_id(self, ids: Sequence[int]) -> dict[int, Found]:
        """Chunks by id."""
        return {found.id: found for found in self._some("chunks.id", ids)}

    def by_key(self, keys: Sequence[str]) -> list[Found]:
        """Chunks by key, which several may share."""
        return self._some("key", keys)

    def _some(self, column: str, values: Sequence[object]) -> list[Found]:
        found: list[Found] = []
        for start in range(0, len(values), _MANY):
            some = values[start : start + _MANY]
            rows = self.read(f"{_CHUNKS} WHERE {column} IN ({', '.join('?' * len(some))})", some)
            found += map(_found, rows)
        return found

    def current(self) -> dict[str, int]:
        """The versions that the disk has, by path."""
        return dict(self.read("SELECT path, doc FROM files"))

    def versions(self, files: Mapping[str, str]) -> dict[str, int]:
        """Those of `files` (path to blob id) that are indexed."""
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
_CHUNKS = (
    "SELECT chunks.id, docs.id, docs.path, symbol, first, last, text, outline, key "
    "FROM chunks JOIN docs ON docs.id = chunks.doc"
)


def _found(row: tuple) -> Found:  # type: ignore[type-arg]
    id, doc, path, symbol, first, last, text, outline, key = row
    return Found(id, doc, path, Chunk(symbol, first, last, text, bool(outline)), key)
