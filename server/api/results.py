"""What a run did, as the original's API tells it: its steps with their code, their test, their review."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from nodes.events import (
    CheckFinished,
    ErrorReported,
    Event,
    FilesEdited,
    PlanMade,
    RunFinished,
    RunStarted,
    ToolResult,
    VerdictGiven,
)
from nodes.state import Step
from tools.workspace import Workspace

TESTING = "Run the tests on the change"
REPAIRING = "Repair what the tests or the review found"
REVIEWING = "Review the change"


class ToolOutput(BaseModel):
    """What a tool step gave."""

    stdout: str
    stderr: str
    returncode: int


class StepOutput(BaseModel):
    """One result: a step's description and what came of it; a review's output begins with PASS or FAIL."""

    step: str
    output: str | ToolOutput
    type: Literal["code", "test", "review", "tool"]


@dataclass
class Told:
    """One run, folded from its events; of several attempts at a step, the last one counts."""

    task: str = ""
    steps: Sequence[Step] = ()
    edits: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    tools: dict[str, ToolOutput] = field(default_factory=dict)
    tests: list[str] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)
    check: CheckFinished | None = None
    verdict: VerdictGiven | None = None
    end: RunFinished | None = None

    @classmethod
    def of(cls, events: Iterable[Event], run_id: str) -> "Told":
        """Fold the events of one run."""
        told = cls()
        for event in events:
            if event.run_id == run_id:
                told._take(event)
        return told

    def _take(self, event: Event) -> None:
        step = event.step_id or ""
        match event.data:
            case RunStarted() as data:
                self.task = data.task
            case PlanMade() as data:
                self.steps = sorted(data.plan["steps"], key=lambda one: int(one["id"].lstrip("s")))
            case FilesEdited() as data if event.node == "coder":
                self.edits[step] = data.snapshot
                self.errors.pop(step, None)
            case FilesEdited() as data if event.node == "tester":
                self.tests.append(data.snapshot)
            case FilesEdited() as data:
                self.repairs.append(data.snapshot)
            case ErrorReported() as data if step and data.kind != "warning":
                self.errors[step] = data.message
            case ToolResult() as data:
                self.tools[step] = ToolOutput(
                    stdout=data.stdout, stderr=data.stderr, returncode=data.returncode
                )
            case CheckFinished() as data:
                self.check = data
            case VerdictGiven() as data:
                self.verdict = data
            case RunFinished() as data:
                self.end = data

    @property
    def reason(self) -> str:
        """Why the run ended as it did, in words."""
        if self.end is None:
            return "the run has not ended"
        return self.end.reason or f"the run ended as {self.end.status}"

    def results(self, repo: str, steps_alone: bool = False) -> list[StepOutput]:
        """What the run did on `repo`: everything, or with `steps_alone` exactly one result a step."""
        workspace = Workspace.open(Path(repo))
        return self._of_steps(workspace) if steps_alone else self._whole(workspace)

    def _of_steps(self, workspace: Workspace) -> list[StepOutput]:
        return [self._of_step(workspace, step) for step in self.steps]

    def _whole(self, workspace: Workspace) -> list[StepOutput]:
        """Steps and repairs, the test, the review: at least one of each, whatever happened."""
        code = self._of_steps(workspace)
        code += [
            StepOutput(step=REPAIRING, output=_text(workspace, one), type="code") for one in self.repairs
        ]
        if not any(one.type == "code" for one in code):
            code.append(StepOutput(step=self.task, output=f"No code was written: {self.reason}", type="code"))
        return [*code, self._test(workspace), self._review()]

    def _of_step(self, workspace: Workspace, step: Step) -> StepOutput:
        id, title = step["id"], step["description"]
        if id in self.tools:
            return StepOutput(step=title, output=self.tools[id], type="tool")
        if id in self.edits and id not in self.errors:
            return StepOutput(step=title, output=_text(workspace, self.edits[id]), type="code")
        if id in self.errors:
            return StepOutput(step=title, output=f"The step failed: {self.errors[id]}", type="code")
        over = self.end is not None and self.end.status in ("verified", "unverified")
        why = "The files already are as the step wants them." if over else f"Not done: {self.reason}"
        return StepOutput(step=title, output=why, type="code")

    def _test(self, workspace: Workspace) -> StepOutput:
        if self.check is None:
            return StepOutput(step=TESTING, output=f"Nothing was run: {self.reason}", type="test")
        lines = [f"{self.check.passed} passed, {self.check.failed} failed", *self.check.problems]
        lines += [f"{case.get('head')}: {case.get('id')}" for case in self.check.cases]
        written = [_text(workspace, one) for one in self.tests]
        return StepOutput(step=TESTING, output="\n".join([*lines, *written]), type="test")

    def _review(self) -> StepOutput:
        verified = self.end is not None and self.end.status == "verified"
        reasons = self.verdict.reasons if self.verdict else []
        if verified:
            return StepOutput(step=REVIEWING, output="\n".join(["PASS", *reasons]), type="review")
        missing = self.end.missing if self.end else []
        why = missing or (reasons if self.verdict and self.verdict.verdict == "FAIL" else []) or [self.reason]
        return StepOutput(step=REVIEWING, output="FAIL: " + "\n".join(why), type="review")


def _text(workspace: Workspace, snapshot: str) -> str:
    """What an edit wrote: a single new file as it is, anything else as a diff."""
    base = workspace.resolve(f"{snapshot}^")
    changes = workspace.changes(base, snapshot)
    if len(changes) == 1 and changes[0].status == "added":
        text = workspace.text(snapshot, changes[0].path)
        if text is not None:
            return text
    return workspace.diff(base, snapshot)
