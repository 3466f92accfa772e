"""The commands that list threads, cancel them, and add notes."""

import asyncio
import json as jsonlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from server.cli.commands.options import ThreadArgument
from server.cli.entry import command
from server.cli.exit_codes import ExitCode, SetupError, UsageError
from server.cli.thread_names import find_thread, open_journal
from server.cli.views.format import first_line, one_line, pluralize

if TYPE_CHECKING:
    from rich.table import Table

    from graph.settings import Settings
    from memory.records.journal import Journal
    from memory.records.threads import ThreadRow
    from nodes.events import Event
    from server.cli.views.console import CliConsole

STYLES = {
    "verified": "green",
    "answered": "green",
    "unverified": "red",
    "failed": "red",
    "budget": "red",
    "waiting": "bold yellow",
}

STOP_SECONDS = 10.0
"""Time limit for a cancelled run to stop. One second is usual."""

POLL_SECONDS = 0.1


@command
async def threads(
    settings: "Settings",
    console: "CliConsole",
    json: Annotated[
        bool, Option("--json", help="Print a JSON array: id, task, status, repo, branch.")
    ] = False,
    repo: Annotated[
        Path | None, Option(metavar="DIR", help="List those of this repository (default: this folder's).")
    ] = None,
    every: Annotated[bool, Option("--all", help="List the threads of all repositories.")] = False,
    prune: Annotated[
        float | None, Option(min=0, metavar="DAYS", help="First delete threads that ended this long ago.")
    ] = None,
) -> ExitCode:
    """List the threads of this repository, newest first.

    With --json, or outside a repository, list those of all repositories.
    """
    if repo and every:
        raise UsageError("--repo lists one repository and --all lists every one; give one of them")
    here = await asyncio.to_thread(_root, repo) if not every and (repo or not json) else None
    if prune is not None:
        from graph.supervisor import Supervisor  # imports LangGraph, which a plain list does not need

        async with Supervisor.open(settings, console.notify, foreground=True) as supervisor:
            pruned = await supervisor.history.prune(prune)
        console.notify(f"{pluralize(len(pruned), 'thread')} deleted. The branches stay.")
    async with open_journal(settings) as journal:
        stored = await journal.threads.all()
        rows = [row for row in stored if here in (None, row.repo)]
        answers = await journal.events.answers([row.id for row in rows if row.status == "answered"])
    if json:
        keys = ("id", "task", "status", "repo", "branch")
        console.write_raw(jsonlib.dumps([{key: getattr(row, key) for key in keys} for row in rows]) + "\n")
        return ExitCode.VERIFIED
    if rows:
        console.print(_table(rows, answers, with_repo=here is None))
    else:
        place = f" of {one_line(here)}" if here and stored else ""
        console.notify(f'There are no threads{place} yet. Start one with: autocode run "TASK"')
    if others := len(stored) - len(rows):
        noun = pluralize(others, "thread of another repository", "threads of other repositories")
        console.notify(f"{noun} not listed; --all lists {'it' if others == 1 else 'them'}.")
    return ExitCode.VERIFIED


def _root(repo: Path | None) -> str | None:
    """Return the root of a repository as threads name it. None if this folder is in none."""
    from tools.workspace import Workspace, WorkspaceError

    try:
        return str(Workspace.open((repo or Path()).expanduser().absolute()).path)
    except WorkspaceError:
        if repo:
            raise
        return None


def _table(rows: "list[ThreadRow]", answers: Mapping[str, str], with_repo: bool) -> "Table":
    from rich.text import Text

    from server.cli.views.console import list_table

    place = {"repo": 1} if with_repo else {}
    table = list_table("id", "status", "task", *place, task=2, **place)
    table.add_column("branch", overflow="fold")
    for row in rows:
        status = Text(row.status, style=STYLES.get(row.status, ""))
        answer = f"\n→ {first_line(answers[row.id], 200)}" if row.id in answers else ""
        repo = [one_line(row.repo)] if with_repo else []
        table.add_row(row.id, status, first_line(row.task) + answer, *repo, one_line(row.branch or ""))
    return table


@command
async def cancel(settings: "Settings", console: "CliConsole", thread: ThreadArgument) -> ExitCode:
    """Cancel the run of a thread. It can be resumed."""
    # First a flag in the database for a process that runs it: importing LangGraph would delay the stop.
    async with open_journal(settings) as journal:
        thread = (await find_thread(journal, thread)).id
        requested = await journal.threads.request_cancel(thread)
        row = await _wait_until_released(journal, thread) if requested else None
    if row:
        if row.owner:
            process = f"process {one_line(row.owner)} did not stop within {STOP_SECONDS:.0f} s"
            raise SetupError(f"{process}; end it yourself: the run can be resumed as after a crash")
        ended = "Cancelled." if row.status == "cancelled" else f"It ended by itself: {one_line(row.status)}."
        command = "resume" if row.resumable else "show"
        console.notify(f"{ended} Go on with: autocode {command} {thread}")
        return ExitCode.VERIFIED
    from graph.supervisor import Supervisor

    async with Supervisor.open(settings, console.notify, foreground=True) as supervisor:
        if not await supervisor.cancel(thread):
            raise UsageError(f"thread {one_line(thread)} has no run to cancel; its last run has ended")
    console.notify(f"Cancelled. Go on with: autocode resume {thread}")
    return ExitCode.VERIFIED


async def _wait_until_released(journal: "Journal[Event]", thread: str) -> "ThreadRow":
    """Return the thread once its owner has released it, or after STOP_SECONDS."""
    for _ in range(int(STOP_SECONDS / POLL_SECONDS)):
        row = await find_thread(journal, thread)
        if not row.owner:
            break
        await asyncio.sleep(POLL_SECONDS)
    return row


@command
async def note(
    settings: "Settings",
    console: "CliConsole",
    thread: ThreadArgument,
    text: Annotated[str, Argument(metavar="TEXT", help="A fact or a wish for the agents.")],
) -> ExitCode:
    """Send a note to a running task, or answer its question.

    Every agent reads a note with its next call. A plain yes approves. Other words reject a plan, which is
    made again.
    """
    from graph.event_log import EventLog

    async with open_journal(settings) as journal:
        row = await find_thread(journal, thread)
        if row.status != "waiting":
            await EventLog(journal).note(row.id, text)
    if row.status == "waiting" and await _reply(settings, console, row.id, text):
        console.notify(f"Answered. Go on with: autocode resume {row.id}")
    else:
        console.notify("Noted. Every agent reads it with its next call.")
    return ExitCode.VERIFIED


async def _reply(settings: "Settings", console: "CliConsole", thread: str, text: str) -> bool:
    """Answer a waiting thread. Return False if it waits for no answer, and the text became a note."""
    from graph.supervisor import Supervisor  # imports LangGraph, which a note does not need
    from server.cli.foreground import person

    async with Supervisor.open(settings, console.notify, foreground=True) as supervisor:
        if await supervisor.reply(thread, text, person()):
            return True
        await supervisor.log.note(thread, text)
        return False
