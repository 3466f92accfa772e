"""The views for files, pipes and programs: plain lines for what matters, or every event as JSON."""

from collections.abc import Callable, Iterator

from nodes.events import (
    ApprovalRequired,
    ApprovalResolved,
    CheckFinished,
    ErrorReported,
    Event,
    FilesEdited,
    MemoryRecalled,
    NodeFinished,
    NodeStarted,
    NoteAdded,
    PlanMade,
    Retried,
    RunFinished,
    RunStarted,
    SandboxStarted,
    ToolResult,
    VerdictGiven,
)
from server.cli.views.format import first_line, format_change, format_duration, one_line, pluralize, sanitize
from server.cli.views.row import QUIET
from server.cli.views.run_view import RunView, check_problems, describe_recall

Write = Callable[[str], None]


class _LineDisplay:
    """A view without moving parts."""

    def __init__(self, write: Write, notify: Write, progress: RunView) -> None:
        self.progress = progress
        self._write, self._notify = write, notify

    def __enter__(self) -> "_LineDisplay":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def tick(self, now: float) -> None:
        """Nothing moves."""

    def say(self, text: str) -> None:
        """Write a notice that is no event."""
        self._notify(sanitize(text))

    def show(self, event: Event) -> None:
        """Write what there is to say about one event."""
        raise NotImplementedError


class JsonLines(_LineDisplay):
    """Writes every event as one line of JSON."""

    def show(self, event: Event) -> None:
        """Write the event as it stands in the log."""
        self.progress.apply(event)
        self._write(event.model_dump_json())


class PlainLines(_LineDisplay):
    """Writes plain lines, each with the time since the run began."""

    def show(self, event: Event) -> None:
        """Write the lines of one event; most events have none."""
        self.progress.apply(event)
        elapsed = format_duration(self.progress.now - self.progress.started)
        for text in describe(event, self.progress):
            self._write(f"[{elapsed:>7}] {text}")


def describe(event: Event, progress: RunView) -> Iterator[str]:
    """Say what an event means in plain lines; `progress` has taken it already."""
    match event.data:
        case RunStarted() as data:
            begun = "goes on" if data.resumed else "started"
            yield f"run       {begun}: {event.thread_id}: {first_line(data.task)}"
        case RunFinished() as data:
            yield f"run       {data.status}" + (f": {first_line(data.reason, 300)}" if data.reason else "")
        case PlanMade() as data:
            steps = pluralize(len(data.plan["steps"]), "step")
            yield f"plan      {steps}: {first_line(data.plan['explanation'], 200)}"
            for step in data.plan["steps"]:
                who = f"group {step['group'] + 1}  {one_line(step['agent'])}"
                yield f"            {who}: {one_line(step['description'])}"
        case MemoryRecalled() as data:
            which = f"{event.step_id}: " if event.step_id else ""
            note = f": {first_line(data.index.note, 200)}" if data.index.note else ""
            yield f"recall    {which}{describe_recall(data)}{note}"
        case ApprovalRequired() as data:
            kind = one_line(str(data.request.get("kind", "step")))
            yield f"WAITING   for your approval of a {kind}: {one_line(data.id)}"
        case ApprovalResolved() as data:
            yield f"approval  {one_line(data.decision)}" + (
                f": {first_line(data.reason)}" if data.reason else ""
            )
        case NodeStarted() if event.step_id or event.node in ("tester", "debugger", "critic"):
            yield f"{_who(event, progress)} started"
        case NodeFinished() as data if data.error:
            why = first_line(data.error or "", 300)
            yield f"{_who(event, progress)} failed after {format_duration(data.seconds)}: {why}"
        case NodeFinished() as data if event.node not in QUIET:
            yield f"{_who(event, progress)} finished in {format_duration(data.seconds)}"
        case FilesEdited() as data:
            paths = ", ".join(one_line(file.path) for file in data.files)
            yield f"{_who(event, progress)} {format_change(data.added, data.removed)} {paths}"
            for file in data.files:
                yield from (f"            {one_line(file.path)}: {one_line(how)}" for how in file.placed)
        case SandboxStarted() as data:
            command = first_line(" ".join(data.command), 72)
            yield f"sandbox   {one_line(data.what)} ({data.backend}): {command}"
        case ToolResult() as data:
            yield f"tool      {one_line(data.tool)}: exit code {data.returncode}"
        case CheckFinished() as data:
            state = "green" if data.green else "RED"
            yield f"check     {state}: {data.passed} passed, {data.failed} failed"
            yield from (f"            {problem}" for problem in check_problems(data)[:20])
        case VerdictGiven() as data:
            yield f"critic    {data.verdict}"
            yield from (f"            {first_line(reason, 300)}" for reason in data.reasons)
        case Retried() as data:
            model = f" ({one_line(data.model)})" if data.model else ""
            wait = f", again in {data.wait_seconds:.1f}s" if data.wait_seconds else ""
            who = f"{event.node or 'model'}{model}"
            yield f"retry     {who}, attempt {data.attempt}: {first_line(data.reason, 300)}{wait}"
        case NoteAdded() as data:
            yield f"you       {first_line(data.text, 300)}"
        case ErrorReported() as data:
            kind = "warning" if data.kind == "warning" else "error"
            yield f"{kind:<9} {first_line(data.message, 500)}"


def _who(event: Event, progress: RunView) -> str:
    """Name the node, and its step by what it does."""
    title = progress.row(event).title if event.step_id else ""
    return f"{one_line(event.node or 'run'):<9}" + (f" {first_line(title, 60)}:" if title else "")
