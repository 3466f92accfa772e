"""The tables of an index. Another version of them is replaced, and a damaged file is set aside."""

import os
import sqlite3
import time
from hashlib import sha256
from pathlib import Path

from memory.chunks import VERSION as CHUNKER

VERSION = 1_000 * 1 + CHUNKER
"""The version of the tables in thousands, plus that of the chunker. Stored in `user_version`."""

_TABLES = """
CREATE TABLE docs (
  id INTEGER PRIMARY KEY, path TEXT NOT NULL, blob TEXT NOT NULL, words INTEGER NOT NULL,
  chunks INTEGER NOT NULL, used REAL NOT NULL, UNIQUE (path, blob));
CREATE INDEX docs_blob ON docs (blob);
CREATE TABLE files (
  path TEXT PRIMARY KEY, doc INTEGER NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
  inode INTEGER NOT NULL, ctime INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX files_doc ON files (doc);
CREATE TABLE chunks (
  id INTEGER PRIMARY KEY, doc INTEGER NOT NULL, symbol TEXT NOT NULL,
  first INTEGER NOT NULL, last INTEGER NOT NULL, outline INTEGER NOT NULL,
  text TEXT NOT NULL, key TEXT NOT NULL);
CREATE INDEX chunks_doc ON chunks (doc);
CREATE INDEX chunks_key ON chunks (key);
CREATE VIRTUAL TABLE words USING fts5 (path, symbol, body, tokenize = 'porter unicode61');
"""
_VECTORS = """
CREATE TABLE IF NOT EXISTS vectors (
  id INTEGER PRIMARY KEY, model TEXT NOT NULL, key TEXT NOT NULL, vector BLOB NOT NULL, UNIQUE (model, key))
"""
_BROKEN = (
    "malformed", "not a database", "no such table", "corrupt", "vtable constructor failed", "not decode",
)  # fmt: skip
"""Parts of the messages for damaged files. SQLite has no error code for a damaged full-text table."""


def name_of(root: Path) -> str:
    """Return the name of the file of a folder's index."""
    # The name is for people. The hash tells folders of the same name apart.
    name = "".join(char for char in root.name if char.isalnum() and char.isascii())[:24] or "root"
    return f"{name}-{sha256(str(root).encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"


def connect(path: Path | None) -> sqlite3.Connection:
    """Open an index's file, or memory, for use by several threads."""
    connection = sqlite3.connect(
        path or ":memory:", timeout=10, isolation_level=None, check_same_thread=False, uri=True
    )
    connection.execute("PRAGMA journal_mode = WAL")
    # A crash of the machine may lose the last commits, which the next refresh writes again.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -32000")
    return connection


def create(connection: sqlite3.Connection) -> None:
    """Create the tables in place of those of another version. Vectors stay, because texts decide them."""
    if _version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection) != VERSION:  # another process may have created them meanwhile
        for table in ("words", "chunks", "files", "docs"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in [*_TABLES.split(";\n"), _VECTORS]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    # A new file has version 0.
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def is_broken(error: sqlite3.Error) -> bool:
    """Return True if an error means that the file itself is damaged."""
    return any(part in str(error) for part in _BROKEN)


def set_aside(path: Path) -> Path:
    """Rename a damaged file and return its new name. An older one is deleted."""
    aside = path.with_suffix(f".broken-{time.strftime('%Y%m%d-%H%M%S')}")
    for old in path.parent.glob(f"{path.stem}.broken-*"):
        old.unlink(missing_ok=True)
    # SQLite would replay the old log into the new file.
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    os.replace(path, aside)
    return aside
