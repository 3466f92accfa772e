"""The commands that look at threads, take their results, stop them and fork them."""

from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.commands.options import EnvFileOption, ThreadArgument
from server.cli.entry import run_command

if TYPE_CHECKING:
    from graph.settings import Settings
    from server.cli.views.console import CliConsole


def threads(
    json: Annotated[
        bool, typer.Option("--json", help="Print a JSON array of id, task, status, repo, branch.")
    ] = False,
    prune: Annotated[
        float | None,
        typer.Option(min=0, metavar="DAYS", help="First delete threads that ended this long ago."),
    ] = None,
    env_file: EnvFileOption = None,
) -> None:
    """List the threads, newest first."""

    async def body(settings: "Settings", console: "CliConsole") -> int:
        from server.cli.thread_commands import list_threads

        return await list_threads(settings, console, prune)

    run_command(body, env_file, json)


def show(thread: ThreadArgument, env_file: EnvFileOption = None) -> None:
    """Show the newest run of a thread.

    Its plan and steps, checks and verdicts, proof and cost.
    """

    async def body(settings: "Settings", console: "CliConsole") -> int:
        from server.cli.thread_commands import show

        return await show(settings, console, thread)

    run_command(body, env_file)


def diff(thread: ThreadArgument, env_file: EnvFileOption = None) -> None:
    """Print the changes of a thread.

    In colour on a terminal, as a patch in a pipe.
    """

    async def body(settings: "Settings", console: "CliConsole") -> int:
        from server.cli.thread_commands import diff

        return await diff(settings, console, thread)

    run_command(body, env_file)


def apply(
    thread: ThreadArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Apply a result without proof too.")
    ] = False,
    env_file: EnvFileOption = None,
) -> None:
    """Apply the result of a thread to the checkout.

    Applies all or nothing, and never overwrites uncommitted work.
    """

    async def body(settings: "Settings", console: "CliConsole") -> int:
        from server.cli.thread_commands import apply

        return await apply(settings, console, thread, yes, unverified)

    run_command(body, env_file)


def cancel(thread: ThreadArgument, env_file: EnvFileOption = None) -> None:
    """Stop the run of a thread. It can be resumed."""

    async def body(settings: "Settings", console: "CliConsole") -> int:
        from server.cli.thread_commands import cancel_live

        if await cancel_live(settings, console, thread):
            return 0
        from server.cli.task_commands import cancel

        return await cancel(settings, console, thread)

    run_command(body, env_file)


def note(
    thread: ThreadArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A fact or a wish for the agents.")],
    env_file: EnvFileOption = None,
) -> None:
    """Send a note to a running task. The next agent reads it."""

    async def body(settings: "Settings", console: "CliConsole") -> int:
        from server.cli.thread_commands import add_note

        return await add_note(settings, console, thread, text)

    run_command(body, env_file)


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

    async def body(settings: "Settings", console: "CliConsole") -> int:
        from server.cli.fork_commands import fork, list_checkpoints

        return await (
            list_checkpoints(settings, console, thread) if list else fork(settings, console, thread, at)
        )

    run_command(body, env_file)
