"""What clients ask for over the original's API, and how it becomes a run."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from graph.run_request import THREAD_ID
from graph.settings import Settings
from graph.supervisor import Supervisor
from memory.records.runs import RunRow
from nodes.state import ContextFile, Input, Options
from server.api.problems import Problem
from server.api.repositories import checked, scratch

Text = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]
ThreadId = Annotated[str, StringConstraints(pattern=f"^{THREAD_ID}$")]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    context_files: list[str | ContextFile] | dict[str, str] = Field(
        default_factory=list, description="Paths in the repository, or files with their contents."
    )
    repo: str | None = Field(None, description="A git repository; without one the task gets a scratch one.")
    thread_id: ThreadId | None = Field(None, description="A thread to go on with, or a new one's name.")
    options: Options = Field(default_factory=Options, description="Limits and choices of this run.")


class TaskRequest(_Request):
    """A task."""

    task: Text


class StreamRequest(TaskRequest):
    """A task whose output is streamed; `frames` says how."""

    frames: Literal["text", "json"] = Field(
        "text",
        description="text: each message is a piece of text; a CR arrives as a line's end, as SSE has it. "
        'json: each is an object whose "text" is exact, with "node", "step_id" and the event\'s "seq".',
    )


class StepRequest(BaseModel):
    """One step, as a planner would write it; steps with the same `parallel_group` run at once."""

    model_config = ConfigDict(extra="forbid")

    agent: str = "coder"
    description: Text
    file: str | None = None
    parallel_group: int = 0
    tool_name: str | None = None
    tool_params: dict[str, Any] | None = None

    def planned(self, number: int) -> dict[str, Any]:
        """The step as planners write it. Raises Problem for what cannot be a step of one's own."""
        if self.agent == "tool":
            detail = f"steps.{number}: tool steps are not there yet; describe it as a step with agent coder"
            raise Problem(501, "Not implemented", detail)
        if self.agent != "coder":
            detail = f"steps.{number}: a step's agent is coder; tests, repair and review follow by themselves"
            raise Problem(422, "Invalid request", detail)
        return self.model_dump(exclude={"tool_name", "tool_params"}, exclude_none=True)


class StepsRequest(_Request):
    """Steps that are carried out as they are; without `task` they say by themselves what is to be done."""

    task: Text | None = None
    steps: list[StepRequest] = Field(min_length=1, max_length=40)


@dataclass(frozen=True)
class Begun:
    """A run that was taken on; its events come after `after` in its thread's log."""

    run: RunRow
    after: int


async def begin(supervisor: Supervisor, settings: Settings, body: TaskRequest | StepsRequest) -> Begun:
    """Start the run that is asked for; it depends on nobody who listens."""
    files = body.context_files
    if isinstance(files, dict):
        files = [ContextFile(path=path, content=text) for path, text in files.items()]
    steps = body.steps if isinstance(body, StepsRequest) else []
    wanted = {"steps": [step.planned(number) for number, step in enumerate(steps)]} if steps else {}
    task = body.task or "\n".join(step.description for step in steps)
    thread_id = body.thread_id or uuid4().hex[:10]
    repo, files = await place(supervisor, settings, thread_id, body.repo, files)
    options = body.options.model_dump(exclude_unset=True)
    given = Input(task=task, repo=repo, context_files=files, options=options, **wanted)  # type: ignore[typeddict-item]
    after = (await supervisor.journal.events.ends([thread_id])).get(thread_id, 0)
    return Begun(await supervisor.submit(given, thread_id), after)


async def place(
    supervisor: Supervisor,
    settings: Settings,
    thread_id: str,
    repo: str | None,
    files: list[str | ContextFile],
) -> tuple[str, list[str | ContextFile]]:
    """Where the run works: where it says, where its thread does, else in a new scratch repository."""
    thread = await supervisor.journal.threads.get(thread_id)
    if repo:
        repo = await asyncio.to_thread(checked, settings, repo)
        if thread and thread.repo and thread.repo != repo:
            detail = f"thread {thread_id} works on {thread.repo}; leave `repo` out, or begin another thread"
            raise Problem(409, "Another repository", detail)
        return repo, files
    if thread and thread.repo:
        return await asyncio.to_thread(checked, settings, thread.repo), files
    place, paths = await asyncio.to_thread(scratch, settings, thread_id, files)
    return place, list(paths)
