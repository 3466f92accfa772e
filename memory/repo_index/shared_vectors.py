"""The other indexes of a home: clones and worktrees have most texts in common, and embed them once."""

import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_MOST = 20

_BORROWED = """
INSERT OR IGNORE INTO main.vectors (model, key, vector)
SELECT theirs.model, theirs.key, theirs.vector
FROM temp.lacking CROSS JOIN neighbour.vectors AS theirs ON theirs.model = ? AND theirs.key = lacking.key
"""


def borrow(connection: sqlite3.Connection, path: Path, model: str, lacking: Iterable[str]) -> None:
    """Give an index the vectors that it lacks and those beside it have, the last written ones first.

    Not within a transaction. A neighbour that cannot be read is passed over.
    """
    others = _beside(path)
    if not others:
        return
    connection.execute("CREATE TEMP TABLE lacking (key TEXT PRIMARY KEY) WITHOUT ROWID")
    try:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO temp.lacking VALUES (?)", ((key,) for key in lacking))
        connection.execute("COMMIT")
        for other in others:
            with suppress(sqlite3.Error):
                _borrow(connection, other, model)
    finally:
        connection.execute("DROP TABLE temp.lacking")


def _borrow(connection: sqlite3.Connection, other: Path, model: str) -> None:
    connection.execute("ATTACH ? AS neighbour", (f"{other.absolute().as_uri()}?mode=ro",))
    try:
        connection.execute(_BORROWED, (model,))
    finally:
        connection.execute("DETACH neighbour")


def _beside(path: Path) -> list[Path]:
    with suppress(OSError):
        found = [other for other in path.parent.glob("*.db") if other != path]
        return sorted(found, key=lambda other: -other.stat().st_mtime)[:_MOST]
    return []
