"""The graph's state, in plain values, so that checkpoints outlive the code that wrote them."""

from collections.abc import Iterable, Mapping
from operator import add
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, StringConstraints
from typing_extensions import TypedDict

from nodes.dialogue.messages import Message, Turn, add_messages

Agent = Literal["planner", "coder", "tester", "debugger", "critic"]
ModelName = Annotated[str, StringConstraints(pattern=r"^\S{1,200}$")]


class ContextFile(TypedDict):
    """A file with its contents, given by the user with the task."""

    path: str
    content: str


class RefusedPlan(TypedDict):
    """A plan that a human refused, and the reason."""

    plan: "Plan"
    reason: str


class Step(TypedDict):
    """One step of a plan. Steps of the same `group` run at once, groups in ascending order.

    `file` is the main one of the `files` that the step edits, which are there only if they are several.
    `context_files` are paths that its coder must read. The step of the agent `tool` names its tool.
    """

    id: str
    agent: str
    description: str
    file: NotRequired[str]
    files: NotRequired[list[str]]
    context_files: NotRequired[list[str]]
    tool_name: NotRequired[str]
    tool_params: NotRequired[dict[str, Any]]
    group: int


class Plan(TypedDict):
    """A validated plan with numbered steps."""

    explanation: str
    steps: list[Step]


class ToolText(TypedDict):
    """The output of a tool step, cut where it is long."""

    stdout: str
    stderr: str
    returncode: int


class StepResult(TypedDict):
    """The result of a step: the snapshot with its edit, its error, or what must come before it.

    `remark` is what the coder said beside its edit. `output` is that of a tool, `message` a git_commit's.
    `again` says that the step must be done again in any case. Only results of tools name their `agent`.
    """

    step_id: str
    base: str
    snapshot: NotRequired[str]
    error: NotRequired[str]
    blocked: NotRequired[str]
    remark: NotRequired[str]
    agent: NotRequired[str]
    output: NotRequired[ToolText]
    message: NotRequired[str]
    again: NotRequired[bool]


def latest(results: Iterable[StepResult]) -> dict[str, StepResult]:
    """Return the last result of each step by id. A step that ran twice has two results."""
    return {result["step_id"]: result for result in results}


def files_of(step: Step) -> list[str]:
    """Return the files that a step edits, the main one first."""
    return step.get("files") or ([step["file"]] if "file" in step else [])


def steps_of(plan: Plan | None) -> list[Step]:
    """Return the steps of a plan, none without a plan."""
    return plan["steps"] if plan else []


def open_steps(state: "State") -> list[Step]:
    """Return the steps of the plan that have no result yet."""
    results = latest(state["results"])
    return [step for step in steps_of(state["plan"]) if step["id"] not in results]


class Conflict(TypedDict):
    """A step that is done again. `text` tells the coder why."""

    step_id: str
    text: str


class Place(TypedDict):
    """A part of a file that a search found. Lines count from 1, `last` is included."""

    path: str
    symbol: str
    first: int
    last: int
    text: str


class Lesson(TypedDict):
    """An earlier task like this one. `text` tells what was done, what failed and how it was repaired.

    `repo` is empty for a task of the same repository.
    """

    id: str
    task: str
    similarity: float
    text: str
    repo: NotRequired[str]


class Repair(TypedDict):
    """A repair: the faults before it, the debugger's explanation, and the changed files."""

    found: list[str]
    how: str
    files: list[str]


class Earlier(TypedDict):
    """An agent's conversation as it ended: LangChain's messages as plain values, and the files it left.

    `notes` counts the user's notes that the messages hold. `tools` is true if they may hold tool calls.
    """

    messages: list[dict[str, Any]]
    notes: int
    tools: bool
    head: str


class Verdict(TypedDict):
    """The critic's verdict on one tree. `summary` is what it tells the user."""

    verdict: Literal["PASS", "FAIL"]
    reasons: list[str]
    tree: str
    summary: NotRequired[str]


class LastWords(TypedDict):
    """The words of the last agent of a run to the user."""

    agent: Agent
    text: str


class Stop(TypedDict):
    """The reason why a run ends without a proof. `kind` becomes the run's status."""

    kind: Literal["budget", "cancelled", "unverified"]
    reason: str


class ProvedState(TypedDict):
    """A head with a green check. A run returns to it if further tests make the check red."""

    head: str
    check: dict[str, Any]
    untestable: str


class Options(BaseModel, extra="forbid"):
    """The limits and choices of one run. They are stored with it, for a resume. None means no limit."""

    approve_plan: bool = False
    auto_approve: bool = False
    from_head: bool = False
    parallel: bool = True
    # The next three are checked in memory/calls/completions.py before each model call.
    max_cost_usd: PositiveFloat | None = None
    max_tokens: PositiveInt | None = None
    max_run_seconds: PositiveFloat | None = None
    max_debug_rounds: int = Field(default=3, ge=0)
    max_review_rounds: int = Field(default=2, ge=0)
    issue: str | None = Field(default=None, max_length=2000)
    """The address of the issue that the task came from. A pull request names it."""
    model: ModelName | None = None
    """The model of all agents, in the place of those of the settings."""
    models: dict[Agent, ModelName] = Field(default_factory=dict)
    """The models of single agents, which come before `model`."""
    sandbox_seconds: PositiveFloat | None = None  # None: what `[test] timeout` says, or 300


def options_of(state: Mapping[str, object]) -> Options:
    """Return the options of a state or an input, which hold them as plain values."""
    return Options.model_validate(state.get("options") or {})


class Input(TypedDict):
    """The input of a run: a `task`, or `messages` that end with it.

    `steps`, in the shape of a planner's reply, replace the planner's.
    """

    task: NotRequired[str]
    messages: NotRequired[Annotated[list[Any], add_messages]]
    repo: NotRequired[str]
    context_files: NotRequired[list[str | ContextFile]]
    steps: NotRequired[list[dict[str, Any]] | None]
    options: NotRequired[dict[str, Any]]
    masked: NotRequired[bool]  # whether a key or a token was replaced before the input was stored


class State(TypedDict, total=False):
    """The state of a run. Snapshots are commit ids: `base` is the start, `head` the newest."""

    task: str
    repo: str
    context_files: list[str | ContextFile]
    steps: list[dict[str, Any]] | None
    options: dict[str, Any]
    masked: bool

    messages: Annotated[list[Message], add_messages]

    run: str
    base: str
    head: str
    delivered: str | None

    lessons: list[Lesson]
    places: list[Place]
    step_places: dict[str, list[Place]]

    plan: Plan | None
    refusals: list[RefusedPlan]
    pending: list[str]
    results: Annotated[list[StepResult], add]
    conflicts: list[Conflict]

    tests_asked: int
    vacuous: list[str]
    untestable: str
    check: dict[str, Any] | None
    failure: str
    repairs: list[str]
    mends: list[Repair]
    debug_rounds: int
    review_rounds: int
    verdict: Verdict | None

    # Older checkpoints lack these keys, so they are read with `get`.
    asked: str
    turns: list[Turn]
    answer: str
    plan_is_given: bool
    blocked: list[Step]
    notes: list[str]
    tests_wanted: str
    guards_asked: bool
    guards_failed: str
    fallback: ProvedState | None
    not_the_change: str
    debugging: Earlier | None
    demands: list[str]
    tester_remark: str
    last_words: LastWords | None
    environment_problem: str
    without_environment: str

    stops: Annotated[list[Stop], add]
    missing: list[str]
    branch: str | None
    proof: dict[str, Any] | None


class BranchInput(State):
    """The input of a branch, sent by dispatch: its step, and the parts of the state that it needs.

    `attempt` counts the earlier results of a tool step.
    """

    step: Step
    conflict: str
    attempt: NotRequired[int]
