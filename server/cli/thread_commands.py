"""Bodies of the commands that show threads and use their results."""

import asyncio
import json
from contextlib import aclosing

from rich.table import Table
from rich.text import Text

from graph.delivery import Delivery
from graph.event_log import EventLog, open_journal
from graph.settings import Settings
from memory.records.journal import Journal
from memory.records.threads import ThreadRow
from nodes.events import Event
from server.cli.exit_codes import ExitCode, SetupError, UsageError
from server.cli.views import approval_prompts as approvals
from server.cli.views.console import CliConsole
from server.cli.views.format import first_line, one_line, pluralize, sanitize
from server.cli.views.run_view import RunView
from server.cli.views.summary import print_summary, render_diff
from server.cli.views.terminal import render_row

STYLES = {
    "verified": "green",
    "unverified": "red",
    "failed": "red",
    "budget": "red",
    "waiting": "bold yellow",
}

STOP_SECONDS = 10.0
"""Time limit for a cancelled run to stop. One second is usual."""

POLL_SECONDS = 0.1


async def list_threads(settings: Settings, console: CliConsole, prune: float | None = None) -> ExitCode:
    """List all threads, newest first. First delete those that ended `prune` days ago."""
    if prune is not None:
        from graph.supervisor import Supervisor  # LangGraph comes with it, and a plain list needs none

        async with Supervisor.open(settings, console.notify, foreground=True) as supervisor:
            gone = await supervisor.history.prune(prune)
        console.notify(f"{pluralize(len(gone), 'thread')} forgotten; the branches are still there.")
    async with aclosing(await open_journal(settings)) as journal:
        rows = await journal.threads.all()
    if console.json:
        shown = ("id", "task", "status", "repo", "branch")
        console.write_raw(json.dumps([{name: getattr(row, name) for name in shown} for row in rows]) + "\n")
    elif rows:
        console.print(_table(rows))
    else:
        console.notify('There are no threads yet; autocode run "TASK" begins one.')
    return ExitCode.VERIFIED


async def show(settings: Settings, console: CliConsole, thread: str) -> ExitCode:
    """Show a thread's newest run."""
    async with aclosing(await open_journal(settings)) as journal:
        thread_row = await _thread(journal, thread)
        progress = RunView.from_events(await journal.events.read(thread))
    console.print(
        Text(f"{thread_row.id}  {sanitize(progress.task).strip()}", style="bold"),
        Text(thread_row.repo, style="dim"),
    )
    if progress.plan and progress.plan["explanation"]:
        console.print(Text(sanitize(progress.plan["explanation"]).strip(), style="italic"))
    console.print(Text(), *(render_row(row, progress) for row in progress.rows if row.shown))
    for asked in progress.pending_approvals():
        with console.page() as page:
            approvals.show_request(page, asked)
    if progress.finished:
        with console.page() as page:
            print_summary(page, progress)
    elif thread_row.owner:
        console.print(Text(f"\nrunning: {one_line(thread_row.owner)}", style="cyan"))
    else:
        console.print(Text(f"\nnobody runs it; go on with: autocode resume {thread_row.id}", style="yellow"))
    return ExitCode.VERIFIED


async def diff(settings: Settings, console: CliConsole, thread: str) -> ExitCode:
    """Print the change of a thread's newest delivery."""
    delivery = await _delivery(settings, thread)
    text = await delivery.diff()
    if console.out.is_terminal:
        console.print(render_diff(text, limit=None))
    else:
        console.write_raw(text)
    return ExitCode.VERIFIED


async def apply(
    settings: Settings, console: CliConsole, thread: str, yes: bool, unverified: bool
) -> ExitCode:
    """Show a delivery and merge it into the checkout. One without proof needs `unverified`."""
    delivery = await _delivery(settings, thread)
    if not delivery.verified and not unverified:
        console.notify(
            f"{delivery.branch} is not verified as it stands; nothing was applied (--unverified insists)"
        )
        return ExitCode.UNVERIFIED
    text = await delivery.diff()
    console.print(render_diff(text, thread, limit=None))
    if not yes:
        if not console.can_ask:
            raise UsageError("nobody is here to ask; --yes applies without asking")
        if not _agreed(console, f"Apply this to {delivery.repo}? [y/N] "):
            console.notify("Nothing was applied.")
            return ExitCode.UNVERIFIED
    paths = await delivery.apply()
    console.print(
        Text(f"Applied {pluralize(len(paths), 'file')}: {', '.join(map(one_line, paths))}", style="green")
    )
    return ExitCode.VERIFIED


async def cancel_live(settings: Settings, console: CliConsole, thread: str) -> bool:
    """Cancel a run that a live process runs. Return False if none does.

    The request is a flag in the database, so that LangGraph's import does not delay it.
    """
    async with aclosing(await open_journal(settings)) as journal:
        await _thread(journal, thread)
        if not await journal.threads.request_cancel(thread):
            return False
        row = await _released(journal, thread)
    if row.owner:
        process = f"process {one_line(row.owner)} was asked to stop, and has not within {STOP_SECONDS} s"
        raise SetupError(f"{process}; end that process: the run is resumable as after a crash")
    ended = "Cancelled." if row.status == "cancelled" else f"It ended by itself: {one_line(row.status)}."
    then = f"autocode show {thread}" if not row.resumable else f"autocode resume {thread}"
    console.notify(f"{ended} Go on with: {then}")
    return True


async def _released(journal: Journal[Event], thread: str) -> ThreadRow:
    """Return the thread once its owner has released it, or after STOP_SECONDS."""
    for _ in range(int(STOP_SECONDS / POLL_SECONDS)):
        row = await _thread(journal, thread)
        if not row.owner:
            break
        await asyncio.sleep(POLL_SECONDS)
    return row


async def add_note(settings: Settings, console: CliConsole, thread: str, text: str) -> ExitCode:
    """Write a note to a thread's run."""
    async with aclosing(await open_journal(settings)) as journal:
        await _thread(journal, thread)
        await EventLog(journal).note(thread, text)
    console.notify("Noted; the next agent sees it.")
    return ExitCode.VERIFIED


def _agreed(console: CliConsole, question: str) -> bool:
    try:
        return console.out.input(Text(question, style="bold")).strip().lower() in ("y", "yes")
    except EOFError:
        return False


async def _delivery(settings: Settings, thread: str) -> Delivery:
    async with aclosing(await open_journal(settings)) as journal:
        await _thread(journal, thread)
        return await Delivery.of_thread(journal, thread)


async def _thread(journal: Journal[Event], thread: str) -> ThreadRow:
    row = await journal.threads.get(thread)
    if row is None:
        raise UsageError(f"there is no thread {one_line(thread)}; `autocode threads` lists them")
    return row


def _table(rows: list[ThreadRow]) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1), header_style="dim")
    table.add_column("id", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("task", ratio=2, no_wrap=True, overflow="ellipsis")
    table.add_column("repo", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("branch", overflow="fold")
    for row in rows:
        status = Text(row.status, style=STYLES.get(row.status, ""))
        table.add_row(row.id, status, first_line(row.task), one_line(row.repo), one_line(row.branch or ""))
    return table
