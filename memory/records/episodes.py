"""Episodes of verified tasks, which later tasks learn from. They outlive their threads."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import Connection, delete, select

from memory.records.database import Database, now, read_only, transaction
from memory.records.tables import episodes
from memory.secrets import mask, masked

OURS = frozenset({"run", "thread", "repo", "root", "commit", "tree", "created"})
"""Fields that AutoCodeAI fills by itself. Their ids would look like secrets."""


class FileChange(BaseModel, frozen=True):
    """A file of the delivered change, with its line counts."""

    path: str
    added: int
    removed: int


class EpisodeRepair(BaseModel, frozen=True):
    """A repair on the way: what the check found, how the debugger explained it, and the files it changed."""

    found: list[str]
    how: str
    files: list[str]


class Episode(BaseModel, frozen=True):
    """A verified task. `root` is the repository's first commit, which its clones share."""

    run: str
    thread: str
    repo: str
    root: str
    task: str
    plan: str
    files: list[FileChange]
    change: str
    mends: list[EpisodeRepair] = Field(default_factory=list)
    commit: str
    tree: str
    created: str = Field(default_factory=lambda: now("seconds"))

    @property
    def id(self) -> str:
        """Short id to type, derived from the run."""
        return sha256(self.run.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Title:
    """The part of an episode that searches compare."""

    id: str
    repo: str
    root: str
    task: str


class Episodes:
    """The table of episodes. Known secrets, and texts that look like secrets, are masked before storing."""

    def __init__(self, database: Database, secrets: Sequence[str]) -> None:
        self._database = database
        self._secrets = tuple(secrets)

    @transaction
    def store(self, connection: Connection, episode: Episode) -> bool:
        """Store an episode. False if its run has one already."""
        clean = Episode.model_validate(_without_secrets(masked(episode.model_dump(), self._secrets)))
        values = {"id": clean.id, "run_id": clean.run, "created": clean.created, "repo": clean.repo}
        values |= {"root": clean.root, "task": clean.task, "content": clean.model_dump_json()}
        # A run that dies after storing its episode stores it again when it is resumed.
        row = self._database.insert(episodes).values(values).on_conflict_do_nothing()
        return connection.execute(row).rowcount == 1

    @read_only
    def titles(self, connection: Connection) -> list[Title]:
        """Return the titles of all episodes, newest first."""
        columns = (episodes.c.id, episodes.c.repo, episodes.c.root, episodes.c.task)
        rows = connection.execute(select(*columns).order_by(episodes.c.number.desc())).all()
        return [Title(*row) for row in rows]

    @read_only
    def read(self, connection: Connection, ids: Collection[str] | None = None) -> list[Episode]:
        """Return the episodes with these ids, or all, newest first."""
        query = select(episodes.c.content).order_by(episodes.c.number.desc())
        if ids is not None:
            query = query.where(episodes.c.id.in_(ids))
        return [Episode.model_validate_json(content) for content in connection.scalars(query)]

    @transaction
    def forget_runs(self, connection: Connection, runs: Collection[str]) -> int:
        """Delete the episodes of runs, and return their number."""
        return connection.execute(delete(episodes).where(episodes.c.run_id.in_(runs))).rowcount

    @transaction
    def forget(self, connection: Connection, ids: Collection[str]) -> set[str]:
        """Delete the episodes with these ids, all or none. Return the ids that are unknown."""
        known = set(connection.scalars(select(episodes.c.id).where(episodes.c.id.in_(ids))))
        if unknown := set(ids) - known:
            return unknown
        connection.execute(delete(episodes).where(episodes.c.id.in_(ids)))
        return set()


def _without_secrets(value: Any, name: str = "") -> Any:
    """Return `value` with secrets masked in every text that comes from others."""
    if isinstance(value, str):
        return value if name in OURS else mask(value)
    if isinstance(value, dict):
        return {key: _without_secrets(item, key) for key, item in value.items()}
    return [_without_secrets(item) for item in value] if isinstance(value, list) else value
