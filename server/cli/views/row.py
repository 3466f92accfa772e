"""One line of a run as people see it: a step of the plan, or a node at work."""

from dataclasses import dataclass, field
from typing import Literal

from server.cli.views.format import sanitize

Look = Literal["planned", "running", "done", "failed", "asks", "stopped"]

QUIET = frozenset({"snapshot", "recall", "approval", "dispatch", "merge"})
"""Nodes that only pass things on: their rows show when they fail or have something to say."""

TAIL = 600
"""How many characters of a streaming reply are kept for its row."""


@dataclass(eq=False)
class Row:
    """One line of the run: a step of the plan or a node at work, in the order of the plan."""

    node: str
    step: str | None = None
    title: str = ""
    look: Look = "planned"
    started: float = 0.0
    seconds: float | None = None
    outcome: str = ""
    notes: list[str] = field(default_factory=list)
    tail: str = ""

    @property
    def over(self) -> bool:
        """True when nothing more will be said about it."""
        return self.look in ("done", "failed", "stopped") and self.seconds is not None

    @property
    def shown(self) -> bool:
        """False for a node that only passes things on and has nothing to say."""
        return self.node not in QUIET or self.look == "failed" or bool(self.notes or self.outcome)

    def last_lines(self, number: int) -> list[str]:
        """Return the newest lines of what it streams."""
        return [part.rstrip() for part in sanitize(self.tail).expandtabs(4).splitlines() if part.strip()][
            -number:
        ]
