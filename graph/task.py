"""The Python face: run one task from start to end, with a callback for its events."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graph.events import Event, RunFinished, Status
from graph.runner import Runner
from graph.settings import Settings
from nodes.proof import Proof
from nodes.state import ContextFile, Input


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `verified` alone means done; `branch` and `proof` where something was delivered."""

    thread_id: str
    status: Status
    branch: str | None
    proof: Proof | None
    missing: list[str]


async def run_task(
    task: str,
    repo: Path | str,
    context_files: Sequence[str | ContextFile] = (),
    options: dict[str, Any] | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
    settings: Settings | None = None,
) -> Outcome:
    """Run `task` on the git repository `repo`; `on_event` hears every event, in order, once it is in the log.

    Raises what a person must mend: WorkspaceError, ModelError, SandboxError, NoSuite, RunnerError.
    """
    given = Input(task=task, repo=str(repo), context_files=list(context_files), options=options or {})
    last: Event | None = None
    async with Runner.open(settings or Settings.load()) as runner:
        async for event in runner.start(given):
            on_event(event)
            last = event
    if not isinstance(last, RunFinished):
        raise RuntimeError("the run ended without run.finished")
    end = last.data
    proof = Proof.model_validate(end.proof) if end.proof else None
    return Outcome(last.thread_id, end.status, end.branch, proof, end.missing)
