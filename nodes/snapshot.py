"""The snapshot that a run starts from. The node also clears the state of the thread's last run."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from langgraph.runtime import Runtime
from langgraph.types import Overwrite

from nodes.check.suites.config import NoSuite
from nodes.check.suites.packages import Packages
from nodes.check.suites.suite import recognise
from nodes.dialogue.messages import Turn, human, task_of
from nodes.dialogue.turns import turns_of
from nodes.events import ErrorReported
from nodes.publish import Publish, publisher
from nodes.repository import thread_of
from nodes.state import State, options_of
from tools.workspace import Workspace, WorkspaceError
from tools.workspace.packing.room import MAX_WORKSPACE_MB

_MASKED = (
    "a part of the task looks like a key, a token or a password, and was replaced by ***; no model sees it. "
    "Name a variable of the environment or a fixture instead"
)
_MOST_NAMED = 20


@dataclass(frozen=True)
class Snapshot:
    """Fixes the run's base, and checks what can be checked before a model is paid.

    A repository whose files take more than `max_workspace_mb` is refused. `notes_of` returns the user's notes
    to an earlier run.
    """

    max_workspace_mb: int = MAX_WORKSPACE_MB
    notes_of: Callable[[str], Awaitable[list[str]]] | None = None

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return a fresh state. Raises WorkspaceError and NoSuite for what a person must fix."""
        publish = publisher(runtime.stream_writer, "snapshot")
        info = runtime.execution_info
        run = str((info and info.run_id) or uuid4())
        message = task_of(state.get("messages") or [])
        task = message or str(state.get("task") or "")
        if state.get("masked"):
            publish(ErrorReported(message=_MASKED, kind="warning"))
        base = await asyncio.to_thread(self._begin, state, thread_of(runtime), publish)
        last = state.get("run")
        notes = await self.notes_of(last) if last and self.notes_of else []
        turns = await asyncio.to_thread(_turns, state, notes)
        fresh: State = {  # every key, because a thread's next run starts with the state of its last
            "task": task,
            "messages": [] if message else [human(run, task)],
            "run": run,
            "asked": task,
            "masked": False,
            "turns": turns,
            "options": options_of(state).model_dump(),
            "context_files": list(state.get("context_files") or ()),
            "repo": state["repo"],
            "base": base,
            "head": base,
            "lessons": [],
            "places": [],
            "step_places": {},
            "plan": None,
            "refusals": [],
            "answer": "",
            "plan_is_given": False,
            "blocked": [],
            "pending": [],
            "results": Overwrite([]),  # type: ignore[typeddict-item]  # resets the reducer
            "conflicts": [],
            "tests_asked": 0,
            "vacuous": [],
            "untestable": "",
            "check": None,
            "failure": "",
            "repairs": [],
            "mends": [],
            "debug_rounds": 0,
            "review_rounds": 0,
            "verdict": None,
            "notes": [],
            "tests_wanted": "",
            "guards_asked": False,
            "guards_failed": "",
            "fallback": None,
            "not_the_change": "",
            "debugging": None,
            "demands": [],
            "tester_remark": "",
            "last_words": None,
            "environment_problem": "",
            "without_environment": "",
            "stops": Overwrite([]),  # type: ignore[typeddict-item]  # resets the reducer
            "missing": [],
            "branch": None,
            "proof": None,
        }
        return fresh

    def _check_suite(self, workspace: Workspace, snapshot: str) -> None:
        """Raise NoSuite, before a model is paid, if neither the root nor a package has tests."""
        try:
            recognise(workspace, snapshot)
        except NoSuite:
            if Packages(workspace, snapshot, snapshot).all() == [""]:
                raise

    def _begin(self, state: State, thread: str, publish: Publish) -> str:
        options = options_of(state)
        if not state.get("repo"):
            raise WorkspaceError("this task names no repository; give `repo`, the path of a git repository")
        workspace = Workspace.open(Path(state["repo"]))
        if state.get("delivered"):  # the thread's next task builds on its last result
            snapshot = workspace.resolve(str(state["delivered"]))
        else:
            begun = workspace.begin(options.from_head)
            snapshot = begun.snapshot
            if begun.left_out:
                message = f"left out, as they look like secrets: {_some(begun.left_out)}"
                publish(ErrorReported(message=message, kind="warning"))
            if begun.large:
                message = "left out, as they are untracked and over 5 MB (`git add` includes them): "
                message += _some(begun.large)
                publish(ErrorReported(message=message, kind="warning"))
        workspace.room(snapshot).check(self.max_workspace_mb)
        self._check_suite(workspace, snapshot)
        context_files = state.get("context_files") or []
        missing = [p for p in context_files if isinstance(p, str) and workspace.size(snapshot, p) is None]
        if missing:
            raise WorkspaceError(f"no such context file in the repository: {', '.join(missing)}")
        workspace.hold(thread, "base", snapshot)
        if not state.get("delivered"):
            workspace.hold(thread, "start", snapshot)  # `autocode apply` covers what is delivered since
        return snapshot


def _some(paths: Sequence[str]) -> str:
    """Return the first of some paths in words, and how many there are beyond them."""
    more = len(paths) - _MOST_NAMED
    return ", ".join([*paths[:_MOST_NAMED], *([f"{more:,} more"] if more > 0 else [])])


def _turns(state: State, notes: list[str]) -> list[Turn]:
    return turns_of(state, Workspace.open(Path(state["repo"])), notes)
