"""Recall stores what memory has in the state before a model is asked, so that a resume repeats each prompt.

Memory is an aid. If it fails, the event says so and the run goes on without it.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace

from langgraph.runtime import Runtime

from memory.repo_index import SnapshotView, Snippet
from memory.search.recollection import Readiness, Recollection
from nodes.dialogue.episodes import lesson_text
from nodes.dialogue.excerpts import CHARS_A_TOKEN, cut_end, cut_tokens
from nodes.dialogue.turns import search_words
from nodes.event_parts import IndexState, RecalledEpisode
from nodes.events import MemoryRecalled
from nodes.publish import Publish, publisher
from nodes.repository import open_workspace
from nodes.state import ContextFile, Lesson, Place, State, files_of, steps_of
from tools.outline import definitions
from tools.workspace import Workspace

PLANNER_PLACES = 3
STEP_PLACES = 2
"""Files that a search may show a part of. A coder needs fewer: its prompt has its own file, and the map."""

PLACE_TOKENS, SHORT_TOKENS = 700, 500
"""Limits of a place, and of a file that is shown whole for a place in it."""

MEMBER_LENGTH = 160
"""Characters of the line that opens a member of a long class."""

TIMEOUT_SECONDS = 5.0
"""Limit on the delay of a run by a hosted embedder that does not answer."""


@dataclass(frozen=True)
class Recall:
    """Searches memory for earlier tasks, and the run's base for places that may matter."""

    memory: Recollection | None

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return lessons and places, nothing without memory."""
        if self.memory is None:
            return {}
        workspace = await open_workspace(state)
        lessons, problem = await _lessons(self.memory, workspace, state)
        shown = _shown(state["context_files"])
        places, ready = await _search(
            self.memory, workspace, state["base"], search_words(state), PLANNER_PLACES, shown
        )
        _publish_recall(
            publisher(runtime.stream_writer, "recall"), self.memory, places, lessons, ready, problem
        )
        return {"lessons": lessons, "places": places}


async def search_steps(
    memory: Recollection | None, state: State, pending: Collection[str], runtime: Runtime[None]
) -> dict[str, list[Place]]:
    """Return the places for each pending step, found on the run's head, and publish them by step."""
    if memory is None or not pending:
        return {}
    workspace = await open_workspace(state)
    by_step = dict[str, list[Place]]()
    for step in steps_of(state["plan"]):
        if step["id"] in pending:
            files = files_of(step)
            query = " ".join([step["description"], *files])
            shown = _shown(state["context_files"], [*files, *step.get("context_files", [])])
            places, ready = await _search(memory, workspace, state["head"], query, STEP_PLACES, shown)
            by_step[step["id"]] = places
            _publish_recall(
                publisher(runtime.stream_writer, "dispatch", step["id"]), memory, places, [], ready
            )
    return by_step


async def _lessons(memory: Recollection, workspace: Workspace, state: State) -> tuple[list[Lesson], str]:
    """Return earlier tasks like this one, and why there are none if memory failed."""
    repo, base = str(workspace.path), state["base"]
    told = {turn["run"] for turn in state.get("turns", [])}  # the prompt has these tasks already
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await memory.prepare(workspace.path)
            similar = await memory.lessons(state["task"], repo, lambda: workspace.root(base))
    except Exception as error:  # memory is an aid, and no run fails for it
        return [], f"earlier tasks cannot be searched: {_reason(error)}"
    return [
        Lesson(
            id=match.episode.id,
            task=match.episode.task,
            similarity=round(match.similarity, 3),
            text=lesson_text(match.episode, match.here),
            repo="" if match.here else match.episode.repo,
        )
        for match in similar
        if match.episode.run not in told
    ], ""


async def _search(
    memory: Recollection, workspace: Workspace, snapshot: str, query: str, most: int, shown: Collection[str]
) -> tuple[list[Place], Readiness]:
    """Return `most` places of a snapshot outside the files that are shown anyway, and the index's state."""

    def search() -> tuple[list[Place], Readiness]:
        # Shown files may be among them.
        snippets = search_snapshot(memory, workspace, snapshot, query, most + len(shown))
        places = [
            Place(
                path=s.path,
                symbol=s.symbol,
                first=s.first,
                last=s.last,
                text=cut_tokens(s.text, PLACE_TOKENS),
            )
            for s in snippets
            if s.path not in shown
        ]
        return places[:most], memory.readiness(workspace.path)

    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await asyncio.to_thread(search)  # after a timeout it goes on, to no effect
    except Exception as error:  # as above
        return [], Readiness("none", 0.0, f"the repository cannot be searched: {_reason(error)}", False)


def search_snapshot(
    memory: Recollection, workspace: Workspace, snapshot: str, query: str, most: int
) -> list[Snippet]:
    """Return the best snippets of a snapshot, as their lines stand in the file. Blocks."""
    view = SnapshotView(
        workspace.blobs(snapshot),
        lambda path: workspace.read(snapshot, path),
        lambda: workspace.past_changes(snapshot),
    )
    found = memory.search(workspace.path, view, query, most)
    return [_whole_lines(workspace, snapshot, snippet) for snippet in found]


def _whole_lines(workspace: Workspace, snapshot: str, found: Snippet) -> Snippet:
    """Return a snippet with its lines as they stand in the file. Blocks.

    A short file is shown whole, and so is a short definition, of which the index may keep a part. A longer
    class is shown by its head and its members' first lines. An outline, which stands for a whole file, has a
    text of its own.
    """
    text = workspace.text(snapshot, found.path) or ""
    if text and len(text) <= SHORT_TOKENS * CHARS_A_TOKEN:
        return replace(found, first=1, last=len(text.splitlines()), text=text.rstrip())
    lines = text.splitlines()
    known = definitions({found.path: text}).get(found.path, ()) if found.symbol else ()
    for own in known:
        if own.symbol != found.symbol or not own.first <= found.first <= own.last:
            continue
        if len(whole := "\n".join(lines[own.first - 1 : own.last])) <= PLACE_TOKENS * CHARS_A_TOKEN:
            return replace(found, first=own.first, last=own.last, text=whole)
        if members := [each for each in known if each.symbol.startswith(f"{own.symbol}.")]:
            above = "\n".join(lines[own.first - 1 : members[0].first - 1])
            head = cut_end(above, PLACE_TOKENS // 3).rstrip()
            openings = [f"{lines[m.first - 1].rstrip()[:MEMBER_LENGTH]}  [line {m.first}]" for m in members]
            return replace(found, first=own.first, last=own.last, text="\n".join([head, *openings]))
    shown = lines[found.first - 1 : found.last]
    filled = sum(bool(line.strip()) for line in shown)
    return replace(found, text="\n".join(shown)) if filled == len(found.text.splitlines()) else found


def _shown(given: Collection[str | ContextFile], files: Collection[str] = ()) -> set[str]:
    """Return the files that a prompt shows in any case."""
    return {"AGENTS.md", *(item for item in given if isinstance(item, str)), *files}


def _reason(error: Exception) -> str:
    return "it took too long" if isinstance(error, TimeoutError) else str(error)


def _publish_recall(
    publish: Publish,
    memory: Recollection,
    places: list[Place],
    lessons: list[Lesson],
    ready: Readiness,
    problem: str = "",
) -> None:
    note = "; ".join(filter(None, (problem, ready.note)))
    episodes = [
        RecalledEpisode(
            id=lesson["id"],
            task=lesson["task"][:200],
            similarity=lesson["similarity"],
            repo=lesson.get("repo", ""),
        )
        for lesson in lessons
    ]
    files = [place["path"] for place in places]
    index = IndexState(**{**vars(ready), "note": note})
    publish(MemoryRecalled(files=files, episodes=episodes, index=index, scope=memory.scope))
