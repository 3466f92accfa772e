"""The first node: takes the snapshot a run starts from, and clears what the last run left in the state."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from langgraph.runtime import Runtime
from langgraph.types import Overwrite

from nodes.check.suite import recognise
from nodes.dialogue.ask import thread_of
from nodes.events import ErrorReported
from nodes.messages import human, task_of
from nodes.publish import Publish, publisher
from nodes.state import ContextFile, Options, State
from tools.workspace import Workspace, WorkspaceError


@dataclass(frozen=True)
class Snapshot:
    """Opens the repository, checks what can be checked before money is spent, and fixes the base."""

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return a fresh state. Raises WorkspaceError and NoSuite with what a person must mend."""
        publish = publisher(runtime.stream_writer, "snapshot")
        info = runtime.execution_info
        run = str((info and info.run_id) or uuid4())
        said = task_of(state.get("messages") or [])
        task = said or str(state.get("task") or "")
        base = await asyncio.to_thread(self._begin, state, thread_of(runtime), publish)
        fresh: State = {
            "task": task,
            "messages": [] if said else [human(run, task)],
            "run": run,
            "options": Options.model_validate(state.get("options") or {}).model_dump(),
            "context_files": list(state.get("context_files") or ()),
            "repo": state["repo"],
            "base": base,
            "head": base,
            "lessons": [],
            "places": [],
            "step_places": {},
            "plan": None,
            "group": -1,
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
            "stops": Overwrite([]),  # type: ignore[typeddict-item]  # resets the reducer
            "missing": [],
            "branch": None,
            "proof": None,
        }
        return fresh

    def _begin(self, state: State, thread: str, publish: Publish) -> str:
        options = Options.model_validate(state.get("options") or {})
        if not state.get("repo"):
            raise WorkspaceError("this task names no repository; give `repo`, the path of a git repository")
        workspace = Workspace.open(Path(state["repo"]))
        if state.get("delivered"):
            snapshot = workspace.resolve(str(state["delivered"]))
        else:
            begun = workspace.begin(options.from_head)
            snapshot = begun.snapshot
            if begun.left_out:
                left = ", ".join(begun.left_out)
                message = f"left out, as they look like secrets: {left}"
                publish(ErrorReported(message=message, kind="warning"))
        recognise(workspace, snapshot)
        self._find(workspace, snapshot, state.get("context_files") or [])
        workspace.hold(thread, "base", snapshot)
        return snapshot

    def _find(self, workspace: Workspace, snapshot: str, given: list[str | ContextFile]) -> None:
        missing = [p for p in given if isinstance(p, str) and workspace.read(snapshot, p) is None]
        if missing:
            raise WorkspaceError(f"no such context file in the repository: {', '.join(missing)}")
