"""Results of a run as the original API reports them: steps with their code, the test, the review."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nodes.events import (
    CheckFinished,
    ErrorReported,
    Event,
    FilesEdited,
    MessageAdded,
    PlanMade,
    RunFinished,
    RunStarted,
    ToolResult,
    VerdictGiven,
)
from nodes.state import Step
from server.api.schemas import StepOutput
from tools.catalogue import ToolOutput
from tools.workspace import Workspace

TESTING = "Run the tests on the change"
REPAIRING = "Repair what the tests or the review found"
REVIEWING = "Review the change"


@dataclass
class RunResults:
    """One run, built from its events. The last attempt at a step counts."""

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
    answer: str = ""

    @classmethod
    def from_events(cls, events: Iterable[Event], run_id: str) -> "RunResults":
        """Collect the results of one run from its thread's events."""
        results = cls()
        for event in events:
            if event.run_id == run_id:
                results._add(event)
        return results

    def _add(self, event: Event) -> None:
        step = event.step_id or ""
        match event.data:
            case RunStarted() as data:
                self.task = data.task
            case MessageAdded(role="assistant") as data:
                self.answer = data.text
            case PlanMade() as data:
                self.plan(data.plan)
            case FilesEdited() as data if event.node == "coder":
                self.edits[step] = data.snapshot
                self.errors.pop(step, None)  # a retry after a merge conflict succeeded
            case FilesEdited() as data if event.node == "tester":
                self.tests.append(data.snapshot)
            case FilesEdited() if event.node == "tool":
                pass  # the output of the tool stands for it
            case FilesEdited() as data:  # by the debugger
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

    def plan(self, plan: Mapping[str, Any]) -> None:
        """Take the steps of a plan, which sorts them by parallel group. Clients expect their own order."""
        self.steps = sorted(plan["steps"], key=lambda step: int(step["id"].lstrip("s")))

    @property
    def reason(self) -> str:
        """Why the run ended as it did, in words."""
        if self.end is None:
            return "the run has not ended"
        return self.end.reason or f"the run ended as {self.end.status}"

    def outputs(self, repo: str, steps_only: bool = False) -> list[StepOutput]:
        """Return the results in the order of the run. With `steps_only`, return exactly one a step.

        Otherwise at least one of each type code, test and review is among them. A question has one result,
        the answer, which clients of the original show as they show code.
        """
        if self.end is not None and self.end.status == "answered":
            return [_code(self.task, self.answer)]
        workspace = Workspace.open(Path(repo))
        outputs = [self._step(workspace, step) for step in self.steps]
        if steps_only:
            return outputs
        outputs += [_code(REPAIRING, _text(workspace, repair)) for repair in self.repairs]
        if not any(output.type == "code" for output in outputs):
            outputs.append(_code(self.task, f"No code was written: {self.reason}"))
        return [*outputs, self._test(workspace), self._review()]

    def _step(self, workspace: Workspace, step: Step) -> StepOutput:
        id, title = step["id"], step["description"]
        if id in self.tools:
            return StepOutput(step=title, output=self.tools[id], type="tool")
        if step["agent"] == "tool":
            reason = self.errors.get(id) or f"not done: {self.reason}"
            return StepOutput(step=title, output=ToolOutput(stderr=reason, returncode=1), type="tool")
        if id in self.errors:
            return _code(title, f"The step failed: {self.errors[id]}")
        if id in self.edits:
            return _code(title, _text(workspace, self.edits[id]))
        if self.end is not None and self.end.status in ("verified", "unverified"):
            return _code(title, "The files are already as the step wants them.")
        return _code(title, f"Not done: {self.reason}")

    def _test(self, workspace: Workspace) -> StepOutput:
        if self.check is None:
            return StepOutput(step=TESTING, output=f"Nothing was run: {self.reason}", type="test")
        lines = [self.check.counts, *self.check.problems, *self.check.gaps]
        lines += [f"{case.get('head')}: {case.get('id')}" for case in self.check.cases]
        lines += [_text(workspace, snapshot) for snapshot in self.tests]
        return StepOutput(step=TESTING, output="\n".join(lines), type="test")

    def _review(self) -> StepOutput:
        reasons = self.verdict.reasons if self.verdict else []
        if self.end is not None and self.end.status == "verified":
            weak = self.end.summary.weaknesses if self.end.summary else []
            return StepOutput(step=REVIEWING, output="\n".join(["PASS", *weak, *reasons]), type="review")
        missing = self.end.missing if self.end else []
        # The reasons of a PASS do not explain why the run is not verified.
        rejected = reasons if self.verdict and self.verdict.verdict == "FAIL" else []
        output = "FAIL: " + "\n".join(missing or rejected or [self.reason])
        return StepOutput(step=REVIEWING, output=output, type="review")


def _code(step: str, output: str) -> StepOutput:
    return StepOutput(step=step, output=output, type="code")


def _text(workspace: Workspace, snapshot: str) -> str:
    """Return the text of an edit: a single new file as it is, anything else as a diff."""
    base = workspace.resolve(f"{snapshot}^")
    changes = workspace.changes(base, snapshot)
    if len(changes) == 1 and changes[0].status == "added":
        text = workspace.text(snapshot, changes[0].path)
        if text is not None:
            return text
    return workspace.diff(base, snapshot)
