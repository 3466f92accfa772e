"""A run as text, for people who watch: one agent speaks at a time, the others wait until it has finished."""

from dataclasses import dataclass, field

from nodes.events import (
    ApprovalRequired,
    CheckFinished,
    ErrorReported,
    Event,
    NodeFinished,
    PlanMade,
    Retried,
    RunFinished,
    Token,
    VerdictGiven,
)

Speaker = tuple[str | None, str | None]


@dataclass
class Transcript:
    """Turns events into pieces of text; `take` each event in order. Agents' words are passed on unchanged."""

    _speaker: Speaker | None = None
    _held: dict[Speaker, list[str]] = field(default_factory=dict)
    _over: set[Speaker] = field(default_factory=set)
    _titles: dict[str, str] = field(default_factory=dict)
    _begun: bool = False

    def take(self, event: Event) -> list[str]:
        """What is to be read after this event."""
        match event.data:
            case Token() as data:
                return self._say((event.node, event.step_id), data.text)
            case NodeFinished():
                return self._finish(event.node, event.step_id)
            case PlanMade() as data:
                self._titles = {step["id"]: step["description"] for step in data.plan["steps"]}
                return []
            case CheckFinished() as data:
                told = [f"{data.passed} passed, {data.failed} failed", *data.problems]
                return self._note("sandbox", "\n".join(told))
            case VerdictGiven() as data:
                return self._note("review", "\n".join([data.verdict, *data.reasons]))
            case ApprovalRequired() as data:
                return self._note("waiting", f"your approval is needed: {data.id}")
            case Retried() as data:
                return self._note("retry", data.reason)
            case ErrorReported() as data:
                return self._note("error", data.message)
            case RunFinished() as data:
                ended = " ".join(part for part in (data.status, data.branch) if part)
                return [*self._rest(), *self._note("end", "\n".join([ended, *data.missing]))]
        return []

    def _say(self, speaker: Speaker, text: str) -> list[str]:
        if self._speaker is None:
            self._speaker = speaker
            return [self._heading(speaker), text]
        if self._speaker == speaker:
            return [text]
        self._held.setdefault(speaker, []).append(text)
        return []

    def _finish(self, node: str | None, step: str | None) -> list[str]:
        """Let the next one speak; of those who have finished meanwhile, everything is said at once."""
        ended = {
            one for one in (self._speaker, *self._held) if one and one[0] == node and step in (None, one[1])
        }
        self._over |= ended
        said: list[str] = []
        while self._speaker in self._over:
            self._over.discard(self._speaker)
            self._speaker = next(iter(self._held), None)
            if self._speaker is not None:
                said += [self._heading(self._speaker), *self._held.pop(self._speaker)]
        return said

    def _rest(self) -> list[str]:
        said = [text for one, held in self._held.items() for text in (self._heading(one), *held)]
        self._held.clear()
        self._over.clear()
        self._speaker = None
        return said

    def _heading(self, speaker: Speaker) -> str:
        node, step = speaker
        title = self._titles.get(step or "")
        return self._apart() + f"── {node}{f': {title}' if title else ''} ──\n"

    def _note(self, who: str, text: str) -> list[str]:
        return [self._apart() + f"── {who}: {text} ──\n"]

    def _apart(self) -> str:
        before, self._begun = ("\n\n" if self._begun else ""), True
        return before
