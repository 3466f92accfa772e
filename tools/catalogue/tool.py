"""A tool of a plan: a model of its parameters that turns them into an argument list."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

_MOST_FAULTS, _SHOWN = 5, 100

Effect = Literal["read", "sandboxed", "outside"]
"""read: changes nothing. sandboxed: changes the run's files. outside: reaches a network or a remote."""


class InvalidCall(Exception):
    """A tool step names no tool, or has parameters that cannot be used. The text says what to write."""


def faults_in_words(error: ValidationError) -> str:
    """Return the first faults in a limited length. A key may come from outside, and be of any length."""
    faults = []
    for fault in error.errors(include_input=False)[:_MOST_FAULTS]:
        place = ".".join(map(str, fault["loc"]))[:_SHOWN]
        faults.append(": ".join(filter(None, (place, fault["msg"].removeprefix("Value error, ")))))
    return "; ".join(faults)


class ToolOutput(BaseModel):
    """Output of a tool step. `returncode` is 0 if the tool did what it was asked for."""

    stdout: str = ""
    stderr: str = ""
    returncode: int = 0


class PlanTool(BaseModel):
    """The parameters of one tool. The docstring of a subclass describes the tool to the planner."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: ClassVar[str]
    effect: ClassVar[Effect]

    @abstractmethod
    def arguments(self) -> Sequence[str]:
        """Return the command, word by word. A sandbox runs it as it is, and approvals show it."""

    def subjects(self) -> Sequence[str]:
        """Return what the patterns of a policy are compared with: the texts of the parameters."""
        values = self.parameters().values()
        return [str(each) for value in values for each in (value if isinstance(value, list) else [value])]

    @classmethod
    def as_subject(cls, pattern: str) -> str:
        """Return the pattern of a policy as subjects are written. Raises ValueError if none can match it."""
        return pattern

    def parameters(self) -> dict[str, Any]:
        """Return the parameters that differ from their defaults, as plain values."""
        return self.model_dump(exclude_defaults=True, mode="json")
