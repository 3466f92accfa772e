"""One process's memory: the live indexes of repositories, and what earlier tasks taught."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from memory.live import Indexes
from memory.records.database import JournalError
from memory.records.episodes import Episode, Episodes, Title
from memory.repo_index import RepoIndexError, Snippet, View
from memory.search.task_similarity import Likeness

TOP = 5
GRACE_SECONDS = 0.5
"""What a run that may learn something gives the embedder to load; then words alone are compared."""

GATHERING_SECONDS = 1.0
"""How long the vector of what a run taught waits for others: Chroma halts all of Python for each write."""

ALIGNING_SECONDS = 2.0
"""How long the end of the process waits for vectors; the next search makes what is missing."""

Scope = Literal["all", "repository"]


@dataclass(frozen=True)
class Readiness:
    """How far a repository's index is; `embedded` is the share of it with vectors, `note` why not more."""

    engine: str
    embedded: float
    note: str
    ready: bool


@dataclass(frozen=True)
class Recalled:
    """An episode like the task at hand; `here` when it was in the same repository."""

    episode: Episode
    similarity: float
    here: bool


class Recollection:
    """What runs remember and recall. `scope` says whether other repositories' episodes count."""

    def __init__(self, episodes: Episodes, indexes: Indexes, likeness: Likeness, scope: Scope) -> None:
        self.episodes = episodes
        self._indexes = indexes
        self._likeness = likeness
        self._scope = scope
        self._due = False
        self._closing = asyncio.Event()
        self._aligning: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        """Make the vectors that are due, where that takes no longer than ALIGNING_SECONDS."""
        self._closing.set()
        if self._aligning:
            await asyncio.wait([self._aligning], timeout=ALIGNING_SECONDS)

    async def prepare(self, root: Path) -> None:
        """Let the index of a repository be brought up to date, and what compares episodes be opened.

        All of it goes on in the background: this returns at once. What fails is told when it is searched.
        """
        with suppress(RepoIndexError, JournalError):
            await asyncio.to_thread(self._indexes.of, root)
            if await self.episodes.titles():
                self._likeness.warm()

    async def warm(self) -> None:
        """Wait until episodes can be compared by their vectors, or it is known that they cannot."""
        await asyncio.to_thread(self._likeness.warm().join)

    def readiness(self, root: Path) -> Readiness:
        """How far the repository's index is."""
        live = self._indexes.of(root)
        status = live.status()
        return Readiness(status.engine, round(status.embedded, 3), status.note, live.wait(0))

    def search(self, root: Path, view: View, query: str, k: int) -> list[Snippet]:
        """The `k` best places of a snapshot, from what the index holds by now. Blocks."""
        return self._indexes.of(root).index.search(query, k, view)

    async def lessons(self, task: str, repo: str, root: Callable[[], str]) -> list[Recalled]:
        """The episodes most like `task`, this repository's first; none rather than one that is not like it.

        `root` gives the repository's first commit, and is asked only where the path does not tell.
        """
        titles = await self.episodes.titles()
        if not titles:
            return []
        warming = self._likeness.warm()
        first = await asyncio.to_thread(root)
        if self._likeness.prompt:
            await asyncio.to_thread(warming.join, GRACE_SECONDS)
        near = {title.id for title in titles if _same(title, repo, first)}
        alike = await asyncio.to_thread(self._likeness.alike, task, titles, near)
        if self._scope == "repository":
            alike = [found for found in alike if found[0].id in near]
        by_task: dict[str, tuple[Title, float]] = {}
        for found in sorted(alike, key=lambda found: (found[0].id not in near, -found[1])):
            by_task.setdefault(found[0].task, found)
        best = list(by_task.values())[:TOP]
        read = {one.id: one for one in await self.episodes.read([title.id for title, _ in best])}
        return [
            Recalled(read[title.id], similarity, title.id in near)
            for title, similarity in best
            if title.id in read
        ]

    async def search_episodes(self, query: str) -> list[tuple[Title, float]]:
        """The episodes nearest to `query`, however far."""
        titles = await self.episodes.titles()
        return await asyncio.to_thread(self._likeness.ranked, query, titles)

    async def remember(self, episode: Episode) -> None:
        """Keep an episode; its vector comes a little later, at the next search where Chroma is not there."""
        await self.episodes.store(episode)
        self._due = True
        if self._aligning is None or self._aligning.done():
            self._aligning = asyncio.create_task(self._align_what_is_due())

    async def align(self) -> bool:
        """Let Chroma hold a vector for each episode and no other; False where it is not there."""
        return await asyncio.to_thread(self._likeness.keep, await self.episodes.titles())

    async def _align_what_is_due(self) -> None:
        """Align once for what comes within GATHERING_SECONDS; where that fails, the next search does."""
        while self._due:
            with suppress(TimeoutError):
                async with asyncio.timeout(GATHERING_SECONDS):
                    await self._closing.wait()
            self._due = False
            with suppress(JournalError):
                await self.align()


def _same(title: Title, repo: str, root: str) -> bool:
    return title.repo == repo or bool(root and title.root == root)
