"""Delivery of a thread or run: its branch, its diff and files, and their way into the checkout."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from graph.errors import RunnerError, UnknownThread
from memory.records.journal import Journal
from memory.records.runs import RunRow
from nodes.events import Event, RunFinished
from nodes.proof import Proof
from tools.workspace import Workspace

FILE_BYTES = 256 * 1024
"""Size up to which a file is sent along with a result."""


@dataclass(frozen=True)
class Delivery:
    """The change between two commits on a delivered branch.

    `verified` is true only while the branch's tip holds the very tree of the proof.
    """

    repo: Path
    branch: str
    base: str
    commit: str
    verified: bool

    @classmethod
    async def of_thread(cls, journal: Journal[Event], thread_id: str) -> "Delivery":
        """Return the thread's newest delivery. Raises UnknownThread, RunnerError, WorkspaceError."""
        thread = await journal.threads.get(thread_id)
        if thread is None:
            raise UnknownThread(f"there is no thread {thread_id}")
        events = await journal.events.read(thread_id)
        ends = [event.data for event in events if isinstance(event.data, RunFinished) and event.data.branch]
        if not ends:
            raise RunnerError(f"thread {thread_id} has delivered nothing: none of its runs has made a branch")
        return await asyncio.to_thread(cls._of_end, Path(thread.repo), ends[-1])

    @classmethod
    async def of_run(cls, run: RunRow) -> "Delivery | None":
        """Return the delivery of one run, or None if it made none. Raises WorkspaceError."""
        return await asyncio.to_thread(cls._of_run, run, run.branch) if run.branch else None

    async def diff(self) -> str:
        """Return the change as a unified diff."""
        return await asyncio.to_thread(lambda: Workspace.open(self.repo).diff(self.base, self.commit))

    async def apply(self) -> tuple[str, ...]:
        """Merge the change into the checkout and return its paths. Raises WorkspaceError on a conflict."""
        return await asyncio.to_thread(lambda: Workspace.open(self.repo).apply(self.base, self.commit))

    async def files(self) -> Mapping[str, str | None]:
        """Return the changed files by path. None stands for a file that is deleted, too large or no text."""
        return await asyncio.to_thread(self._files)

    @classmethod
    def _of_end(cls, repo: Path, end: RunFinished) -> "Delivery":
        workspace = Workspace.open(repo)
        branch = end.branch or ""
        commit = workspace.resolve(f"refs/heads/{branch}")
        proof = Proof.model_validate(end.proof) if end.proof else None
        base = proof.base if proof else workspace.resolve(f"{commit}^")
        # Somebody may have committed to the branch since.
        proved = proof is not None and proof.tree == workspace.tree(commit)
        return cls(repo, branch, base, commit, end.status == "verified" and proved)

    @classmethod
    def _of_run(cls, run: RunRow, branch: str) -> "Delivery":
        repo = Path(run.input["repo"])
        workspace = Workspace.open(repo)
        commit = workspace.resolve(f"refs/heads/{branch}")
        # A later run on the thread has built on this one's result.
        while (note := workspace.read_note(commit)) and json.loads(note).get("run") not in (run.id, None):
            commit = workspace.resolve(f"{commit}^")
        base = workspace.resolve(f"{commit}^")
        return cls(repo, branch, base, commit, run.status == "verified")

    def _files(self) -> dict[str, str | None]:
        workspace = Workspace.open(self.repo)
        changes = workspace.changes(self.base, self.commit)
        texts = {change.path: workspace.text(self.commit, change.path) for change in changes}
        return {path: text if len(text or "") <= FILE_BYTES else None for path, text in texts.items()}
