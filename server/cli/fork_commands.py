"""The command that forks a thread: its checkpoints listed, one of them made a thread."""

from langgraph.types import StateSnapshot
from rich.table import Table
from rich.text import Text

from graph.fork import fork
from graph.runner import Runner
from graph.settings import Settings
from graph.thread_state import history
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.views.console import CliConsole
from server.cli.views.format import one_line

MOST = 1000


async def listed(settings: Settings, face: CliConsole, thread: str) -> ExitCode:
    """List a thread's checkpoints, oldest first, by what comes next at each."""
    async with Runner.open(settings, face.notify) as runner:
        found = await _history(runner, thread)
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    for name in ("number", "time", "next", "checkpoint"):
        table.add_column(name, no_wrap=True)
    for number, one in enumerate(found, 1):
        coming = one_line(", ".join(dict.fromkeys(one.next))) or "the end"
        table.add_row(str(number), one_line((one.created_at or "")[:19]), Text(coming), _id(one))
    face.print(table)
    return ExitCode.VERIFIED


async def forked(settings: Settings, face: CliConsole, thread: str, at: str | None) -> ExitCode:
    """Fork a thread at the checkpoint that `at` names, and say how the new one is taken up."""
    async with Runner.open(settings, face.notify) as runner:
        checkpoint = _named(await _history(runner, thread), at) if at else None
        new = await fork(runner, thread, checkpoint)
        waits = await runner.journal.runs.current(new)
    face.write(new)
    how = f"autocode resume {new}" if waits else f'autocode run "TASK" --thread {new}'
    face.notify(f"Forked. Its calls and its budget are its own. Go on with: {how}")
    return ExitCode.VERIFIED


def _named(found: list[StateSnapshot], at: str) -> str:
    """The id of a checkpoint given by number or by the beginning of its id."""
    if at.isdigit() and 0 < int(at) <= len(found):
        return _id(found[int(at) - 1])
    matching = [_id(one) for one in found if _id(one).startswith(at)]
    if len(matching) != 1:
        raise UsageError(f"{one_line(at)} names {len(matching)} checkpoints; --list lists them by number")
    return matching[0]


async def _history(runner: Runner, thread: str) -> list[StateSnapshot]:
    return list(reversed(await history(runner, thread, MOST)))


def _id(snapshot: StateSnapshot) -> str:
    return str(snapshot.config["configurable"]["checkpoint_id"])
