"""Bodies of `autocode fork`: list a thread's checkpoints, or make one of them a thread."""

from langgraph.types import StateSnapshot
from rich.table import Table
from rich.text import Text

from graph.settings import Settings
from graph.supervisor import Supervisor
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.views.console import CliConsole
from server.cli.views.format import one_line

MOST_CHECKPOINTS = 1000


async def list_checkpoints(settings: Settings, console: CliConsole, thread: str) -> ExitCode:
    """List a thread's checkpoints, oldest first, with the nodes that run next."""
    async with Supervisor.open(settings, console.notify, foreground=True) as supervisor:
        snapshots = await _snapshots(supervisor, thread)
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    for name in ("number", "time", "next", "checkpoint"):
        table.add_column(name, no_wrap=True)
    for number, snapshot in enumerate(snapshots, 1):
        coming = one_line(", ".join(dict.fromkeys(snapshot.next))) or "the end"
        created = one_line((snapshot.created_at or "")[:19])
        table.add_row(str(number), created, Text(coming), _checkpoint_id(snapshot))
    console.print(table)
    return ExitCode.VERIFIED


async def fork(settings: Settings, console: CliConsole, thread: str, at: str | None) -> ExitCode:
    """Fork a thread at the checkpoint that `at` names, and print how to continue the fork."""
    async with Supervisor.open(settings, console.notify, foreground=True) as supervisor:
        checkpoint = _choose(await _snapshots(supervisor, thread), at) if at else None
        fork_id = await supervisor.fork(thread, checkpoint)
        waits = await supervisor.journal.runs.current(fork_id)
    console.write(fork_id)
    how = f"autocode resume {fork_id}" if waits else f'autocode run "TASK" --thread {fork_id}'
    console.notify(f"Forked. Its calls and its budget are its own. Go on with: {how}")
    return ExitCode.VERIFIED


def _choose(snapshots: list[StateSnapshot], at: str) -> str:
    """Return the id of the checkpoint with this number, or whose id starts so."""
    if at.isdigit() and 0 < int(at) <= len(snapshots):
        return _checkpoint_id(snapshots[int(at) - 1])
    matching = [id for id in map(_checkpoint_id, snapshots) if id.startswith(at)]
    if len(matching) != 1:
        raise UsageError(f"{one_line(at)} names {len(matching)} checkpoints; --list lists them by number")
    return matching[0]


async def _snapshots(supervisor: Supervisor, thread: str) -> list[StateSnapshot]:
    return list(reversed(await supervisor.history.states(thread, MOST_CHECKPOINTS)))


def _checkpoint_id(snapshot: StateSnapshot) -> str:
    return str(snapshot.config["configurable"]["checkpoint_id"])
