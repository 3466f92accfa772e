"""The commands that look at threads and take their results."""

import asyncio
import json
from contextlib import aclosing

from rich.table import Table
from rich.text import Text

from graph.component_settings import open_journal
from graph.notes import note
from graph.runner import Runner
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
from server.result import Result

STYLES = {
    "verified": "green",
    "unverified": "red",
    "failed": "red",
    "budget": "red",
    "waiting": "bold yellow",
}

STOP_SECONDS = 10.0
"""How long a cancelled run may take to stop; it mostly takes one."""

LOOK_SECONDS = 0.1


async def listing(settings: Settings, face: CliConsole, prune: float | None = None) -> ExitCode:
    """List all threads, newest first, once those that ended `prune` days ago are forgotten."""
    if prune is not None:
        async with Runner.open(settings, face.notify) as runner:
            gone = await runner.prune(prune)
        face.notify(f"{pluralize(len(gone), 'thread')} forgotten; the branches are still there.")
    async with aclosing(await open_journal(settings)) as journal:
        rows = await journal.threads.all()
    if face.json:
        shown = ("id", "task", "status", "repo", "branch")
        face.write_raw(json.dumps([{name: getattr(row, name) for name in shown} for row in rows]) + "\n")
    elif rows:
        face.print(_table(rows))
    else:
        face.notify('There are no threads yet; autocode run "TASK" begins one.')
    return ExitCode.VERIFIED


async def show(settings: Settings, face: CliConsole, thread: str) -> ExitCode:
    """Show the newest run of a thread from its log."""
    async with aclosing(await open_journal(settings)) as journal:
        row = await _thread(journal, thread)
        progress = RunView.from_events(await journal.events.read(thread))
    face.print(
        Text(f"{row.id}  {sanitize(progress.task).strip()}", style="bold"), Text(row.repo, style="dim")
    )
    if progress.plan and progress.plan["explanation"]:
        face.print(Text(sanitize(progress.plan["explanation"]).strip(), style="italic"))
    face.print(Text(), *(render_row(one, progress) for one in progress.rows if one.shown))
    for asked in progress.pending_approvals():
        with face.page() as console:
            approvals.show_request(console, asked)
    if progress.finished:
        with face.page() as console:
            print_summary(console, progress)
    elif row.owner:
        face.print(Text(f"\nrunning: {one_line(row.owner)}", style="cyan"))
    else:
        face.print(Text(f"\nnobody runs it; go on with: autocode resume {row.id}", style="yellow"))
    return ExitCode.VERIFIED


async def diff(settings: Settings, face: CliConsole, thread: str) -> ExitCode:
    """Print the change of a thread's newest result."""
    async with aclosing(await open_journal(settings)) as journal:
        result = await Result.of(journal, thread)
    text = await result.diff()
    if face.out.is_terminal:
        face.print(render_diff(text, limit=None))
    else:
        face.write_raw(text)
    return ExitCode.VERIFIED


async def apply(settings: Settings, face: CliConsole, thread: str, yes: bool, unverified: bool) -> ExitCode:
    """Bring a result into the checkout, after showing it; one without proof only when that was asked for."""
    async with aclosing(await open_journal(settings)) as journal:
        result = await Result.of(journal, thread)
    if not result.verified and not unverified:
        face.notify(
            f"{result.branch} is not verified as it stands; nothing was applied (--unverified insists)"
        )
        return ExitCode.UNVERIFIED
    text = await result.diff()
    face.print(render_diff(text, thread, limit=None))
    if not yes:
        if not face.can_ask:
            raise UsageError("nobody is here to ask; --yes applies without asking")
        if not _agreed(face, f"Apply this to {result.repo}? [y/N] "):
            face.notify("Nothing was applied.")
            return ExitCode.UNVERIFIED
    paths = await result.apply()
    face.print(
        Text(f"Applied {pluralize(len(paths), 'file')}: {', '.join(map(one_line, paths))}", style="green")
    )
    return ExitCode.VERIFIED


async def stopped(settings: Settings, face: CliConsole, thread: str) -> bool:
    """Have a live owner of the thread stop, without the weight of the runner; False when there is none."""
    async with aclosing(await open_journal(settings)) as journal:
        await _thread(journal, thread)
        if not await journal.threads.request_cancel(thread):
            return False
        row = await _let_go(journal, thread)
    if row.owner:
        who = f"process {one_line(row.owner)} was asked to stop, and has not within {STOP_SECONDS} s"
        raise SetupError(f"{who}; end that process: the run is resumable as after a crash")
    ended = "Cancelled." if row.status == "cancelled" else f"It ended by itself: {one_line(row.status)}."
    then = f"autocode resume {thread}" if row.resumable else f"autocode show {thread}"
    face.notify(f"{ended} Go on with: {then}")
    return True


async def _let_go(journal: Journal[Event], thread: str) -> ThreadRow:
    """The thread once its owner has let it go, or when that takes too long."""
    for _ in range(int(STOP_SECONDS / LOOK_SECONDS)):
        row = await _thread(journal, thread)
        if not row.owner:
            break
        await asyncio.sleep(LOOK_SECONDS)
    return row


async def noted(settings: Settings, face: CliConsole, thread: str, text: str) -> ExitCode:
    """Write a note to a thread's run, without the weight of the runner."""
    async with aclosing(await open_journal(settings)) as journal:
        await note(journal, thread, text)
    face.notify("Noted; the next agent sees it.")
    return ExitCode.VERIFIED


def _agreed(face: CliConsole, question: str) -> bool:
    try:
        return face.out.input(Text(question, style="bold")).strip().lower() in ("y", "yes")
    except EOFError:
        return False


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
