"""The command `fork`: list the checkpoints of a thread, or start a new thread from one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from typer import Option

from server.cli.commands.options import ThreadArgument
from server.cli.entry import command
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.thread_names import find_thread
from server.cli.views.format import first_line, one_line

if TYPE_CHECKING:
    from langgraph.types import StateSnapshot

    from graph.settings import Settings
    from graph.supervisor import Supervisor
    from server.cli.views.console import CliConsole

MAX_CHECKPOINTS = 1000


@command
async def fork(
    settings: "Settings",
    console: "CliConsole",
    thread: ThreadArgument,
    at: Annotated[
        str | None, Option(metavar="CHECKPOINT", help="Number or id, see --list (default newest).")
    ] = None,
    list: Annotated[bool, Option("--list", help="List the checkpoints and do nothing.")] = False,
) -> ExitCode:
    """Start a new thread from a checkpoint of a thread.

    The files come along. Both threads can be continued. The end of a task is the place for another next task.
    """
    from graph.supervisor import Supervisor

    async with Supervisor.open(settings, console.notify, foreground=True) as supervisor:
        thread = (await find_thread(supervisor.journal, thread)).id
        if list:
            await print_checkpoints(console, supervisor, thread)
            return ExitCode.VERIFIED
        fork_id = await fork_at(supervisor, thread, at)
        unfinished = await supervisor.journal.runs.current(fork_id)
    console.write(fork_id)
    command = f"autocode resume {fork_id}" if unfinished else f'autocode run "TASK" --thread {fork_id}'
    console.notify(f"Forked. The fork has a budget of its own. Go on with: {command}")
    return ExitCode.VERIFIED


async def fork_at(supervisor: "Supervisor", thread: str, at: str | None) -> str:
    """Fork a thread at a checkpoint of its list, else at the newest. Return the new thread's id."""
    checkpoint = _choose(await _checkpoints(supervisor, thread), at) if at else None
    return await supervisor.history.fork(thread, checkpoint)


async def print_checkpoints(console: "CliConsole", supervisor: "Supervisor", thread: str) -> None:
    """List the checkpoints of a thread, oldest first and by task, with the nodes that run next."""
    from server.cli.views.console import list_table

    snapshots = await _checkpoints(supervisor, thread)
    table = list_table("number", "time", "next", "checkpoint")
    for number, (snapshot, later) in enumerate(zip(snapshots, [*snapshots[1:], None], strict=True), 1):
        if "__start__" in snapshot.next and later:
            if table.row_count:
                console.print(table, "")
            console.print(first_line(str(later.values.get("task", ""))), style="bold")
            table = list_table("number", "time", "next", "checkpoint")
        created = one_line((snapshot.created_at or "")[:16].replace("T", " "))
        table.add_row(str(number), created, _next(snapshot), _checkpoint_id(snapshot))
    console.print(table)


def _next(snapshot: "StateSnapshot") -> str:
    """Return the nodes that run next. The branches of a parallel group are one node."""
    names = ("the start" if node == "__start__" else node for node in dict.fromkeys(snapshot.next))
    return one_line(", ".join(names)) or "the end"


async def _checkpoints(supervisor: "Supervisor", thread: str) -> "Sequence[StateSnapshot]":
    return (await supervisor.history.states(thread, MAX_CHECKPOINTS))[::-1]


def _choose(snapshots: "Sequence[StateSnapshot]", at: str) -> str:
    """Return the id of the checkpoint with this number, or whose id starts with `at`."""
    if at.isdigit() and 0 < int(at) <= len(snapshots):
        return _checkpoint_id(snapshots[int(at) - 1])
    matching = [id for id in map(_checkpoint_id, snapshots) if id.startswith(at)]
    if len(matching) != 1:
        raise UsageError(f"{one_line(at)} names {len(matching)} checkpoints; --list lists them by number")
    return matching[0]


def _checkpoint_id(snapshot: "StateSnapshot") -> str:
    return str(snapshot.config["configurable"]["checkpoint_id"])
