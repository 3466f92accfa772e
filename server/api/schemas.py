"""Requests and responses of the original API and of the thread routes."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    model_validator,
)

from graph.run_request import THREAD_ID
from memory.validation import ForeignModel
from nodes.planning.plan_reply import describe_tool
from nodes.state import Agent, ContextFile, ModelName, Options
from server.api.problems import Problem
from tools.catalogue import ToolOutput

NonBlank = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]
TITLE_CHARACTERS, SHOWN_CHARACTERS = 200, 1_000
MOST_SELECTED = 100_000
ThreadId = Annotated[str, StringConstraints(pattern=f"^{THREAD_ID}$")]


class _StrictModel(ForeignModel):
    model_config = ConfigDict(extra="forbid")


class _RunRequest(_StrictModel):
    context_files: list[str | ContextFile] | dict[str, str] = Field(
        default_factory=list, description="Paths in the repository, or files with their contents."
    )
    repo: str | None = Field(
        None, description="A git repository. Without one the task gets a scratch repository."
    )
    thread_id: ThreadId | None = Field(None, description="A thread to continue, or the name of a new one.")
    options: Options = Field(
        default_factory=Options,
        description="Limits and choices of this run and, by default, of the thread's next ones.",
    )


class TaskRequest(_RunRequest):
    """A task."""

    task: NonBlank


class StreamRequest(TaskRequest):
    """A task whose output is streamed in the format of `frames`."""

    frames: Literal["text", "json"] = Field(
        "text",
        description="text: each message is a piece of text. A CR arrives as a line end, as SSE defines it. "
        'json: each is an object with the exact "text", and "node", "step_id" and the event\'s "seq".',
    )


class StepRequest(_StrictModel):
    """A step as a planner writes it. Steps with the same `parallel_group` run in parallel."""

    agent: str = "coder"  # no Literal, because `planned` explains what other agents do
    description: str = Field("", description="What to do. Only a tool needs none.")
    file: str | None = None
    files: list[str] = Field(default_factory=list, description="All files that it edits, if several.")
    context_files: list[str] = Field(default_factory=list, description="Paths that its coder must read.")
    parallel_group: int = 0
    tool_name: str | None = None
    tool_params: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _check_description(self) -> Self:
        if not self.description.strip():
            if self.agent != "tool":
                raise ValueError("a step needs a description")
            self.description = describe_tool(self.tool_name)
        return self

    def planned(self, number: int) -> dict[str, Any]:
        """Return the step as planners write it. Raises Problem for agents that clients cannot choose."""
        if self.agent not in ("coder", "tool"):
            detail = "a step's agent is coder or tool; tests, repair and review follow by themselves"
            raise Problem(422, "Invalid request", f"steps.{number}: {detail}")
        left_out = {"tool_name", "tool_params"} if self.agent == "coder" else set()
        return self.model_dump(exclude=left_out, exclude_none=True)


class StepsRequest(_RunRequest):
    """Steps to run as they are. Their descriptions stand for a missing `task`."""

    task: NonBlank | None = None
    steps: list[StepRequest] = Field(min_length=1, max_length=40)


class StepOutput(BaseModel):
    """Result of one step. The output of a review begins with PASS or FAIL."""

    step: str
    output: str | ToolOutput
    type: Literal["code", "test", "review", "tool"]


class RunResponse(BaseModel):
    """Outcome of a run. On a scratch repository it includes the changed files and the diff.

    A file is null if it was deleted, is too large or is not text.
    """

    results: list[StepOutput]
    thread_id: str
    run_id: str
    status: str
    branch: str | None = None
    proof: dict[str, Any] | None = None
    files: dict[str, str | None] | None = None
    diff: str | None = None


def _title(metadata: Any) -> str:
    """Return the title in a thread's metadata, empty without one."""
    title = metadata.get("title") if isinstance(metadata, dict) else metadata
    return title[:TITLE_CHARACTERS] if isinstance(title, str) else ""


class ThreadSummary(BaseModel):
    """A thread with its newest run. `live` means that a process runs it now.

    `title` is the one in its metadata, empty unless somebody has renamed the thread. A long `task` is cut.
    """

    id: str
    task: Annotated[str, BeforeValidator(lambda task: task[:SHOWN_CHARACTERS])]
    title: Annotated[str, BeforeValidator(_title), Field(validation_alias="metadata")] = ""
    status: str
    repo: str
    branch: str | None
    created: str
    live: Annotated[bool, BeforeValidator(bool), Field(validation_alias="owner")]


class RunSummary(BaseModel):
    """An accepted run."""

    thread_id: str
    run_id: str = Field(validation_alias="id")
    status: str


class AnswerBody(_StrictModel):
    """A human's answer to one question. An edit contains the new plan or the new params.

    With a scope, an answer about a tool counts for the same call in this run, or in this repository.
    """

    decision: Literal["approve", "edit", "reject"]
    reason: str | None = None
    plan: dict[str, Any] | None = None
    params: dict[str, Any] | None = None
    scope: Literal["run", "repository"] | None = None


class AnswersBody(_StrictModel):
    """Answers to some or all open questions, by the ids of the questions."""

    answers: dict[str, AnswerBody] = Field(min_length=1)


class NoteRequest(_StrictModel):
    """A user's note to the agents."""

    text: NonBlank


class LimitsBody(_StrictModel):
    """Limits and models of a run, in the place of those that it has."""

    max_cost_usd: PositiveFloat | None = None
    max_tokens: PositiveInt | None = None
    max_run_seconds: PositiveFloat | None = None
    model: ModelName | None = None
    models: dict[Agent, ModelName] | None = None


class ResumeRequest(_StrictModel):
    """Larger limits for the run, which one that has spent its budget needs, or other models."""

    options: LimitsBody = LimitsBody()


class HunkSummary(BaseModel):
    """A part of a file's change. Its lines stand in the diff below `header`, unless it is a mode."""

    id: str
    header: str
    old_start: int
    old_lines: int
    new_start: int
    new_lines: int
    added: int
    removed: int


class ChangedFileSummary(BaseModel):
    """A changed file, in the order of the diff. One without hunks is applied as a whole.

    `other` is the path of the other half of a rename. Both are applied together.
    """

    path: str
    status: Literal["added", "modified", "deleted"]
    other: str | None
    hunks: list[HunkSummary]


class ChangesResponse(BaseModel):
    """All that is left to apply. `id` changes with it. `undo` says whether there is an apply to undo."""

    id: str
    verified: bool
    branch: str
    files: list[ChangedFileSummary]
    undo: bool


class ApplyRequest(_StrictModel):
    """The wish to apply: everything, or the files and hunks that are named.

    `changes` is the id of the changes that the client has seen. A result without proof must be meant.
    """

    unverified: bool = False
    changes: str | None = None
    files: list[str] | None = Field(None, max_length=MOST_SELECTED, description="Paths.")
    hunks: dict[str, Annotated[list[str], Field(max_length=MOST_SELECTED)]] | None = Field(
        None, max_length=MOST_SELECTED, description="Ids of hunks by path."
    )


class ApplyResponse(BaseModel):
    """The files of the checkout that were changed. It had all of the change if there are none."""

    paths: list[str]


class UndoResponse(BaseModel):
    """The files of the checkout that were restored. Those in `committed` differ from your last commit now."""

    paths: list[str]
    committed: list[str]


class CancelResponse(BaseModel):
    """Tells whether there was a run to stop."""

    cancelled: bool


class ForgetResponse(BaseModel):
    """The deleted branches, and those that stay with the reason. `unapplied` counts files that are lost."""

    branches: list[str]
    kept: dict[str, str]
    unapplied: int


class ForkRequest(_StrictModel):
    """The checkpoint to fork at, by default the thread's newest."""

    checkpoint_id: str | None = None


class ForkResponse(BaseModel):
    """The new thread."""

    thread_id: str
