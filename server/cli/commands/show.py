"""The command `show`: the newest run of a thread, as a summary, as events, or as prompts and replies."""

from typing import TYPE_CHECKING, Annotated

from typer import Option

from server.cli.commands.options import JsonOption, ThreadArgument
from server.cli.entry import command
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.thread_names import find_thread, open_journal
from server.cli.views.format import one_line, sanitize

if TYPE_CHECKING:
    from graph.settings import Settings
    from memory.records.journal import Journal
    from nodes.events import Event
    from server.cli.views.console import CliConsole
    from server.cli.views.run_view import RunView


@command
async def show(
    settings: "Settings",
    console: "CliConsole",
    thread: ThreadArgument,
    transcript: Annotated[
        bool, Option("--transcript", help="Print the prompts and replies of its models.")
    ] = False,
    json: JsonOption = False,
) -> ExitCode:
    """Show the newest run of a thread.

    Its plan and steps, checks and verdicts, proof and cost. --transcript opens a pager on a terminal.
    """
    if transcript and json:
        raise UsageError("--transcript prints text and --json prints events; give one of them")
    if transcript:
        return await _show_transcript(settings, console, thread)
    from server.cli.views.approval_prompts import show_request
    from server.cli.views.run_view import RunView
    from server.cli.views.summary import print_summary
    from server.cli.views.terminal import render_row

    async with open_journal(settings) as journal:
        thread_row = await find_thread(journal, thread)
        events = await journal.events.read(thread_row.id)
        run = RunView.from_events(events)
        applied = await _is_applied(journal, thread_row.id, run)
    if json:
        for event in events:
            if event.run_id == run.run_id:
                console.write_raw(f"{event.wire}\n")
        return ExitCode.VERIFIED
    console.print(f"{thread_row.id}  {sanitize(run.task).strip()}", style="bold")
    console.print(one_line(thread_row.repo), style="dim")
    if run.plan and run.plan["explanation"]:
        console.print(sanitize(run.plan["explanation"]).strip(), style="italic")
    console.print("", *(render_row(row, run) for row in run.rows if row.shown))
    with console.page() as page:
        for approval in run.waiting.values():
            show_request(page, approval)
        print_summary(page, run, applied, shown=True)
    if run.finished is None and thread_row.owner:
        console.print(f"\nrunning: {one_line(thread_row.owner)}", style="cyan")
    elif run.finished is None:
        console.print(f"\nnobody runs it; go on with: autocode resume {thread_row.id}", style="yellow")
    return ExitCode.VERIFIED


async def _show_transcript(settings: "Settings", console: "CliConsole", thread: str) -> ExitCode:
    from memory.secrets import masked_tokens
    from server.cli.views.transcript import transcript

    async with open_journal(settings) as journal:
        id = (await find_thread(journal, thread)).id
        run = await journal.runs.current(id)
        exchanges = await journal.completions.exchanges(run.id) if run else []
    if not exchanges:
        console.notify(f"No model has answered on thread {one_line(id)} yet.")
        return ExitCode.VERIFIED
    # Keys that the user has set since the run was stored are masked here.
    texts = (masked_tokens(text, tuple(settings.secrets())) for text in transcript(exchanges))
    if console.out.is_terminal:
        with console.out.pager():
            console.out.print(*texts, sep="", soft_wrap=True)
    else:
        console.write_raw("".join(texts))
    return ExitCode.VERIFIED


async def _is_applied(journal: "Journal[Event]", thread: str, run: "RunView") -> bool:
    """Return True if the user has applied or merged what a thread delivered, so that nothing suggests it."""
    if not run.finished or run.finished.status != "verified":
        return False
    from graph.delivery import Delivery
    from graph.errors import RunnerError
    from tools.workspace import WorkspaceError

    try:
        return not await (await Delivery.of_thread(journal, thread)).diff()
    except (RunnerError, WorkspaceError):  # the repository or its branch is gone
        return False
