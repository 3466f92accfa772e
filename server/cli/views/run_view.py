"""The state of a run as people see it, computed from its events. All displays read it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from nodes import events
from nodes.events import Event
from nodes.state import Plan
from server.cli.views.format import first_fault, first_line, one_line, pluralize, sanitize, timestamp
from server.cli.views.outcomes import (
    OutcomePayload,
    describe_answer,
    describe_environment,
    describe_outcome,
    describe_recall,
)

RowState = Literal["planned", "running", "done", "failed", "asks", "stopped"]

QUIET = frozenset({"snapshot", "environment", "go_on", "recall", "tryout", "approval", "dispatch", "merge"})
"""Nodes without work of their own. Their rows show only after a failure or with an outcome."""

BUILD_STATES: dict[str, RowState] = {"building": "running", "ready": "done", "failed": "failed"}

BUILDER = "environment"
"""The node that builds the environment of the base. Builds of other nodes have rows of this name too."""

TAIL_CHARACTERS = 600
"""Length of the end of a streamed reply that its row keeps."""


@dataclass(eq=False)
class Row:
    """One step of the plan, or one node at work."""

    node: str
    step: str | None = None
    title: str = ""
    state: RowState = "planned"
    started: float = 0.0
    seconds: float | None = None
    outcome: str = ""
    notes: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    tail: str = ""
    again: float = 0.0
    """The time of the next attempt at a model that refused or failed."""

    @property
    def over(self) -> bool:
        """True if no later event changes the row."""
        return self.state in ("done", "failed", "stopped") and self.seconds is not None

    @property
    def shown(self) -> bool:
        """False for a quiet node without a failure, note or outcome."""
        return self.node not in QUIET or self.state == "failed" or bool(self.notes or self.outcome)


@dataclass
class RunView:
    """The state of one run. Apply its events in order. Times are seconds since 1970."""

    thread_id: str = ""
    run_id: str = ""
    task: str = ""
    started: float = 0.0
    now: float = 0.0
    last_seq: int = 0
    plan: Plan | None = None
    answer: str = ""
    rows: list[Row] = field(default_factory=list)
    tokens: int = 0
    cost: float = 0.0
    unpriced: bool = False
    estimated: bool = False
    retries: int = 0
    waiting: dict[str, events.ApprovalRequired] = field(default_factory=dict)
    asking: dict[str, Row] = field(default_factory=dict)
    errors: list[events.ErrorReported] = field(default_factory=list)
    finished: events.RunFinished | None = None

    @classmethod
    def from_events(cls, log: Iterable[Event]) -> "RunView":
        """Apply a whole log. If the thread had several runs, the newest one remains."""
        run = cls()
        for event in log:
            run.apply(event)
        return run

    def apply(self, event: Event) -> None:
        """Apply the next event."""
        before, self.now = self.now, timestamp(event.ts)
        self.last_seq = event.seq
        # The time between the end of a run and its resume does not count as run time.
        if self.finished or isinstance(event.data, events.RunStarted):
            self.started += self.now - before
        match event.data:
            case events.RunStarted() as data:
                self._start_run(event, data)
            case events.RunFinished() as data:
                self._finish_run(data)
            case events.NodeStarted():
                self._start_row(event)
            case events.NodeFinished() as data:
                self._finish_row(self.row(event), data)
            case events.Token() | events.SandboxOutput() as data:
                row = self.row(event)
                row.tail = (row.tail + data.text)[-TAIL_CHARACTERS:]
            case events.PlanMade() as data:
                self._set_plan(data)
            case events.MessageAdded(role="assistant") as data:
                self.answer = sanitize(data.text).strip()
                self.row(event).outcome = "an answer"
            case events.MemoryRecalled() as data if event.step_id is None:
                self.row(event).outcome = describe_recall(data) if data.files or data.episodes else ""
            case events.Retried() as data:
                self._add_retry(self.row(event), data)
            case events.ErrorReported() as data if event.node is None:
                self.errors.append(data)
            case events.ErrorReported() as data:
                row = self.row(event)
                row.notes.append(first_line(data.message, 300))
                row.state = row.state if data.kind == "warning" else "failed"
            case events.NoteRead():
                self.row(event).notes.append("has read your note")
            case events.BudgetUpdated() as data:
                self.tokens, self.cost = data.total_tokens, data.total_cost_usd
                self.unpriced = self.unpriced or data.unpriced
                self.estimated = self.estimated or data.estimated
            case events.ApprovalRequired() as data:
                self.waiting[data.id] = data
                self.asking[data.id] = self.row(event)
                self.asking[data.id].state = "asks"
            case events.ApprovalResolved() as data:
                self._resolve_approval(data)
            case events.EnvironmentReported() as data:
                self._report_environment(event, data)
            case data if isinstance(data, OutcomePayload):
                self._set_outcome(self.row(event), data)

    def row(self, event: Event) -> Row:
        """Return the newest row of the event's step or node. Add one if there is none."""
        # Agents outside the plan, such as the debugger, use step ids that the plan does not have.
        steps = self.plan["steps"] if self.plan else []
        step = event.step_id if any(step["id"] == event.step_id for step in steps) else None
        for row in reversed(self.rows):
            if row.step == step and (step or row.node == event.node):
                return row
        row = Row(event.node or "run", step)
        self._insert(row)
        return row

    def _insert(self, row: Row) -> None:
        """Insert a row before the steps that have not started."""
        index = len(self.rows)
        while index and self.rows[index - 1].state == "planned":
            index -= 1
        self.rows.insert(index, row)

    def _start_run(self, event: Event, data: events.RunStarted) -> None:
        if event.run_id == self.run_id:
            self._rewind()
        else:
            # Displays hold this object, so a new run resets it in place.
            self.__dict__.update(RunView(started=self.now, now=self.now, last_seq=self.last_seq).__dict__)
        self.finished = None
        self.thread_id, self.run_id, self.task = event.thread_id, event.run_id, sanitize(data.task)

    def _rewind(self) -> None:
        """Reset rows that started without finishing: a resumed run starts them again."""
        unfinished = [row for row in self.rows if row.state in ("running", "stopped")]
        self.rows = [row for row in self.rows if row.step or row not in unfinished]
        for row in unfinished:
            row.state, row.seconds, row.tail = "planned", None, ""

    def _start_row(self, event: Event) -> None:
        row = self.row(event)
        if row.over:
            title = row.title.removesuffix(" (again)")
            row = Row(row.node, row.step, f"{title} (again)" if row.step else title)
            self._insert(row)
        row.state, row.started, row.seconds, row.tail = "running", self.now, None, ""

    def _finish_row(self, row: Row, data: events.NodeFinished) -> None:
        row.seconds, row.tail = data.seconds, ""
        if data.error:
            row.state = "failed"
            row.notes.append(first_line(data.error, 300))
        elif row.state in ("running", "planned"):  # a row that an event marked as failed stays failed
            row.state = "done"

    def _set_plan(self, data: events.PlanMade) -> None:
        self.plan = data.plan
        planner = next((row for row in reversed(self.rows) if row.node == "planner"), None)
        if planner:
            planner.outcome = pluralize(len(data.plan["steps"]), "step")
            planner.outcome += ", as you edited them" if data.by == "user" else ""
            note = "no usable plan: the whole task is one step"
            if data.fallback and note not in planner.notes:
                planner.notes.append(note)
        # A second plan replaces only the steps that have not started.
        self.rows = [row for row in self.rows if row.state != "planned"]
        started = {row.step for row in self.rows if row.step}
        for step in data.plan["steps"]:
            if step["id"] not in started:
                self.rows.append(Row(one_line(step["agent"]), step["id"], one_line(step["description"])))

    def _set_outcome(self, row: Row, data: OutcomePayload) -> None:
        row.outcome, details = describe_outcome(data)
        match data:
            case events.SandboxStarted():
                row.tail = ""
            case events.ToolCalled():
                row.calls.append(row.outcome)
            case events.VerdictGiven(verdict="PASS"):
                return  # its reasons are in the summary
            case events.VerdictGiven() | events.CheckFinished(green=False):
                row.state = "failed"
        row.notes += details

    def _report_environment(self, event: Event, data: events.EnvironmentReported) -> None:
        """Show a build in a row of its own, which the node `environment` shares."""
        # A finished row may be the node's own, whose build this is not.
        row = next((row for row in reversed(self.rows) if row.node == BUILDER and not row.over), None)
        if row is None:
            row = Row(BUILDER, started=self.now)
            self._insert(row)
        if data.status == "output":
            row.tail = (row.tail + data.text)[-TAIL_CHARACTERS:]
            return
        row.outcome, row.tail = describe_environment(data), ""
        row.state = BUILD_STATES[data.status]
        if data.status == "failed":
            row.notes.append(first_line(data.text, 300))
        if data.status != "building":
            row.seconds = data.seconds or self.now - row.started

    def _add_retry(self, row: Row, data: events.Retried) -> None:
        self.retries += 1
        row.tail, row.again = "", self.now + data.wait_seconds
        wait = f", again in {data.wait_seconds:.0f}s" if data.wait_seconds >= 1 else ""
        model = f" ({one_line(data.model)})" if data.model else ""
        row.notes.append(f"retry {data.attempt}: {first_fault(data.reason, 200)}{model}{wait}")

    def _resolve_approval(self, data: events.ApprovalResolved) -> None:
        asked = self.waiting.pop(data.id, None)
        if asked and asked.request.get("kind") == "plan" and data.decision == "reject":
            self.rows = [row for row in self.rows if row.step is None or row.state != "planned"]
        if row := self.asking.pop(data.id, None):
            row.state = "planned"
            row.notes.append(describe_answer(data))

    def _finish_run(self, data: events.RunFinished) -> None:
        self.finished = data
        for row in self.rows:
            if row.state == "running":
                row.state, row.tail, row.seconds = "stopped", "", self.now - row.started
            elif row.state == "planned" and data.status in ("verified", "unverified", "budget"):
                row.outcome = "not run"
