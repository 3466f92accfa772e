"""Submission of tasks: from a request of the original API to a queued run."""

from dataclasses import dataclass
from uuid import uuid4

from graph.supervisor import Supervisor
from memory.records.runs import RunRow
from nodes.state import ContextFile, Input
from server.api.repositories import choose_repository
from server.api.schemas import StepsRequest, TaskRequest


@dataclass(frozen=True)
class SubmittedRun:
    """A queued run. Its events come after `after` in its thread's log."""

    run: RunRow
    after: int


async def submit_task(supervisor: Supervisor, body: TaskRequest | StepsRequest) -> SubmittedRun:
    """Queue the run that a request describes. It goes on whether or not anybody listens."""
    files = body.context_files
    if isinstance(files, dict):
        files = [ContextFile(path=path, content=text) for path, text in files.items()]
    steps = body.steps if isinstance(body, StepsRequest) else []
    planned = {"steps": [step.planned(number) for number, step in enumerate(steps)]} if steps else {}
    task = body.task or "\n".join(step.description for step in steps)
    # The id is chosen here, because the scratch repository is named after it.
    thread_id = body.thread_id or uuid4().hex[:10]
    repo, files = await choose_repository(supervisor, thread_id, body.repo, files)
    options = body.options.model_dump(exclude_unset=True)
    input = Input(task=task, repo=repo, context_files=files, options=options, **planned)  # type: ignore[typeddict-item]
    # Read before the run is queued: its first events may be written before `submit` returns.
    after = await last_seq(supervisor, thread_id)
    return SubmittedRun(await supervisor.submit(input, thread_id), after)


async def last_seq(supervisor: Supervisor, thread_id: str) -> int:
    """Return the number of the newest event in a thread's log, 0 for an empty one."""
    return (await supervisor.journal.events.ends([thread_id])).get(thread_id, 0)
