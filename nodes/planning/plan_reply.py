"""Replies of planners: a plan, which humans may edit, or the answer to a question."""

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, StringConstraints, ValidationError, model_validator

from memory.validation import ForeignModel, faults_of, valid_text
from nodes.dialogue.replies import Unusable
from nodes.state import Plan, Step
from tools.catalogue import InvalidCall, read_call

TOOLS_OFF = "ENABLE_TOOL_USE is false, so no tool step runs"

MOST_FILES = 20
"""Files that a step may edit, and files that it may read besides."""


def _path(file: Any) -> Any:
    """Return a path below the root, None for an empty one."""
    if not isinstance(file, str):
        return file
    if not file.strip():
        return None
    path = PurePosixPath(file.strip().removeprefix("./"))
    if path.is_absolute() or ".." in path.parts or ".git" in path.parts:
        raise ValueError(f"{file!r} must be a path below the repository's root")
    return str(path)


def _paths(files: Any) -> Any:
    """Return the paths of a list, without those that are empty. A single path is a list as well."""
    # Models write null for nothing, and a text for one file.
    if files is None or isinstance(files, str):
        files = [files]
    return [path for path in map(_path, files) if path is not None] if isinstance(files, list) else files


FilePath = Annotated[str | None, BeforeValidator(_path)]
FilePaths = Annotated[list[str], BeforeValidator(_paths), Field(max_length=MOST_FILES)]


class StepReply(ForeignModel):
    """One step of a planner's reply. `file` is the first of the `files` that it edits."""

    agent: Literal["coder", "tool", "tester", "debugger", "critic"]  # planners name the others too, in vain
    description: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    file: FilePath = None
    files: FilePaths = Field(default_factory=list)
    context_files: FilePaths = Field(default_factory=list)
    # `group` is what a plan calls it that comes back with changes.
    parallel_group: int | None = Field(None, validation_alias=AliasChoices("parallel_group", "group"))
    tool_name: Any = None
    tool_params: Any = None

    @model_validator(mode="before")
    @classmethod
    def _describe_tool(cls, value: Any) -> Any:
        # The original's API takes tools without a description, because name and parameters say it all.
        if isinstance(value, dict) and value.get("agent") == "tool" and "description" not in value:
            return {**value, "description": describe_tool(value.get("tool_name"))}
        return value

    @model_validator(mode="after")
    def _check_tool(self) -> Self:
        if self.agent == "tool":
            try:
                read_call(self.tool_name, self.tool_params)
            except InvalidCall as error:
                raise ValueError(str(error)) from error
        return self

    def numbered(self, number: int, group: int) -> Step:
        """Return the step of the state."""
        step = Step(id=f"s{number}", agent=self.agent, description=self.description, group=group)
        if self.agent == "tool":  # the tool's parameters say what it works on
            step["tool_name"], step["tool_params"] = self.tool_name, self.tool_params or {}
            return step
        # People who edit a plan may name the main file twice.
        files = list(dict.fromkeys([*([self.file] if self.file else []), *self.files]))
        context = [path for path in dict.fromkeys(self.context_files) if path not in files]
        if files:
            step["file"] = files[0]
        if len(files) > 1:
            step["files"] = files
        if context:
            step["context_files"] = context
        return step


def describe_tool(name: Any) -> str:
    """Return the description of a tool step that has none."""
    return f"Run {name}"


class PlanReply(ForeignModel):
    """A plan as planners answer with it, and humans edit it."""

    explanation: str = ""
    steps: list[StepReply] = Field(min_length=1, max_length=40)


def read_reply(value: dict[str, Any], tool_use: bool = True) -> Plan | str:
    """Return a plan, or the answer to a task that only asks. A reply with both is a plan. Raises Unusable."""
    answer = value.get("answer")
    if isinstance(answer, str) and answer.strip() and not value.get("steps"):
        return valid_text(answer).strip()
    return read_plan(value, tool_use)


def read_plan(value: Any, tool_use: bool = True) -> Plan:
    """Validate a plan and number its steps. Raises Unusable with one line per fault.

    Without `tool_use` a plan with tool steps is not valid.
    """
    try:
        reply = PlanReply.model_validate(value)
    except ValidationError as error:
        faults = "\n".join(f"- {fault}" for fault in faults_of(error))
        raise Unusable(f"The plan does not validate:\n{faults}") from error
    coding = [step for step in reply.steps if step.agent in ("coder", "tool")]
    if not coding:
        raise Unusable('The plan has no step with agent "coder".')
    if not tool_use and any(step.agent == "tool" for step in coding):
        raise Unusable(f"{TOOLS_OFF}.", 'Plan steps with agent "coder" only.')
    groups = _groups(coding)
    steps = [step.numbered(i + 1, group) for i, (step, group) in enumerate(zip(coding, groups, strict=True))]
    return Plan(explanation=reply.explanation, steps=sorted(steps, key=lambda step: step["group"]))


def _groups(steps: list[StepReply]) -> list[int]:
    """Return the group of each step. Groups with numbers ascend. A step without a number is a group."""
    keys = [
        (0, i) if step.parallel_group is None else (1, step.parallel_group) for i, step in enumerate(steps)
    ]
    places = list(dict.fromkeys(keys))
    ascending = iter(sorted(key for key in places if key[0]))
    order = [next(ascending) if key[0] else key for key in places]
    return [order.index(key) for key in keys]
