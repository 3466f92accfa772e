"""`run_task`: run one task from start to end in this process."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from pathlib import Path
from typing import Any

from graph.run_request import new_thread_id
from graph.settings import Settings
from graph.supervisor import Supervisor
from nodes.events import Event, MessageAdded, RunFinished, RunStatus
from nodes.proof import Proof
from nodes.state import ContextFile, Input
from tools.workspace import Workspace


@dataclass(frozen=True)
class Outcome:
    """The end of a run. Only `verified` means done. `branch` and `proof` are set if it delivered.

    `answer` is the text that answers a task which only asks. The status is then `answered`.
    """

    thread_id: str
    status: RunStatus
    branch: str | None
    proof: Proof | None
    missing: list[str]
    answer: str = ""


async def run_task(
    task: str,
    repo: Path | str | None = None,
    context_files: Sequence[str | ContextFile] = (),
    options: dict[str, Any] | None = None,
    on_event: Callable[[Event], object] = lambda event: None,
    settings: Settings | None = None,
) -> Outcome:
    """Run `task` on the git repository `repo`, else on an empty one under AUTOCODE_HOME.

    `on_event` may be a function or a coroutine function. It receives every event, in order, once the event is
    in the log. Raises WorkspaceError, ModelError, SandboxError, NoSuite, RunnerError.
    """
    settings = settings or Settings.load()
    input = Input(task=task, context_files=list(context_files), options=options or {})
    if repo is not None:
        # `submit` reports a bad repository as InputError, but callers of `run_task` expect WorkspaceError.
        workspace = await asyncio.to_thread(Workspace.open, Path(repo))
        input["repo"] = str(workspace.path)
    last: Event | None = None
    answer = ""
    async with Supervisor.open(settings, foreground=True) as supervisor:
        run = await supervisor.submit(input, new_thread_id())
        async for event in supervisor.watch(run):
            result = on_event(event)
            if isawaitable(result):
                await result
            last = event
            if isinstance(event.data, MessageAdded) and event.data.role == "assistant":
                answer = event.data.text
    if last is None or not isinstance(last.data, RunFinished):
        raise RuntimeError("the run ended without run.finished")
    end = last.data
    proof = Proof.model_validate(end.proof) if end.proof else None
    return Outcome(last.thread_id, end.status, end.branch, proof, end.missing, answer)
