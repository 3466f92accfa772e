"""Forgetting of a thread with all that it left: branches, snapshots, proofs, records and memories."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pygit2

from graph.delivery import Delivery
from graph.errors import RunnerError, UnknownThread
from graph.thread_history import ThreadHistory
from memory.records.owner import this_process
from memory.records.runs import RunUnfinished
from memory.records.threads import ThreadBusy, ThreadRow
from tools.workspace import OutsideBounds, ThreadBranch, Workspace, WorkspaceError

MOST_RUNS = 10_000


@dataclass(frozen=True)
class Forgotten:
    """A thread that is forgotten, or would be.

    `unapplied` counts the changed files that the user has neither applied nor merged. `problem` says why
    the repository could not be read.
    """

    thread: ThreadRow
    branches: tuple[ThreadBranch, ...]
    unapplied: int = 0
    problem: str = ""


async def survey(history: ThreadHistory, thread_id: str) -> Forgotten:
    """Return what forgetting a thread would delete. Raises as `forget`."""
    thread, runs = await _idle(history, thread_id)
    try:
        branches = await asyncio.to_thread(_branches, thread, runs)
        return Forgotten(thread, tuple(branches), await _unapplied(history, thread_id))
    except OutsideBounds:  # a server must not touch it, and the thread is another's
        raise
    except (WorkspaceError, OSError, pygit2.GitError) as error:
        return Forgotten(thread, (), problem=str(error))


async def forget(history: ThreadHistory, thread_id: str) -> Forgotten:
    """Delete a thread and what its tasks taught. Branches with other commits, or checked out, stay.

    An interrupted call can be repeated. Raises UnknownThread, and ThreadBusy or RunUnfinished while a run of
    the thread is at work or queued.
    """
    forgotten, owner = await survey(history, thread_id), str(this_process())
    # A run that began now would be refused its thread after its branches were gone.
    await history.journal.threads.acquire(thread_id, forgotten.thread.repo, owner)
    try:
        _, runs = await _idle(history, thread_id, owner)
        if not forgotten.problem:
            await asyncio.to_thread(_delete_branches, forgotten.thread, runs)
        await history.journal.episodes.forget_runs(runs)
        # Last, because the thread is what a repeated call begins with.
        await history.delete(thread_id, owner)
    except BaseException:
        await asyncio.shield(history.journal.threads.release(thread_id, owner))
        raise
    return forgotten


async def _idle(history: ThreadHistory, thread_id: str, owner: str = "") -> tuple[ThreadRow, frozenset[str]]:
    """Return a thread that does not run, and the ids of its runs. `owner` may hold its lease."""
    thread = await history.journal.threads.get(thread_id)
    if thread is None:
        raise UnknownThread(f"there is no thread {thread_id}")
    if thread.owner and thread.owner != owner:
        raise ThreadBusy(thread_id, thread.owner)
    runs = await history.journal.runs.of_thread(thread_id, MOST_RUNS)
    if queued := next((run for run in runs if run.status == "queued"), None):
        raise RunUnfinished(thread_id, queued.id, queued.status)
    return thread, frozenset(run.id for run in runs)


def _branches(thread: ThreadRow, runs: Collection[str]) -> list[ThreadBranch]:
    return Workspace.open(Path(thread.repo)).thread_branches(thread.id, runs).all() if thread.repo else []


def _delete_branches(thread: ThreadRow, runs: Collection[str]) -> None:
    if thread.repo:
        Workspace.open(Path(thread.repo)).thread_branches(thread.id, runs).delete()


async def _unapplied(history: ThreadHistory, thread_id: str) -> int:
    try:
        return len(await (await Delivery.of_thread(history.journal, thread_id)).changed_files())
    except (RunnerError, WorkspaceError):  # it has delivered nothing, or its branch is gone
        return 0
