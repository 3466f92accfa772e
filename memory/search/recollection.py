"""The memory of a process: the live indexes of repositories, and the episodes of earlier tasks."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from memory.live import LiveIndexes
from memory.records.database import JournalError
from memory.records.episodes import Episode, Episodes, Title
from memory.repo_index import RepoIndexError, SnapshotView, Snippet
from memory.search.task_similarity import TaskSimilarity

MOST_EPISODES = 5
GRACE_SECONDS = 0.5
WARM_SECONDS = 600.0
"""Time that a run waits for the embedder to load. After that, words are compared."""

RecallScope = Literal["all", "repository"]


@dataclass(frozen=True)
class Readiness:
    """The state of a repository's index. `embedded` is the share with vectors, `note` says what is wrong."""

    engine: str
    embedded: float
    note: str
    ready: bool


@dataclass(frozen=True)
class Recalled:
    """An episode that is similar to a task. `here` says that it was in the same repository."""

    episode: Episode
    similarity: float
    here: bool


class Recollection:
    """Finds episodes and snippets. `scope` says whether other repositories' episodes count."""

    def __init__(
        self, episodes: Episodes, indexes: LiveIndexes, similarity: TaskSimilarity, scope: RecallScope
    ) -> None:
        self.episodes = episodes
        self._indexes = indexes
        self._similarity = similarity
        self.scope = scope

    async def prepare(self, root: Path) -> None:
        """Start to update the repository's index and to open the embedder, and return at once.

        Errors are reported by the searches.
        """
        with suppress(RepoIndexError, JournalError):
            await asyncio.to_thread(self._indexes.of, root)
            if await self.episodes.titles():
                self._similarity.warm()

    async def warm(self) -> None:
        """Wait until episodes can be compared by vectors, or it is known that they cannot."""
        await asyncio.to_thread(self._similarity.warm().join, WARM_SECONDS)

    def readiness(self, root: Path) -> Readiness:
        """Return the state of the repository's index."""
        live = self._indexes.of(root)
        status = live.status()
        return Readiness(status.engine, round(status.embedded, 3), status.note, live.wait(0))

    def search(self, root: Path, view: SnapshotView, query: str, k: int) -> list[Snippet]:
        """Return the `k` best snippets of a snapshot, from what is indexed so far. Blocks."""
        return self._indexes.of(root).index.search(query, k, view)

    async def lessons(self, task: str, repo: str, root: Callable[[], str]) -> list[Recalled]:
        """Return the episodes that are similar enough to `task`, this repository's first.

        `root` returns the repository's first commit, by which its clones are known.
        """
        titles = await self.episodes.titles()
        if not titles:
            return []
        warming = self._similarity.warm()
        first = await asyncio.to_thread(root)
        if not self._similarity.delay:
            await asyncio.to_thread(warming.join, GRACE_SECONDS)
        here = {title.id for title in titles if title.repo == repo or (first and title.root == first)}
        similar = await asyncio.to_thread(self._similarity.similar, task, titles, here)
        if self.scope == "repository":
            similar = [pair for pair in similar if pair[0].id in here]
        # A task that was done twice is told once.
        by_task: dict[str, tuple[Title, float]] = {}
        for title, similarity in sorted(similar, key=lambda pair: (pair[0].id not in here, -pair[1])):
            by_task.setdefault(title.task, (title, similarity))
        best = list(by_task.values())[:MOST_EPISODES]
        episodes = {each.id: each for each in await self.episodes.read([title.id for title, _ in best])}
        return [
            Recalled(episodes[title.id], similarity, title.id in here)
            for title, similarity in best
            if title.id in episodes
        ]

    async def search_episodes(self, query: str) -> list[tuple[Title, float]]:
        """Return the episodes nearest to `query`, however far."""
        titles = await self.episodes.titles()
        return await asyncio.to_thread(self._similarity.ranked, query, titles)

    async def align(self) -> bool:
        """Make Chroma hold a vector for each episode and no other. Return False if it is unavailable."""
        return await asyncio.to_thread(self._similarity.align, await self.episodes.titles())
