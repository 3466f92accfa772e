"""The command `fork`: list the checkpoints of a thread, or start a new thread from one."""

from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.commands.options import EnvFileOption, ThreadArgument
from server.cli.entry import run_command
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.views.format import one_line

if TYPE_CHECKING:
    from langgraph.types import StateSnapshot

    from graph.settings import Settings
    from graph.supervisor import Supervisor
    from server.cli.views.console import CliConsole

MAX_CHECKPOINTS = 1000


def fork(
    thread: ThreadArgument,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="CHECKPOINT", help="Number or id, see --list (default newest)."),
    ] = None,
    list: Annotated[bool, typer.Option("--list", help="List the checkpoints and do nothing.")] = False,
    env_file: EnvFileOption = None,
) -> None:
    """Start a new thread from a checkpoint of a thread.

    The files come along. Both threads can be continued.
    """

    async def body(settings: "Settings", console: "CliConsole") -> ExitCode:
        from graph.supervisor import Supervisor

        async with Supervisor.open(settings, console.notify, foreground=True) as supervisor:
            if list:
                return await _list(supervisor, console, thread)
            return await _fork(supervisor, console, thread, at)

    run_command(body, env_file)


async def _list(supervisor: "Supervisor", console: "CliConsole", thread: str) -> ExitCode:
    """List checkpoints, oldest first, with the nodes that run next."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    for name in ("number", "time", "next", "checkpoint"):
        table.add_column(name, no_wrap=True)
    for number, snapshot in enumerate(await _snapshots(supervisor, thread), 1):
        # The branches of a parallel group are one node, named once for each branch.
        nodes = one_line(", ".join(dict.fromkeys(snapshot.next))) or "the end"
        created = one_line((snapshot.created_at or "")[:19])
        table.add_row(str(number), created, nodes, _checkpoint_id(snapshot))
    console.print(table)
    return ExitCode.VERIFIED


async def _fork(supervisor: "Supervisor", console: "CliConsole", thread: str, at: str | None) -> ExitCode:
    checkpoint = _choose(await _snapshots(supervisor, thread), at) if at else None
    fork_id = await supervisor.fork(thread, checkpoint)
    unfinished = await supervisor.journal.runs.current(fork_id)
    console.write(fork_id)
    command = f"autocode resume {fork_id}" if unfinished else f'autocode run "TASK" --thread {fork_id}'
    console.notify(f"Forked. The fork has a budget of its own. Go on with: {command}")
    return ExitCode.VERIFIED


def _choose(snapshots: "list[StateSnapshot]", at: str) -> str:
    """Return the id of the checkpoint with this number, or whose id starts with `at`."""
    if at.isdigit() and 0 < int(at) <= len(snapshots):
        return _checkpoint_id(snapshots[int(at) - 1])
    matching = [id for id in map(_checkpoint_id, snapshots) if id.startswith(at)]
    if len(matching) != 1:
        raise UsageError(f"{one_line(at)} names {len(matching)} checkpoints; --list lists them by number")
    return matching[0]


async def _snapshots(supervisor: "Supervisor", thread: str) -> "list[StateSnapshot]":
    return list(reversed(await supervisor.history.states(thread, MAX_CHECKPOINTS)))


def _checkpoint_id(snapshot: "StateSnapshot") -> str:
    return str(snapshot.config["configurable"]["checkpoint_id"])
