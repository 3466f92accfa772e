"""Episodes: what verified tasks taught, as rows in the journal's database; they outlive their threads."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, delete, select

from memory.records.database import Database, transaction, view
from memory.records.tables import episodes
from memory.secrets import mask

OURS = frozenset({"run", "thread", "repo", "root", "commit", "tree", "created"})
"""Fields that nobody else's text reaches."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class FileChange(_Value):
    """One file of the delivered change, with its counts of lines."""

    path: str
    added: int
    removed: int


class Mend(_Value):
    """What was wrong on the way, how the debugger explained its repair, and the files it touched."""

    found: list[str]
    how: str
    files: list[str]


class Episode(_Value):
    """One verified task; `root` is the repository's first commit, by which its clones are known."""

    run: str
    thread: str
    repo: str
    root: str
    task: str
    plan: str
    files: list[FileChange]
    change: str
    mends: list[Mend] = Field(default_factory=list)
    commit: str
    tree: str
    created: str = Field(
        default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    )

    @property
    def id(self) -> str:
        """Short enough to be typed; of the run, so that a run has one."""
        return sha256(self.run.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Title:
    """What an episode is found by."""

    id: str
    repo: str
    root: str
    task: str


class Episodes:
    """The table. Whatever goes in is masked: known secrets, and what looks like one."""

    def __init__(self, database: Database, masked: Callable[[Any], Any]) -> None:
        self._database = database
        self._masked = masked

    @transaction
    def store(self, connection: Connection, episode: Episode) -> bool:
        """Keep an episode; False where its run has left one already."""
        clean = Episode.model_validate(_without_secrets(self._masked(episode.model_dump())))
        values = {"id": clean.id, "run_id": clean.run, "created": clean.created, "repo": clean.repo}
        values |= {"root": clean.root, "task": clean.task, "content": clean.model_dump_json()}
        row = self._database.insert(episodes).values(values).on_conflict_do_nothing()
        return connection.execute(row).rowcount == 1

    @view
    def titles(self, connection: Connection) -> list[Title]:
        """What every episode is found by, newest first."""
        columns = (episodes.c.id, episodes.c.repo, episodes.c.root, episodes.c.task)
        rows = connection.execute(select(*columns).order_by(episodes.c.number.desc())).all()
        return [Title(*row) for row in rows]

    @view
    def read(self, connection: Connection, ids: Collection[str] | None = None) -> list[Episode]:
        """The episodes of these ids, or all, newest first."""
        query = select(episodes.c.content).order_by(episodes.c.number.desc())
        if ids is not None:
            query = query.where(episodes.c.id.in_(ids))
        return [Episode.model_validate_json(content) for content in connection.scalars(query)]

    @transaction
    def forget(self, connection: Connection, ids: Collection[str]) -> set[str]:
        """Delete the episodes of these ids unless one of them is unknown; give the unknown ones."""
        known = set(connection.scalars(select(episodes.c.id).where(episodes.c.id.in_(ids))))
        if unknown := set(ids) - known:
            return unknown
        connection.execute(delete(episodes).where(episodes.c.id.in_(ids)))
        return set()


def _without_secrets(value: Any, name: str = "") -> Any:
    """`value` with every text masked that comes from others."""
    if isinstance(value, str):
        return value if name in OURS else mask(value)
    if isinstance(value, dict):
        return {key: _without_secrets(item, key) for key, item in value.items()}
    return [_without_secrets(item) for item in value] if isinstance(value, list) else value
