"""Recall: what memory has goes into the state before a model is asked, so that no prompt changes on resume.

Memory is an aid: what it lacks is left out, what fails in it is said in the event, and the run goes on.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from langgraph.runtime import Runtime

from memory.repo_index import Snippet, View
from memory.search.recollection import Readiness, Recollection
from nodes.dialogue.sections import cut
from nodes.episode import told
from nodes.events import IndexState, MemoryRecalled, RecalledEpisode
from nodes.publish import Publish, publisher
from nodes.state import ContextFile, Lesson, Place, State
from tools.workspace import Workspace

PLANNER_PLACES = 5
STEP_PLACES = 3
"""How many files a search may show a part of; a coder sees its own file whole, and all in the map."""

PLACE_TOKENS = 500
PATIENCE_SECONDS = 5.0
"""How long a hosted embedder that does not answer can hold up a run."""


@dataclass(frozen=True)
class Recall:
    """Finds earlier tasks like this one, and the places of the run's own snapshot that may matter."""

    memory: Recollection | None

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return lessons and places; nothing without memory."""
        if self.memory is None:
            return {}
        workspace = await asyncio.to_thread(Workspace.open, Path(state["repo"]))
        lessons, trouble = await self._lessons(self.memory, workspace, state)
        search = Search(self.memory, workspace, state["base"], PLANNER_PLACES)
        places, ready = await search(state["task"], shown(state["context_files"]))
        publish = publisher(runtime.stream_writer, "recall")
        _tell(publish, places, lessons, ready, trouble)
        return {"lessons": lessons, "places": places}

    async def _lessons(
        self, memory: Recollection, workspace: Workspace, state: State
    ) -> tuple[list[Lesson], str]:
        repo, base = str(workspace.path), state["base"]
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await memory.prepare(workspace.path)
                found = await memory.lessons(state["task"], repo, lambda: workspace.root(base))
        except Exception as error:
            return [], f"earlier tasks cannot be searched: {_why(error)}"
        return [
            Lesson(
                id=one.episode.id,
                task=one.episode.task,
                similarity=round(one.similarity, 3),
                text=told(one.episode, one.here),
            )
            for one in found
        ], ""


@dataclass(frozen=True)
class Search:
    """Searches one snapshot for a number of places."""

    memory: Recollection
    workspace: Workspace
    snapshot: str
    places: int

    async def __call__(self, query: str, without: Collection[str]) -> tuple[list[Place], Readiness]:
        """Give the places outside the files that are shown anyway, and how far the index was."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await asyncio.to_thread(self._find, query, without)
        except Exception as error:
            return [], Readiness("none", 0.0, f"the repository cannot be searched: {_why(error)}", False)

    def _find(self, query: str, without: Collection[str]) -> tuple[list[Place], Readiness]:
        root, view = self.workspace.path, View(self.workspace.blobs(self.snapshot), self._read)
        found = self.memory.search(root, view, query, self.places + len(without))
        fresh = [_place(one) for one in found if one.path not in without]
        return fresh[: self.places], self.memory.readiness(root)

    def _read(self, path: str) -> bytes | None:
        return self.workspace.read(self.snapshot, path)


def shown(given: Collection[str | ContextFile], *paths: str | None) -> set[str]:
    """The files that a prompt shows in any case."""
    return {"AGENTS.md", *(one for one in given if isinstance(one, str)), *(path for path in paths if path)}


async def search_steps(
    memory: Recollection | None, state: State, pending: Collection[str], publish_of: Callable[[str], Publish]
) -> dict[str, list[Place]]:
    """The places for each pending step, on the run's head; what they were is told, a step at a time."""
    if memory is None or not pending:
        return {}
    workspace = await asyncio.to_thread(Workspace.open, Path(state["repo"]))
    search, found = Search(memory, workspace, state["head"], STEP_PLACES), dict[str, list[Place]]()
    for step in state["plan"]["steps"] if state["plan"] else []:
        if step["id"] in pending:
            file = step.get("file")
            query = f"{step['description']} {file or ''}"
            places, ready = await search(query, shown(state["context_files"], file))
            found[step["id"]] = places
            _tell(publish_of(step["id"]), places, [], ready)
    return found


def _why(error: Exception) -> str:
    return "it took too long" if isinstance(error, TimeoutError) else str(error)


def _place(snippet: Snippet) -> Place:
    text = cut(snippet.text, PLACE_TOKENS)
    return Place(path=snippet.path, symbol=snippet.symbol, first=snippet.first, last=snippet.last, text=text)


def _tell(
    publish: Publish, places: list[Place], lessons: list[Lesson], ready: Readiness, trouble: str = ""
) -> None:
    note = "; ".join(part for part in (trouble, ready.note) if part)
    episodes = [
        RecalledEpisode(id=one["id"], task=one["task"][:200], similarity=one["similarity"]) for one in lessons
    ]
    files = [place["path"] for place in places]
    index = IndexState(**{**vars(ready), "note": note})
    publish(MemoryRecalled(files=files, episodes=episodes, index=index))
