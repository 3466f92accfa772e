"""A run as text for people who watch: one agent speaks at a time, the others wait until it has finished."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nodes.events import (
    ApprovalRequired,
    CheckFinished,
    EnvironmentReported,
    ErrorReported,
    Event,
    MessageAdded,
    NodeFinished,
    PlanMade,
    Retried,
    RunFinished,
    Token,
    ToolResult,
    VerdictGiven,
)

Speaker = tuple[str | None, str | None]
"""A node and its step."""


@dataclass
class Transcript:
    """Turns events into pieces of text. The agents' own words stay unchanged."""

    _speaker: Speaker | None = None
    _waiting: dict[Speaker, list[str]] = field(default_factory=dict)
    _finished: set[Speaker] = field(default_factory=set)
    _titles: dict[str, str] = field(default_factory=dict)
    _started: bool = False

    def add(self, event: Event) -> list[str]:
        """Return the text to show after this event. Events must come in order."""
        match event.data:
            case Token() as data:
                return self._say((event.node, event.step_id), data.text)
            case NodeFinished():  # of a branch, or of a node for all its branches
                return self._finish(event.node, event.step_id)
            case MessageAdded(role="assistant") as data:
                return [f"{self._separator()}── answer ──\n{data.text}"]
            case PlanMade() as data:
                self._titles = {step["id"]: step["description"] for step in data.plan["steps"]}
                return []
            case CheckFinished() as data:
                return self._note("sandbox", "\n".join([data.counts, *data.problems, *data.gaps]))
            case VerdictGiven() as data:
                return self._note("review", "\n".join([data.verdict, *data.reasons]))
            case ApprovalRequired() as data:
                asked = [f"your approval is needed: {data.id}", *_about(data.request)]
                return self._note("waiting", "\n".join(asked))
            case ToolResult() as data:
                state = f" (exit code {data.returncode})" if data.returncode else ""
                output = f"{data.stdout}{data.stderr}".strip()
                return self._note("tool", "\n".join(filter(None, [data.tool + state, output])))
            case EnvironmentReported() as data:
                text = _environment(data)
                return self._note("environment", text) if text else []
            case Retried() as data:
                return self._note("retry", data.reason)
            case ErrorReported() as data:
                return self._note("error", data.message)
            case RunFinished() as data:
                outcome = " ".join(word for word in (data.status, data.branch) if word)
                weak = data.summary.weaknesses if data.summary else []
                words = [data.summary.words] if data.summary and data.summary.words else []
                end = self._note("end", "\n".join([outcome, *words, *data.missing, *weak]))
                return [*self._finish(None, None), *end]
        return []

    def _say(self, speaker: Speaker, text: str) -> list[str]:
        if self._speaker is None:  # nobody speaks, so nobody waits either
            self._speaker = speaker
            return [self._heading(speaker), text]
        if self._speaker == speaker:
            return [text]
        self._waiting.setdefault(speaker, []).append(text)
        return []

    def _finish(self, node: str | None, step: str | None) -> list[str]:
        """End the speech of a node, or of all for None, and let those who waited speak."""
        speakers = (self._speaker, *self._waiting)
        self._finished |= {
            speaker
            for speaker in speakers
            if speaker and node in (None, speaker[0]) and step in (None, speaker[1])
        }
        texts: list[str] = []
        # The next speaker may have finished while it waited, and so may the one after it.
        while self._speaker in self._finished:
            self._finished.discard(self._speaker)
            self._speaker = next(iter(self._waiting), None)
            if self._speaker is not None:
                texts += [self._heading(self._speaker), *self._waiting.pop(self._speaker)]
        return texts

    def _heading(self, speaker: Speaker) -> str:
        node, step = speaker
        title = self._titles.get(step or "")
        return self._separator() + f"── {node}{f': {title}' if title else ''} ──\n"

    def _note(self, label: str, text: str) -> list[str]:
        return [self._separator() + f"── {label}: {text} ──\n"]

    def _separator(self) -> str:
        separator, self._started = ("\n\n" if self._started else ""), True
        return separator


def _about(request: Mapping[str, Any]) -> list[str]:
    """Return the lines that a question about an environment needs, so that it can be answered in words."""
    if request.get("kind") == "tool":
        names = ("step", "command", "remote", "reason", "renewal")
        lines = [str(request[name]) for name in names if request.get(name)]
        return [*lines, *map(str, request.get("difference") or [])]
    if request.get("kind") != "environment":
        return []
    commands = [str(command) for command in request.get("commands") or []]
    if not commands:
        return [str(request.get("problem", "")), str(request.get("question", ""))]
    sources = ", ".join(map(str, request.get("sources") or []))
    made = f" from {sources}" if sources else ""
    ask = f"Build the environment{made}? This runs once, in the sandbox, with network and without keys:"
    changed = map(str, request.get("difference") or [])
    uses = [f"Or say: use {path}" for path in request.get("at_hand") or []]
    return [ask, *(f"    {command}" for command in commands), *changed, *uses]


def _environment(data: EnvironmentReported) -> str:
    """Return the text about a build, empty for its output."""
    folder = f" that of {data.folder}" if data.folder else ""
    match data.status:
        case "building":
            return "\n".join([f"building{folder}", *(f"    {command}" for command in data.commands)])
        case "ready":
            return f"ready{folder}, {data.seconds:.1f} s"
        case "failed":
            return data.text
        case "output":
            return ""
