"""What a thread delivered: its branch, and what lies between that and where the run started."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from memory.records.journal import Journal
from nodes.events import Event, RunFinished
from nodes.proof import Proof
from server.cli.exit_codes import UsageError
from tools.workspace import Workspace


@dataclass(frozen=True)
class Result:
    """The newest branch of a thread; `verified` only while its tip still holds the very tree of the proof."""

    repo: Path
    branch: str
    base: str
    commit: str
    verified: bool

    @classmethod
    async def of(cls, journal: Journal[Event], thread: str) -> "Result":
        """Find it in the log. Raises UsageError without one, WorkspaceError if its branch is gone."""
        row = await journal.threads.get(thread)
        if row is None:
            raise UsageError(f"there is no thread {thread}; `autocode threads` lists them")
        events = await journal.events.read(thread)
        ends = [event.data for event in events if isinstance(event.data, RunFinished) and event.data.branch]
        if not ends:
            raise UsageError(f"thread {thread} has delivered nothing; `autocode show {thread}` says more")
        return await asyncio.to_thread(cls._find, Path(row.repo), ends[-1])

    @classmethod
    def _find(cls, repo: Path, end: RunFinished) -> "Result":
        workspace = Workspace.open(repo)
        branch = end.branch or ""
        commit = workspace.resolve(f"refs/heads/{branch}")
        proof = Proof.model_validate(end.proof) if end.proof else None
        base = proof.base if proof else workspace.resolve(f"{commit}^")
        proved = proof is not None and proof.tree == workspace.tree(commit)
        return cls(repo, branch, base, commit, end.status == "verified" and proved)

    async def diff(self) -> str:
        """Return the change as a unified diff."""
        return await asyncio.to_thread(lambda: Workspace.open(self.repo).diff(self.base, self.commit))

    async def apply(self) -> tuple[str, ...]:
        """Bring the change into the checkout; return its paths. WorkspaceError where work is in the way."""
        return await asyncio.to_thread(lambda: Workspace.open(self.repo).apply(self.base, self.commit))
