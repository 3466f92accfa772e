"""The event union: one append-only log per thread, of which everything that users see is a view."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from graph.payload import Envelope, Payload
from graph.payload import FileEdit as FileEdit
from graph.payload import IndexState as IndexState
from graph.payload import RecalledEpisode as RecalledEpisode
from graph.payload import Status as Status
from graph.payload import Usage as Usage
from nodes.state import Plan


class _Data(Payload):
    pass  # a class of its own: clients find it by this name in the JSON Schema


class RunStarted(Envelope):
    """A run begins, or goes on after a park, a stop or a crash."""

    class Data(_Data):
        task: str
        repo: str
        base: str | None = None
        resumed: bool = False

    type: Literal["run.started"] = "run.started"
    data: Data


class RunFinished(Envelope):
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


class NodeStarted(Envelope):
    """A graph node begins, once per Send branch."""

    type: Literal["node.started"] = "node.started"
    data: _Data = _Data()


class NodeFinished(Envelope):
    """A graph node ended, once per Send branch."""

    class Data(_Data):
        seconds: float
        error: str | None = None

    type: Literal["node.finished"] = "node.finished"
    data: Data


class CheckpointSaved(Envelope):
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


class Token(Envelope):
    """A piece of a model's reply, coalesced over 50 ms."""

    class Data(_Data):
        text: str

    type: Literal["token"] = "token"
    data: Data


class Recalled(Envelope):
    """What memory had, for the task or for the step: the file of each place that was found, and episodes."""

    class Data(_Data):
        files: list[str]
        episodes: list[RecalledEpisode]
        index: IndexState

    type: Literal["recall"] = "recall"
    data: Data


class PlanMade(Envelope):
    """The plan as it stands; `fallback` when the planner's own could not be used."""

    class Data(_Data):
        plan: Plan
        fallback: bool = False

    type: Literal["plan"] = "plan"
    data: Data


class ApprovalRequired(Envelope):
    """The run waits for a human; `request` is the interrupt's value."""

    class Data(_Data):
        id: str
        request: dict[str, Any]

    type: Literal["approval.required"] = "approval.required"
    data: Data


class ApprovalResolved(Envelope):
    """A human answered."""

    class Data(_Data):
        id: str
        decision: str
        reason: str | None = None

    type: Literal["approval.resolved"] = "approval.resolved"
    data: Data


class ToolResult(Envelope):
    """A tool step ran."""

    class Data(_Data):
        tool: str
        stdout: str
        stderr: str
        returncode: int

    type: Literal["tool.result"] = "tool.result"
    data: Data


class Edit(Envelope):
    """An agent's edit, already stored as a snapshot."""

    class Data(_Data):
        files: list[FileEdit]
        added: int
        removed: int
        snapshot: str

    type: Literal["edit"] = "edit"
    data: Data


class SandboxStarted(Envelope):
    """A command begins in the sandbox; `what` says on which files."""

    class Data(_Data):
        what: str
        backend: str
        command: list[str]

    type: Literal["sandbox.started"] = "sandbox.started"
    data: Data


class SandboxOutput(Envelope):
    """A piece of the sandbox's output."""

    class Data(_Data):
        text: str

    type: Literal["sandbox.output"] = "sandbox.output"
    data: Data


class Check(Envelope):
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


class VerdictGiven(Envelope):
    """The critic's judgement of a tree."""

    class Data(_Data):
        verdict: Literal["PASS", "FAIL"]
        reasons: list[str]
        tree: str

    type: Literal["verdict"] = "verdict"
    data: Data


class Budget(Envelope):
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


class Retry(Envelope):
    """A provider failed or an agent's answer was unusable, and is asked again."""

    class Data(_Data):
        reason: str
        attempt: int
        model: str | None = None
        wait_seconds: float = 0.0

    type: Literal["retry"] = "retry"
    data: Data


class Message(Envelope):
    """A user's note to a running task; the next call of an agent sees it."""

    class Data(_Data):
        role: Literal["user"]
        text: str

    type: Literal["message"] = "message"
    data: Data


class Error(Envelope):
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
