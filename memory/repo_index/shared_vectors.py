"""Copy vectors from the other indexes of a home, because clones and worktrees hold mostly the same texts."""

import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_MOST_INDEXES = 20

_COPY = """
INSERT OR IGNORE INTO main.vectors (model, key, vector)
SELECT theirs.model, theirs.key, theirs.vector
FROM temp.lacking CROSS JOIN other.vectors AS theirs ON theirs.model = ? AND theirs.key = lacking.key
"""


def borrow(connection: sqlite3.Connection, path: Path, model: str, keys: Iterable[str]) -> int:
    """Copy the vectors of these keys from the indexes beside `path`, the newest first.

    Must not run within a transaction. An index that cannot be read is skipped. Return how many were found.
    """
    found = 0
    others: list[Path] = []
    with suppress(OSError):  # an index may be deleted meanwhile
        beside = [other for other in path.parent.glob("*.db") if other != path]
        others = sorted(beside, key=lambda other: -other.stat().st_mtime)[:_MOST_INDEXES]
    if not others:
        return found
    connection.execute("CREATE TEMP TABLE lacking (key TEXT PRIMARY KEY) WITHOUT ROWID")
    try:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO temp.lacking VALUES (?)", ((key,) for key in keys))
        connection.execute("COMMIT")
        for other in others:
            with suppress(sqlite3.Error):
                connection.execute("ATTACH ? AS other", (f"{other.absolute().as_uri()}?mode=ro",))
                try:
                    found += connection.execute(_COPY, (model,)).rowcount
                finally:
                    connection.execute("DETACH other")
    finally:
        connection.execute("DROP TABLE temp.lacking")
    return found
