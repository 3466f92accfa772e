"""Undo of what a thread's user applied last."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from graph.delivery.base import first_base, is_within, newest_record
from graph.delivery.delivery import check_outside_home
from graph.errors import RunnerError, UnknownThread
from memory.records.journal import Journal
from memory.records.threads import ThreadRow
from nodes.events import Event
from tools.workspace import ApplyRecord, Undone, Workspace, WorkspaceError


async def undo(journal: Journal[Event], thread_id: str, home: Path) -> Undone:
    """Take back what was applied last of a thread. The user's other changes stay.

    Raises UnknownThread, RunnerError if there is nothing to take back, CheckoutConflict with the paths whose
    lines the user has changed since, and WorkspaceError.
    """
    thread = await journal.threads.get(thread_id)
    if thread is None:
        raise UnknownThread(f"there is no thread {thread_id}")
    runs = {run.id for run in await journal.runs.of_thread(thread_id)}
    return await asyncio.to_thread(_undo, thread, runs, home)


async def newest_application(repo: Path, threads: Collection[str]) -> str | None:
    """Return the thread of which something was applied last in a repository, of those in `threads`."""

    def find() -> str | None:
        records = [each for each in Workspace.open(repo).newest_records() if each.thread in threads]
        return max(records, key=lambda record: record.time).thread if records else None

    return await asyncio.to_thread(find)


def _undo(thread: ThreadRow, runs: Collection[str], home: Path) -> Undone:
    workspace = Workspace.open(Path(thread.repo))
    record = newest_record(workspace, thread.id)
    if record is None:
        raise RunnerError(f"nothing of thread {thread.id} is applied, so there is nothing to take back")
    if record.thread != thread.id:
        raise RunnerError(
            f"nothing of thread {thread.id} is applied but what thread {record.thread} brought with it, "
            "of which it is a fork"
        )
    _check_unmerged(workspace, record)
    start = workspace.held(thread.id).get("start")
    base = record.before or first_base(workspace, start, record.id, runs, None)
    check_outside_home(workspace, home, record.after or record.id, base, f"autocode/{thread.id}")
    return workspace.undo(record, base)


def _check_unmerged(workspace: Workspace, record: ApplyRecord) -> None:
    with suppress(WorkspaceError):  # HEAD has no commit, or the delivered commit is gone
        if is_within(workspace, record.target, workspace.resolve("HEAD")):
            raise RunnerError(
                f"the commit {record.target[:10]} that was applied is part of your branch by now; "
                f"take it back with: git revert {record.target[:10]}"
            )
