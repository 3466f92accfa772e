"""A run so far, folded from its events: the one model behind every view of the command line."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from nodes.events import (
    ApprovalRequired,
    ApprovalResolved,
    BudgetUpdated,
    CheckFinished,
    ErrorReported,
    Event,
    FilesEdited,
    IndexState,
    MemoryRecalled,
    NodeFinished,
    NodeStarted,
    PlanMade,
    Retried,
    RunFinished,
    RunStarted,
    SandboxOutput,
    SandboxStarted,
    Token,
    ToolResult,
    VerdictGiven,
)
from nodes.state import Plan
from server.cli.views.format import first_line, format_change, one_line, pluralize, sanitize, timestamp
from server.cli.views.row import TAIL, Row

ANSWERED = {"approve": "approved", "edit": "approved with changes", "reject": "refused"}
"""How a human's decision reads afterwards."""


@dataclass
class RunView:
    """What is known of one run; `take` each event in order. Times are seconds since 1970."""

    thread: str = ""
    run: str = ""
    task: str = ""
    repo: str = ""
    base: str | None = None
    started: float = 0.0
    now: float = 0.0
    last_seq: int = 0
    plan: Plan | None = None
    rows: list[Row] = field(default_factory=list)
    tokens: int = 0
    cost: float = 0.0
    unpriced: bool = False
    retries: int = 0
    waiting: dict[str, dict[str, Any]] = field(default_factory=dict)
    check: CheckFinished | None = None
    verdict: VerdictGiven | None = None
    errors: list[ErrorReported] = field(default_factory=list)
    finished: RunFinished | None = None

    @classmethod
    def from_events(cls, events: Iterable[Event]) -> "RunView":
        """Fold a whole log; of several runs on the thread, the newest remains."""
        progress = cls()
        for event in events:
            progress.apply(event)
        return progress

    def apply(self, event: Event) -> None:
        """Fold in the next event."""
        before, self.now = self.now, timestamp(event.ts)
        self.last_seq = event.seq
        if self.finished or isinstance(event.data, RunStarted):
            self.started += self.now - before
        match event.data:
            case RunStarted() as data:
                self._begin(event, data)
            case RunFinished() as data:
                self._end(data)
            case NodeStarted():
                self._start(event)
            case NodeFinished() as data:
                self._finish(self.row(event), data)
            case Token() | SandboxOutput() as data:
                row = self.row(event)
                row.tail = (row.tail + data.text)[-TAIL:]
            case PlanMade() as data:
                self._plan(data)
            case MemoryRecalled() as data if event.step_id is None:
                self.row(event).outcome = describe_recall(data) if data.files or data.episodes else ""
            case FilesEdited() as data:
                self._edit(self.row(event), data)
            case SandboxStarted() as data:
                row = self.row(event)
                row.outcome, row.tail = one_line(data.what), ""
            case CheckFinished() as data:
                self._check(self.row(event), data)
            case VerdictGiven() as data:
                self._verdict(self.row(event), data)
            case ToolResult() as data:
                row = self.row(event)
                row.outcome = f"{one_line(data.tool)}: exit code {data.returncode}"
            case Retried() as data:
                self._retry(self.row(event), data)
            case ErrorReported() as data:
                self._error(event, data)
            case BudgetUpdated() as data:
                self.tokens, self.cost = data.total_tokens, data.total_cost_usd
                self.unpriced = self.unpriced or data.unpriced
            case ApprovalRequired() as data:
                self.waiting[data.id] = data.request
                self.row(event).look = "asks"
            case ApprovalResolved() as data:
                self._answered(data)

    def pending_approvals(self) -> list[ApprovalRequired]:
        """Return what waits for an answer."""
        return [ApprovalRequired(id=id, request=request) for id, request in self.waiting.items()]

    def row(self, event: Event) -> Row:
        """Return the newest row that `event` speaks of, made when there is none."""
        step = self._step(event)
        for row in reversed(self.rows):
            if row.step == step and (step or row.node == event.node):
                return row
        row = Row(event.node or "run", step)
        self._insert(row)
        return row

    def _step(self, event: Event) -> str | None:
        """Return the event's step if the plan knows it: agents beyond the plan name calls of their own."""
        steps = self.plan["steps"] if self.plan else []
        return event.step_id if any(step["id"] == event.step_id for step in steps) else None

    def _begin(self, event: Event, data: RunStarted) -> None:
        if event.run_id == self.run:
            self._rewind()
        else:
            self.__dict__.update(RunView(started=self.now, now=self.now, last_seq=self.last_seq).__dict__)
        self.finished = None
        self.thread, self.run = event.thread_id, event.run_id
        self.task, self.repo = sanitize(data.task), data.repo
        self.base = data.base or self.base

    def _rewind(self) -> None:
        """A run goes on: what had begun without ending begins again."""
        open_rows = [row for row in self.rows if row.look in ("running", "stopped")]
        self.rows = [row for row in self.rows if row.step or row not in open_rows]
        for row in open_rows:
            row.look, row.seconds, row.tail = "planned", None, ""

    def _start(self, event: Event) -> None:
        row = self.row(event)
        if row.over:
            title = row.title.removesuffix(" (again)")
            row = Row(row.node, row.step, f"{title} (again)" if row.step else title)
            self._insert(row)
        row.look, row.started, row.seconds, row.tail = "running", self.now, None, ""

    def _insert(self, row: Row) -> None:
        """Put a row where the run is: before the steps that only wait."""
        place = len(self.rows)
        while place and self.rows[place - 1].look == "planned":
            place -= 1
        self.rows.insert(place, row)

    def _finish(self, row: Row, data: NodeFinished) -> None:
        row.seconds = data.seconds
        row.tail = ""
        if data.error:
            row.look = "failed"
            row.notes.append(first_line(data.error, 300))
        elif row.look in ("running", "planned"):
            row.look = "done"

    def _plan(self, data: PlanMade) -> None:
        self.plan = data.plan
        planner = next((row for row in reversed(self.rows) if row.node == "planner"), None)
        if planner:
            planner.outcome = pluralize(len(data.plan["steps"]), "step")
            if data.fallback and "no usable plan" not in planner.notes:
                planner.notes.append("no usable plan: one step carries the task")
        self.rows = [row for row in self.rows if row.look != "planned"]
        known = {row.step for row in self.rows if row.step}
        for step in data.plan["steps"]:
            if step["id"] not in known:
                title = one_line(step["description"])
                self.rows.append(Row(one_line(step["agent"]), step["id"], title))

    def _edit(self, row: Row, data: FilesEdited) -> None:
        names = [one_line(file.path) for file in data.files]
        shown = ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
        row.outcome = f"{format_change(data.added, data.removed)} {shown}"
        row.notes += [f"{one_line(file.path)}: {one_line(how)}" for file in data.files for how in file.placed]

    def _check(self, row: Row, data: CheckFinished) -> None:
        self.check = data
        row.outcome = f"{data.passed} passed" + (f", {data.failed} failed" if data.failed else "")
        if not data.green:
            row.look = "failed"
            row.notes += check_problems(data)

    def _verdict(self, row: Row, data: VerdictGiven) -> None:
        self.verdict = data
        row.outcome = data.verdict
        if data.verdict == "FAIL":
            row.look = "failed"
            row.notes += [first_line(reason, 300) for reason in data.reasons]

    def _retry(self, row: Row, data: Retried) -> None:
        self.retries += 1
        row.tail = ""
        wait = f", again in {data.wait_seconds:.0f}s" if data.wait_seconds >= 1 else ""
        of = f" ({one_line(data.model)})" if data.model else ""
        row.notes.append(f"retry {data.attempt}: {first_line(data.reason, 200)}{of}{wait}")

    def _error(self, event: Event, data: ErrorReported) -> None:
        if event.node is None:
            self.errors.append(data)
            return
        row = self.row(event)
        row.notes.append(first_line(data.message, 300))
        if data.kind != "warning":
            row.look = "failed"

    def _answered(self, data: ApprovalResolved) -> None:
        self.waiting.pop(data.id, None)
        said = ANSWERED.get(data.decision, one_line(data.decision)) + (
            f": {first_line(data.reason)}" if data.reason else ""
        )
        for row in self.rows:
            if row.look == "asks":
                row.look = "planned"
                row.notes.append(said)
                return

    def _end(self, data: RunFinished) -> None:
        self.finished = data
        for row in self.rows:
            if row.look == "running":
                row.look, row.tail = "stopped", ""
                row.seconds = self.now - row.started
            elif row.look == "planned" and data.status in ("verified", "unverified", "budget"):
                row.outcome = "not run"


def describe_recall(data: MemoryRecalled) -> str:
    """Return what memory had, in one line, and how far the index was where it was not whole."""
    places, files = pluralize(len(data.files), "place"), pluralize(len(set(data.files)), "file")
    found = [f"{places} in {files}"] if data.files else []
    if data.episodes:
        found.append(pluralize(len(data.episodes), "earlier task"))
    return f"{' and '.join(found) or 'nothing'}{_state(data.index)}"


def _state(index: IndexState) -> str:
    if not index.ready:
        return " (index in the making)"
    if index.engine == "text":
        return " (by words alone)"
    return "" if index.embedded >= 1 else f" (index {index.embedded:.0%})"


def check_problems(data: CheckFinished) -> list[str]:
    """Return what is wrong by a check: its problems, and the failing cases that they do not name."""
    problems = [first_line(problem, 200) for problem in data.problems]
    cases = [
        one_line(str(case.get("id", "?"))) for case in data.cases if case.get("head") in ("failed", "error")
    ]
    return problems + [
        f"failed: {case}" for case in cases if not any(case in problem for problem in problems)
    ]
