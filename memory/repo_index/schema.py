"""The tables of an index, and opening them: made anew for another version, set aside when broken."""

import os
import sqlite3
import time
from hashlib import sha256
from pathlib import Path

from memory.chunks import VERSION as CHUNKER

VERSION = 1_000 * 1 + CHUNKER
"""The tables' version, then the chunker's; kept in `user_version`."""

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
"""What errors say of a damaged file; SQLite's codes tell a damaged table for full text from nothing else."""
_MADE = ("words", "chunks", "files", "docs")


def name_of(root: Path) -> str:
    """Name the file of a folder's index."""
    name = "".join(char for char in root.name if char.isalnum() and char.isascii())[:24] or "root"
    return f"{name}-{sha256(str(root).encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"


def connect(path: Path | None) -> sqlite3.Connection:
    """Open an index's file, or memory, for any thread that holds its lock."""
    connection = sqlite3.connect(
        path or ":memory:", timeout=10, isolation_level=None, check_same_thread=False, uri=True
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -32000")
    return connection


def create(connection: sqlite3.Connection) -> None:
    """Make the tables; those of another version are dropped, but embeddings stay: text alone makes them."""
    if _version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection) != VERSION:  # another process may have been at it
        for table in _MADE:
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in [*_TABLES.split(";\n"), _VECTORS]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    """Read the version that the tables are of; 0 for a new file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def is_broken(error: sqlite3.Error) -> bool:
    """Tell whether an error means that the file itself is damaged."""
    return any(sign in str(error) for sign in _BROKEN)


def set_aside(path: Path) -> Path:
    """Rename a broken file, with what belongs to it, and give its new name; an older one is replaced."""
    aside = path.with_suffix(f".broken-{time.strftime('%Y%m%d-%H%M%S')}")
    for old in path.parent.glob(f"{path.stem}.broken-*"):
        old.unlink(missing_ok=True)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    os.replace(path, aside)
    return aside
