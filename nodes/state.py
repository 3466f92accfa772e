"""What flows along the graph's edges: plain values, so that checkpoints outlive the code that wrote them."""

from collections.abc import Iterable
from operator import add
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt
from typing_extensions import TypedDict

from nodes.messages import Message, joined

Agent = Literal["planner", "coder", "tester", "debugger", "critic"]


class ContextFile(TypedDict):
    """A file that the user gave along with the task, contents included."""

    path: str
    content: str


class Step(TypedDict):
    """One piece of the plan; steps with the same `group` run at once, groups run in ascending order."""

    id: str
    agent: str
    description: str
    file: NotRequired[str]
    group: int


class Plan(TypedDict):
    """The planner's answer, validated and numbered."""

    explanation: str
    steps: list[Step]


class StepResult(TypedDict):
    """What became of a step: the snapshot that holds its edit, or why it failed."""

    step_id: str
    base: str
    snapshot: NotRequired[str]
    error: NotRequired[str]


def latest(results: Iterable[StepResult]) -> dict[str, StepResult]:
    """What became of each step in the end, by its id: one that was done again has a result a try."""
    return {result["step_id"]: result for result in results}


class Conflict(TypedDict):
    """A step whose edit did not merge, and the text with both sides marked."""

    step_id: str
    text: str


class Place(TypedDict):
    """A piece of a file that a search found: lines counted from 1, the last one included."""

    path: str
    symbol: str
    first: int
    last: int
    text: str


class Lesson(TypedDict):
    """An earlier task like this one: what was done, what failed and how it was mended, as text."""

    id: str
    task: str
    similarity: float
    text: str


class Mend(TypedDict):
    """A repair: what had been found wrong, how the debugger explained it, and the files that it touched."""

    found: list[str]
    how: str
    files: list[str]


class Verdict(TypedDict):
    """The critic's judgement of one snapshot's tree."""

    verdict: Literal["PASS", "FAIL"]
    reasons: list[str]
    tree: str


class Stop(TypedDict):
    """Why a run ends before its proof; `kind` becomes the run's status."""

    kind: Literal["budget", "cancelled", "unverified"]
    reason: str


class Options(BaseModel):
    """One run's limits and choices. They travel with the run, so a resume has them; None means no limit."""

    model_config = ConfigDict(extra="forbid")

    approve_plan: bool = False
    auto_approve: bool = False
    from_head: bool = False
    parallel: bool = True
    max_cost_usd: PositiveFloat | None = None
    max_tokens: PositiveInt | None = None
    max_run_seconds: PositiveFloat | None = None
    max_debug_rounds: int = Field(default=3, ge=0)
    max_review_rounds: int = Field(default=2, ge=0)
    sandbox_seconds: PositiveFloat = 30.0


class Input(TypedDict):
    """What starts a run, from every face alike: a `task`, or `messages` of which the last is it.

    `steps`, in the shape that planners answer with, are carried out in place of a planner's.
    """

    task: NotRequired[str]
    messages: NotRequired[Annotated[list[Any], joined]]
    repo: NotRequired[str]
    context_files: NotRequired[list[str | ContextFile]]
    steps: NotRequired[list[dict[str, Any]] | None]
    options: NotRequired[dict[str, Any]]


class State(TypedDict, total=False):
    """The run so far. Snapshots are commit ids; `base` is where it started, `head` its newest state."""

    task: str
    repo: str
    context_files: list[str | ContextFile]
    steps: list[dict[str, Any]] | None
    options: dict[str, Any]

    messages: Annotated[list[Message], joined]

    run: str
    base: str
    head: str
    delivered: str | None

    lessons: list[Lesson]
    places: list[Place]
    step_places: dict[str, list[Place]]

    plan: Plan | None
    group: int
    pending: list[str]
    results: Annotated[list[StepResult], add]
    conflicts: list[Conflict]

    tests_asked: int
    vacuous: list[str]
    untestable: str
    check: dict[str, Any] | None
    failure: str
    repairs: list[str]
    mends: list[Mend]
    debug_rounds: int
    review_rounds: int
    verdict: Verdict | None

    stops: Annotated[list[Stop], add]
    missing: list[str]
    branch: str | None
    proof: dict[str, Any] | None


class BranchInput(TypedDict):
    """What `Send` gives a coder branch: its step and what of the run it needs, as plain values."""

    task: str
    repo: str
    run: str
    head: str
    options: dict[str, Any]
    context_files: list[str | ContextFile]
    plan: Plan
    step: Step
    conflict: str
    lessons: list[Lesson]
    places: list[Place]
