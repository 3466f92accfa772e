"""Displays of a run for pipes and programs: plain lines, or JSON."""

import re
from collections.abc import Callable, Iterator

from nodes import events
from nodes.events import Event
from nodes.state import files_of
from server.cli.views.format import (
    first_fault,
    first_line,
    format_change,
    format_duration,
    one_line,
    pluralize,
    sanitize,
)
from server.cli.views.outcomes import (
    OutcomePayload,
    describe_answer,
    describe_environment,
    describe_outcome,
    describe_recall,
)
from server.cli.views.run_view import QUIET, RunView

# JSON may hold these as they are, and a terminal would obey them.
_UNSEEN = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")

WriteLine = Callable[[str], None]


class _LineDisplay:
    """A display that writes lines and never redraws."""

    def __init__(self, write: WriteLine, notify: WriteLine, run: RunView) -> None:
        self.run = run
        self._write, self._notify = write, notify

    def __enter__(self) -> "_LineDisplay":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def tick(self, now: float) -> None:
        """Do nothing: no line shows a running clock."""

    def notify(self, text: str) -> None:
        """Write a notice that is not an event."""
        self._notify(sanitize(text))


class JsonLines(_LineDisplay):
    """Writes every event as one line of JSON."""

    def show(self, event: Event) -> None:
        """Write one event."""
        self.run.apply(event)
        self._write(_UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", event.model_dump_json()))


class PlainLines(_LineDisplay):
    """Writes the important events as plain lines, each with the time since the run started."""

    _command = ""

    def show(self, event: Event) -> None:
        """Write the lines of one event. Most events have none."""
        self.run.apply(event)
        elapsed = format_duration(self.run.now - self.run.started)
        for text in event_lines(event, self.run):
            self._write(f"[{elapsed:>7}] {text}{self._new_command(event)}")

    def _new_command(self, event: Event) -> str:
        """Return the command of a sandbox, unless the last one was the same as far as a line shows it."""
        if not isinstance(event.data, events.SandboxStarted):
            return ""
        command, before = first_line(" ".join(event.data.command), 72), self._command
        self._command = command
        return f": {command}" if command != before else ""


def event_lines(event: Event, run: RunView) -> Iterator[str]:
    """Yield the plain lines of an event that `run` has already applied."""
    match event.data:
        case events.RunStarted() as data:
            started = "goes on" if data.resumed else "started"
            yield f"run       {started}: {event.thread_id}: {first_line(data.task)}"
        case events.RunFinished() as data:
            yield f"run       {data.status}" + (f": {first_line(data.reason, 300)}" if data.reason else "")
        case events.PlanMade() as data:
            steps = pluralize(len(data.plan["steps"]), "step")
            whose = ", yours" if data.by == "user" else ""
            yield f"plan      {steps}{whose}: {first_line(data.plan['explanation'], 200)}"
            for step in data.plan["steps"]:
                author = f"group {step['group'] + 1}  {one_line(step['agent'])}"
                edited = f"  ({one_line(', '.join(files_of(step)))})" if files_of(step) else ""
                yield f"            {author}: {one_line(step['description'])}{edited}"
        case events.MemoryRecalled() as data:
            step_id = f"{event.step_id}: " if event.step_id else ""
            note = f": {first_line(data.index.note, 200)}" if data.index.note else ""
            yield f"recall    {step_id}{describe_recall(data)}{note}"
        case events.ApprovalRequired() as data:
            kind = one_line(str(data.request.get("kind", "step")))
            yield f"WAITING   for your approval of {_article(kind)} {kind}: {one_line(data.id)}"
        case events.ApprovalResolved() as data:
            yield f"approval  {describe_answer(data)}"
        # Other nodes finish at once, or write lines of their own.
        case events.NodeStarted() if event.step_id or event.node in ("tester", "debugger", "critic"):
            yield f"{_author(event, run)} started"
        case events.NodeFinished() as data if data.error:
            duration = format_duration(data.seconds)
            yield f"{_author(event, run)} failed after {duration}: {first_line(data.error, 300)}"
        case events.NodeFinished() as data if event.node not in QUIET:
            yield f"{_author(event, run)} finished in {format_duration(data.seconds)}"
        case events.EnvironmentReported(status="building") as data:
            yield describe_environment(data)
            yield from (f"            $ {one_line(command)}" for command in data.commands)
        case events.EnvironmentReported(status="ready") as data:
            yield describe_environment(data)
        case events.EnvironmentReported(status="failed") as data:
            yield describe_environment(data)
            yield from (f"            {line}" for line in sanitize(data.text).splitlines())
        case events.SandboxStarted() as data:
            yield f"sandbox   {one_line(data.what)} ({data.backend})"
        case events.Retried() as data:
            model = f" ({one_line(data.model)})" if data.model else ""
            wait = f", again in {data.wait_seconds:.1f}s" if data.wait_seconds else ""
            author = f"{event.node or 'model'}{model}"
            yield f"retry     {author}, attempt {data.attempt}: {first_fault(data.reason, 300)}{wait}"
        case events.MessageAdded(role="user") as data:
            yield f"you       {first_line(data.text, 300)}"
        case events.NoteRead():
            yield f"read      your note: {' '.join(_author(event, run).removesuffix(':').split())}"
        case events.ErrorReported() as data:
            kind = "warning" if data.kind == "warning" else "error"
            yield f"{kind:<9} {first_line(data.message, 500)}"
        case data if isinstance(data, OutcomePayload):
            outcome, details = describe_outcome(data)
            if isinstance(data, events.CheckFinished):
                state = "green" if data.green else "RED"
                outcome = f"{state}: {one_line(data.counts)}"
            if isinstance(data, events.FilesEdited):
                paths = ", ".join(one_line(file.path) for file in data.files)
                outcome = f"{format_change(data.added, data.removed)} {paths}"
            yield f"{_author(event, run)} {outcome}"
            yield from (f"            {detail}" for detail in details[:20])


def _article(noun: str) -> str:
    return "an" if noun[:1] in "aeiou" else "a"


def _author(event: Event, run: RunView) -> str:
    """Return the event's node, and the title of its step."""
    title = run.row(event).title if event.step_id else ""
    node = "check" if isinstance(event.data, events.CheckFinished) else one_line(event.node or "run")
    return f"{node:<9}" + (f" {first_line(title, 60)}:" if title else "")
