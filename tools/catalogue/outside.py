"""The interface of the tools with effects outside of the sandbox, such as a push."""

from dataclasses import dataclass
from typing import Protocol

from tools.catalogue.tool import PlanTool, ToolOutput
from tools.workspace import Workspace


@dataclass(frozen=True)
class OutsidePlace:
    """The run that a tool works for. `base` is the snapshot of its start, `head` the newest one.

    `seconds` limit the work. `approved` is true if a human or a rule of the user's policy named these
    very parameters, and false if a rule for the whole tool allowed them.
    """

    workspace: Workspace
    thread: str
    base: str
    head: str
    seconds: float
    approved: bool


@dataclass(frozen=True)
class OutsideResult:
    """The result of a tool. `snapshot` holds the run's files after it, which is `head` without a change."""

    output: ToolOutput
    snapshot: str


class OutsideWork(Protocol):
    """Carries out one tool. Failures are a returncode and a text in stderr, not exceptions."""

    async def __call__(self, call: PlanTool, place: OutsidePlace, /) -> OutsideResult: ...
