"""The Python face: run one task from start to end, with a callback for its events."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from pathlib import Path
from typing import Any
from uuid import uuid4

from graph.run_request import opened, scratch
from graph.runner import Runner
from graph.settings import Settings
from nodes.events import Event, RunFinished, RunStatus
from nodes.proof import Proof
from nodes.state import ContextFile, Input


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `verified` alone means done; `branch` and `proof` where something was delivered."""

    thread_id: str
    status: RunStatus
    branch: str | None
    proof: Proof | None
    missing: list[str]


async def run_task(
    task: str,
    repo: Path | str | None = None,
    context_files: Sequence[str | ContextFile] = (),
    options: dict[str, Any] | None = None,
    on_event: Callable[[Event], object] = lambda event: None,
    settings: Settings | None = None,
) -> Outcome:
    """Run `task` on the git repository `repo`, else on an empty one under AUTOCODE_HOME.

    `on_event`, a function or a coroutine function, hears every event, in order, once it is in the log. Raises
    what a person must mend: WorkspaceError, ModelError, SandboxError, NoSuite, RunnerError.
    """
    settings, thread_id = settings or Settings.load(), uuid4().hex[:10]
    home = scratch(settings, thread_id)
    given = Input(task=task, context_files=list(context_files), options=options or {})
    given["repo"] = str(repo or home)
    last: Event | None = None
    async with Runner.open(settings) as runner:
        if repo is None:
            await opened(given, home)
        async for event in runner.start(given, thread_id):
            heard = on_event(event)
            if isawaitable(heard):
                await heard
            last = event
    if last is None or not isinstance(last.data, RunFinished):
        raise RuntimeError("the run ended without run.finished")
    end = last.data
    proof = Proof.model_validate(end.proof) if end.proof else None
    return Outcome(last.thread_id, end.status, end.branch, proof, end.missing)
