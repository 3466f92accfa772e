"""The events of a run: typed payloads, their union, and the numbered event that the log keeps."""

from functools import cached_property
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, Field, SerializeAsAny, TypeAdapter, create_model

from nodes import event_parts as parts
from nodes.event_parts import Payload
from nodes.proof import Grade, ResultSummary
from nodes.state import Plan

RunStatus = Literal["verified", "answered", "unverified", "waiting", "cancelled", "failed", "budget"]


class RunStarted(Payload):
    """A run starts, or resumes after it parked, stopped or crashed. Its options name its models."""

    type = "run.started"
    task: str
    repo: str
    base: str | None = None
    resumed: bool = False
    model: str | None = None
    models: dict[str, str] = Field(default_factory=dict)


class RunFinished(Payload):
    """A run ends or parks. `missing` lists what a verified result would still need."""

    type = "run.finished"
    status: RunStatus
    proof: dict[str, Any] | None = None
    branch: str | None = None
    reason: str | None = None
    missing: list[str] = Field(default_factory=list)
    summary: ResultSummary | None = None
    usage: list[parts.AgentUsage] = Field(default_factory=list)


class NodeStarted(Payload):
    """A graph node starts, once per Send branch."""

    type = "node.started"


class NodeFinished(Payload):
    """A graph node ended, once per Send branch."""

    type = "node.finished"
    seconds: float
    error: str | None = None


class CheckpointSaved(Payload):
    """A superstep's state is stored under `id`. `next` lists the nodes that run next.

    A run's first checkpoint is that of its input. A resume repeats the checkpoint that it continues from.
    """

    type = "checkpoint"
    id: str
    parent: str | None
    source: str
    step: int
    next: list[str]


class Token(Payload):
    """A piece of a model's reply, coalesced over 50 ms."""

    type = "token"
    text: str


class MemoryRecalled(Payload):
    """Search results from memory, for the task or for one step: the file of each place, and earlier tasks.

    `scope` says whose tasks were searched: those of this repository, or of all.
    """

    type = "recall"
    files: list[str]
    episodes: list[parts.RecalledEpisode]
    index: parts.IndexState
    scope: Literal["repository", "all"] | None = None


class PlanMade(Payload):
    """The current plan, as it runs. `fallback` is true if the planner's own plan was unusable."""

    type = "plan"
    plan: Plan
    fallback: bool = False
    by: Literal["planner", "user"] = "planner"


class ApprovalRequired(Payload):
    """The run waits for a human. `request` is the interrupt's value."""

    type = "approval.required"
    id: str
    request: dict[str, Any]


class ApprovalResolved(Payload):
    """A human answered. Logs of older versions lack the details."""

    type = "approval.resolved"
    id: str
    decision: str
    reason: str | None = None
    details: parts.AnswerDetails | None = None


class ToolCalled(Payload):
    """An agent called a tool. `exit_code` is a command's, `bytes` the result's, `summary` a short form."""

    type = "tool.call"
    name: str
    arguments: dict[str, Any]
    seconds: float
    bytes: int
    exit_code: int | None = None
    summary: str = ""


class ToolResult(Payload):
    """A tool step ran, or was refused. Then there is no `call`, and `stderr` says why."""

    type = "tool.result"
    tool: str
    stdout: str
    stderr: str
    returncode: int
    call: parts.ToolStepCall | None = None


class FilesEdited(Payload):
    """An agent's edit, already stored as a snapshot."""

    type = "edit"
    files: list[parts.FileEdit]
    added: int
    removed: int
    snapshot: str


class EnvironmentReported(Payload):
    """A step in the making of an environment. `key` names a finished one, `text` is output or the problem."""

    type = "environment"
    status: Literal["building", "output", "ready", "failed"]
    folder: str = ""
    commands: list[str] = Field(default_factory=list)
    key: str = ""
    seconds: float = 0.0
    text: str = ""


class SandboxStarted(Payload):
    """A command starts in the sandbox. `what` names its files, or is COMMAND."""

    type = "sandbox.started"
    what: str
    backend: str
    command: list[str]


class SandboxOutput(Payload):
    """A piece of the sandbox's output."""

    type = "sandbox.output"
    text: str


class CheckFinished(Payload):
    """The result of a check on the snapshot with this tree. `gaps` say why green is not enough."""

    type = "check"
    green: bool
    passed: int
    failed: int
    cases: list[dict[str, Any]]
    problems: list[str] = Field(default_factory=list)
    gaps: list[str] = Field(default_factory=list)
    grade: Grade = "tests"
    command: list[str] = Field(default_factory=list)
    exit_code: int | None = None
    tree: str

    @property
    def counts(self) -> str:
        """The counts of cases, or the exit code where there are none."""
        if self.grade == "exit code":
            return f"{' '.join(self.command)} ended with exit code {self.exit_code}"
        if not (self.cases or self.passed or self.failed):
            return f"no test ran, exit code {self.exit_code}"
        return f"{self.passed} passed, {self.failed} failed"


class VerdictGiven(Payload):
    """The critic's verdict on a tree."""

    type = "verdict"
    verdict: Literal["PASS", "FAIL"]
    reasons: list[str]
    tree: str
    summary: str = ""


class BudgetUpdated(Payload):
    """A completion's usage and the run's totals, which may lack prices (`unpriced`) or be estimates."""

    type = "budget"
    agent: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    total_tokens: int
    total_cost_usd: float
    unpriced: bool = False
    estimated: bool = False
    cached: bool = False
    cached_tokens: int = 0


class Retried(Payload):
    """A provider failed, or an agent's reply was unusable. The call is made again after `wait_seconds`."""

    type = "retry"
    reason: str
    attempt: int
    model: str | None = None
    wait_seconds: float = 0.0


class MessageAdded(Payload):
    """A user's note to a running task, which the next call of an agent sees, or the answer to a question."""

    type = "message"
    role: Literal["user", "assistant"]
    text: str


class NoteRead(Payload):
    """The step's agent reads notes for the first time: the `seq` of their `message` events."""

    type = "note.read"
    notes: list[int]


class ErrorReported(Payload):
    """A failure that a person should read. `kind` is `warning` if the run goes on as intended."""

    type = "error"
    message: str
    kind: str


PAYLOADS: dict[str, type[Payload]] = {payload.type: payload for payload in Payload.__subclasses__()}


class Event(BaseModel, extra="forbid"):
    """One event of a thread's log. `seq` counts from 1 without gaps. `ts` is RFC 3339 UTC.

    `cut` is true if texts or lists in `data` were shortened. The log keeps them in full elsewhere.
    """

    seq: int
    thread_id: str
    run_id: str
    ts: str
    node: str | None = None
    step_id: str | None = None
    cut: bool = False
    type: str
    data: SerializeAsAny[Payload]

    @cached_property
    def wire(self) -> str:
        """The event as JSON. It is made once for all readers."""
        return self.model_dump_json()


def _event_model(payload: type[Payload]) -> type[Event]:
    """Narrow `Event` to one type, so that pydantic can tell the members of the union apart."""
    fields: dict[str, Any] = {"type": (Literal[payload.type], ...), "data": (payload, ...)}
    return create_model(f"{payload.__name__}Event", __base__=Event, __doc__=payload.__doc__, **fields)


AnyEvent: Any = Annotated[
    Union[tuple(_event_model(payload) for payload in PAYLOADS.values())],  # noqa: UP007  # built at run time
    Field(discriminator="type"),
]
EVENT: TypeAdapter[Event] = TypeAdapter(AnyEvent)
"""Validates and describes events, discriminated by `type`."""
