"""Tools on the run's snapshots. No git program runs: the arguments are for people."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from tools.catalogue.parameters import MOST_WORDS, RelativePath, Text
from tools.catalogue.tool import PlanTool

Paths = Annotated[list[RelativePath], Field(max_length=MOST_WORDS)]


class GitStatus(PlanTool):
    """List the files that the run has changed so far."""

    name, effect = "git_status", "read"

    def arguments(self) -> Sequence[str]:
        return ["git", "status", "--short"]


class GitDiff(PlanTool):
    """Show what the run has changed so far."""

    name, effect = "git_diff", "read"
    paths: Paths = Field(default_factory=list)

    def arguments(self) -> Sequence[str]:
        return ["git", "diff", "--", *self.paths]


class GitLog(PlanTool):
    """Show the last commits before the run."""

    name, effect = "git_log", "read"
    count: Annotated[int, Field(ge=1, le=200)] = 10

    def arguments(self) -> Sequence[str]:
        return ["git", "log", f"--max-count={self.count}"]


class GitAdd(PlanTool):
    """Check that files are part of the run. All of its changes are delivered, also without this."""

    name, effect = "git_add", "sandboxed"
    paths: Annotated[Paths, Field(min_length=1)]

    def arguments(self) -> Sequence[str]:
        return ["git", "add", "--", *self.paths]


class GitCommit(PlanTool):
    """Set the message of the commit that the run delivers."""

    name, effect = "git_commit", "sandboxed"
    message: Annotated[Text, Field(pattern=r"\S")]

    def arguments(self) -> Sequence[str]:
        return ["git", "commit", f"--message={self.message}"]
