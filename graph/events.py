"""The event union: one append-only log per thread, of which everything that users see is a view."""

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from nodes.state import Plan

Status = Literal["verified", "unverified", "waiting", "cancelled", "failed", "budget"]


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Event(BaseModel):
    """The envelope. `seq` counts from 1 without gaps on a thread; `ts` is RFC 3339 UTC.

    `cut` says that texts or lists in `data` were too long for the log, which keeps them whole aside.
    """

    model_config = ConfigDict(extra="forbid")

    seq: int
    thread_id: str
    run_id: str
    ts: str
    node: str | None = None
    step_id: str | None = None
    cut: bool = False

    @cached_property
    def wire(self) -> str:
        """The event as JSON, made once for all its readers."""
        return self.model_dump_json()


class RunStarted(_Event):
    """A run begins, or goes on after a park, a stop or a crash."""

    class Data(_Data):
        task: str
        repo: str
        base: str | None = None
        resumed: bool = False

    type: Literal["run.started"] = "run.started"
    data: Data


class Usage(_Data):
    """What models used: tokens as the provider counted them; `cost_usd` is None where a price is unknown."""

    agent: str
    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    seconds: float


class RunFinished(_Event):
    """A run ends or parks; `missing` says what a verified result would still need."""

    class Data(_Data):
        status: Status
        proof: dict[str, Any] | None = None
        branch: str | None = None
        reason: str | None = None
        missing: list[str] = Field(default_factory=list)
        usage: list[Usage] = Field(default_factory=list)

    type: Literal["run.finished"] = "run.finished"
    data: Data


class NodeStarted(_Event):
    """A graph node begins, once per Send branch."""

    type: Literal["node.started"] = "node.started"
    data: _Data = _Data()


class NodeFinished(_Event):
    """A graph node ended, once per Send branch."""

    class Data(_Data):
        seconds: float
        error: str | None = None

    type: Literal["node.finished"] = "node.finished"
    data: Data


class CheckpointSaved(_Event):
    """A superstep's state is on disk under `id`; `next` are the nodes to come.

    A run begins with the checkpoint of its input. A resume names the one that it goes on from once more.
    """

    class Data(_Data):
        id: str
        parent: str | None
        source: str
        step: int
        next: list[str]

    type: Literal["checkpoint"] = "checkpoint"
    data: Data


class Token(_Event):
    """A piece of a model's reply, coalesced over 50 ms."""

    class Data(_Data):
        text: str

    type: Literal["token"] = "token"
    data: Data


class RecalledEpisode(_Data):
    """An earlier task like this one; `similarity` from 0 to 1."""

    id: str
    task: str
    similarity: float


class IndexState(_Data):
    """How far the repository's index was: the share of it with vectors, and why it is not more."""

    engine: str
    embedded: float
    note: str
    ready: bool


class Recalled(_Event):
    """What memory had, for the task or for the step: the file of each place that was found, and episodes."""

    class Data(_Data):
        files: list[str]
        episodes: list[RecalledEpisode]
        index: IndexState

    type: Literal["recall"] = "recall"
    data: Data


class PlanMade(_Event):
    """The plan as it stands; `fallback` when the planner's own could not be used."""

    class Data(_Data):
        plan: Plan
        fallback: bool = False

    type: Literal["plan"] = "plan"
    data: Data


class ApprovalRequired(_Event):
    """The run waits for a human; `request` is the interrupt's value."""

    class Data(_Data):
        id: str
        request: dict[str, Any]

    type: Literal["approval.required"] = "approval.required"
    data: Data


class ApprovalResolved(_Event):
    """A human answered."""

    class Data(_Data):
        id: str
        decision: str
        reason: str | None = None

    type: Literal["approval.resolved"] = "approval.resolved"
    data: Data


class ToolResult(_Event):
    """A tool step ran."""

    class Data(_Data):
        tool: str
        stdout: str
        stderr: str
        returncode: int

    type: Literal["tool.result"] = "tool.result"
    data: Data


class FileEdit(_Data):
    """One file of an edit and its line counts; `placed` says how a hunk found its place when not exactly."""

    path: str
    added: int
    removed: int
    placed: list[str] = Field(default_factory=list)


class Edit(_Event):
    """An agent's edit, already stored as a snapshot."""

    class Data(_Data):
        files: list[FileEdit]
        added: int
        removed: int
        snapshot: str

    type: Literal["edit"] = "edit"
    data: Data


class SandboxStarted(_Event):
    """A command begins in the sandbox; `what` says on which files."""

    class Data(_Data):
        what: str
        backend: str
        command: list[str]

    type: Literal["sandbox.started"] = "sandbox.started"
    data: Data


class SandboxOutput(_Event):
    """A piece of the sandbox's output."""

    class Data(_Data):
        text: str

    type: Literal["sandbox.output"] = "sandbox.output"
    data: Data


class Check(_Event):
    """What the sandbox saw."""

    class Data(_Data):
        green: bool
        passed: int
        failed: int
        cases: list[dict[str, Any]]
        problems: list[str] = Field(default_factory=list)
        tree: str

    type: Literal["check"] = "check"
    data: Data


class VerdictGiven(_Event):
    """The critic's judgement of a tree."""

    class Data(_Data):
        verdict: Literal["PASS", "FAIL"]
        reasons: list[str]
        tree: str

    type: Literal["verdict"] = "verdict"
    data: Data


class Budget(_Event):
    """The run's sums after a completion; `unpriced` when a price is unknown and tokens alone count."""

    class Data(_Data):
        agent: str
        model: str
        input_tokens: int
        output_tokens: int
        cost_usd: float | None
        total_tokens: int
        total_cost_usd: float
        unpriced: bool = False
        cached: bool = False

    type: Literal["budget"] = "budget"
    data: Data


class Retry(_Event):
    """A provider failed or an agent's answer was unusable, and is asked again."""

    class Data(_Data):
        reason: str
        attempt: int
        model: str | None = None
        wait_seconds: float = 0.0

    type: Literal["retry"] = "retry"
    data: Data


class Message(_Event):
    """A user's note to a running task; the next call of an agent sees it."""

    class Data(_Data):
        role: Literal["user"]
        text: str

    type: Literal["message"] = "message"
    data: Data


class Error(_Event):
    """Something failed in a way that a person should read."""

    class Data(_Data):
        message: str
        kind: str

    type: Literal["error"] = "error"
    data: Data


Event = Annotated[
    RunStarted
    | RunFinished
    | NodeStarted
    | NodeFinished
    | CheckpointSaved
    | Token
    | Recalled
    | PlanMade
    | ApprovalRequired
    | ApprovalResolved
    | ToolResult
    | Edit
    | SandboxStarted
    | SandboxOutput
    | Check
    | VerdictGiven
    | Budget
    | Retry
    | Message
    | Error,
    Field(discriminator="type"),
]

EVENT: TypeAdapter[Event] = TypeAdapter(Event)


def schema() -> dict[str, Any]:
    """The union as a JSON Schema, discriminated by `type`."""
    return EVENT.json_schema()
