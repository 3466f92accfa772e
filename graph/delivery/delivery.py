"""Delivery of a thread or run: its branch, its diff and files, and their way into the checkout."""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from graph.delivery.base import DeliveryBase, first_base, run_of
from graph.errors import RunnerError, UnknownThread
from memory.records.journal import Journal
from memory.records.runs import RunRow
from nodes.events import Event, RunFinished
from nodes.proof import Proof, Suspicion
from tools.workspace import Application, ChangedFile, Selection, Workspace, WorkspaceError
from tools.workspace.refs import APPLIED

KEPT = ("start", "result", APPLIED)
"""Names of the refs that a thread with a result keeps: its first base, its newest commit, the applied one."""

FILE_BYTES = 256 * 1024
"""Size up to which a file is sent along with a result."""


@dataclass(frozen=True)
class Delivery:
    """The change between two commits on a delivered branch.

    `verified` is true only while the branch's tip holds the very tree of the proof. A verified result builds
    on verified results alone, so its proof stands for all of them.
    """

    repo: Path
    branch: str
    base: str
    commit: str
    verified: bool
    thread_id: str = ""
    since: str = ""
    """The newest delivered commit in `base`, which has parts of later ones if the user applied parts."""
    applied: str | None = None
    """The thread's newest record of an application."""
    verified_branch: str | None = None
    """The branch with the verified results of earlier tasks, if this result is another one's."""
    suspicious: tuple[Suspicion, ...] = ()
    """The suspicious places of all results in the change, also of the thread's earlier tasks."""

    @classmethod
    async def of_thread(cls, journal: Journal[Event], thread_id: str, *, whole: bool = False) -> "Delivery":
        """Return what a thread has delivered and the user has not applied or merged, all of it for `whole`.

        Unverified results that later tasks did not build on are not part of it. Raises UnknownThread,
        RunnerError, WorkspaceError.
        """
        thread = await journal.threads.get(thread_id)
        if thread is None:
            raise UnknownThread(f"there is no thread {thread_id}")
        events = await journal.events.read(thread_id)
        ends = [event.data for event in events if isinstance(event.data, RunFinished) and event.data.branch]
        if not ends:
            raise RunnerError(f"thread {thread_id} has delivered nothing: none of its runs has made a branch")
        runs = {event.run_id for event in events}
        delivery = await asyncio.to_thread(cls._of_end, Path(thread.repo), thread_id, ends[-1], runs, whole)
        return replace(delivery, suspicious=tuple(_suspicious(ends, delivery.since)))

    @classmethod
    async def of_run(cls, run: RunRow) -> "Delivery | None":
        """Return the delivery of one run, or None if it made none. Raises WorkspaceError."""
        return await asyncio.to_thread(cls._of_run, run, run.branch) if run.branch else None

    async def diff(self) -> str:
        """Return the change as a unified diff."""
        return await asyncio.to_thread(lambda: Workspace.open(self.repo).diff(self.base, self.commit))

    async def is_empty(self) -> bool:
        """Return True if nothing is left to apply."""
        base, commit = await asyncio.to_thread(self._trees)
        return base == commit

    async def changes_id(self) -> str:
        """Return an id that changes with any of the changed files."""
        trees = await asyncio.to_thread(self._trees)
        return sha256(" ".join(trees).encode()).hexdigest()[:16]

    async def changed_files(self) -> list[ChangedFile]:
        """Return the changed files by path, with their hunks."""
        return await asyncio.to_thread(
            lambda: Workspace.open(self.repo).changed_files(self.base, self.commit)
        )

    async def apply(self, home: Path, selection: Selection | None = None) -> tuple[str, ...]:
        """Merge the change, or the selected part, into the checkout and return its paths.

        The thread's next `apply` begins where this one ended. Nothing is written below `home`, AUTOCODE_HOME.
        Raises CheckoutConflict, Outdated, WorkspaceError.
        """
        return await asyncio.to_thread(self._apply, home, selection)

    def _trees(self) -> tuple[str, str]:
        workspace = Workspace.open(self.repo)
        return workspace.tree(self.base), workspace.tree(self.commit)

    def _apply(self, home: Path, selection: Selection | None) -> tuple[str, ...]:
        workspace, taken = Workspace.open(self.repo), self.commit
        if selection is not None:
            taken = workspace.select(self.base, workspace.changed_files(self.base, self.commit), selection)
        check_outside_home(workspace, home, self.base, taken, self.branch)
        if not self.thread_id:
            return workspace.apply(self.base, taken)
        application = Application(self.thread_id, self.applied, self.base, taken, self.commit, self.since)
        return workspace.apply(self.base, taken, application)

    async def files(self) -> Mapping[str, str | None]:
        """Return the changed files by path. None stands for a file that is deleted, too large or no text."""
        return await asyncio.to_thread(self._files)

    async def text(self, path: str) -> str | None:
        """Return the text of a changed file, or None if there is no such one, or it is no text."""
        return await asyncio.to_thread(self._text, path)

    @classmethod
    def _of_end(
        cls, repo: Path, thread_id: str, end: RunFinished, runs: Collection[str], whole: bool
    ) -> "Delivery":
        workspace = Workspace.open(repo)
        branch = end.branch or ""
        commit = workspace.resolve(f"refs/heads/{branch}")
        proof = Proof.model_validate(end.proof) if end.proof else None
        held = workspace.held(thread_id)
        first = first_base(workspace, held.get("start"), commit, runs, proof)
        base = (
            DeliveryBase.whole(workspace, thread_id, first)
            if whole
            else DeliveryBase.unapplied(workspace, thread_id, commit, first)
        )
        # Somebody may have committed to the branch since.
        proved = proof is not None and proof.tree == workspace.tree(commit)
        verified = end.status == "verified" and proved
        earlier = None if verified else _other_branch(workspace, f"autocode/{thread_id}", branch)
        place = (base.snapshot, commit, verified, thread_id, base.since, base.applied)
        return cls(repo, branch, *place, verified_branch=earlier)

    @classmethod
    def _of_run(cls, run: RunRow, branch: str) -> "Delivery":
        repo = Path(run.input["repo"])
        workspace = Workspace.open(repo)
        commit = workspace.resolve(f"refs/heads/{branch}")
        # A later run on the thread has built on this one's result.
        while run_of(workspace, commit) not in (run.id, None):
            commit = workspace.resolve(f"{commit}^")
        base = workspace.resolve(f"{commit}^")
        return cls(repo, branch, base, commit, run.status == "verified")

    def _text(self, path: str) -> str | None:
        workspace = Workspace.open(self.repo)
        changed = any(change.path == path for change in workspace.changes(self.base, self.commit))
        return workspace.text(self.commit, path) if changed else None

    def _files(self) -> dict[str, str | None]:
        workspace = Workspace.open(self.repo)
        changes = workspace.changes(self.base, self.commit)
        texts = {change.path: workspace.text(self.commit, change.path) for change in changes}
        return {path: text if len(text or "") <= FILE_BYTES else None for path, text in texts.items()}


def release_snapshots(repo: Path, thread_id: str) -> None:
    """Give up the snapshots of a run that has ended, with the user's uncommitted work in them.

    What the thread delivered stays, because its next task goes on from there.
    """
    # The repository may be gone or read-only. The run has ended anyway.
    with suppress(WorkspaceError, OSError, KeyError):
        workspace = Workspace.open(repo)
        delivered = "result" in workspace.held(thread_id)
        workspace.release(thread_id, keep=KEPT if delivered else ())


def check_outside_home(workspace: Workspace, home: Path, base: str, commit: str, branch: str) -> None:
    """Raise WorkspaceError for a change of a file below `home`, which is AUTOCODE_HOME."""
    # The policy and the MCP servers stand there. A repository of a user's whole home may hold it.
    root = workspace.path.resolve()
    if home.resolve().is_relative_to(root):
        own = home.resolve().relative_to(root)
        for change in workspace.changes(base, commit):
            if Path(change.path).is_relative_to(own):
                what = "lies in AUTOCODE_HOME, which no result may change; nothing was applied"
                raise WorkspaceError(f"{change.path} {what}. Take it from {branch} yourself")


def _other_branch(workspace: Workspace, name: str, branch: str) -> str | None:
    with suppress(WorkspaceError):
        workspace.resolve(f"refs/heads/{name}")
        return None if name == branch else name
    return None


def _suspicious(ends: Sequence[RunFinished], base: str) -> Iterator[Suspicion]:
    """Yield the suspicious places of the newest results, back to the one that began at `base`."""
    for end in reversed(ends):
        if end.status != "verified" or not end.proof:
            continue
        proof = Proof.model_validate(end.proof)
        yield from proof.suspicious
        if proof.base == base:
            return
