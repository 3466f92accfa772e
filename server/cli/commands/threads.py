"""The commands on a thread: what is there, what it brought, and where it goes from here."""

from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.commands.body import carry
from server.cli.commands.flags import EnvFile, Thread

if TYPE_CHECKING:
    from graph.settings import Settings
    from server.cli.views.console import CliConsole


def threads(
    json: Annotated[
        bool, typer.Option("--json", help="A JSON array of id, task, status, repo, branch.")
    ] = False,
    prune: Annotated[
        float | None,
        typer.Option(min=0, metavar="DAYS", help="First forget those that ended so long ago."),
    ] = None,
    env_file: EnvFile = None,
) -> None:
    """List the threads, newest first."""

    async def body(settings: "Settings", face: "CliConsole") -> int:
        from server.cli.thread_commands import listing

        return await listing(settings, face, prune)

    carry(body, env_file, json)


def show(thread: Thread, env_file: EnvFile = None) -> None:
    """Show a thread's newest run.

    Its plan and steps, checks and verdicts, proof and cost.
    """

    async def body(settings: "Settings", face: "CliConsole") -> int:
        from server.cli.thread_commands import show

        return await show(settings, face, thread)

    carry(body, env_file)


def diff(thread: Thread, env_file: EnvFile = None) -> None:
    """Print what a thread changed.

    In colour on a terminal, as a patch in a pipe.
    """

    async def body(settings: "Settings", face: "CliConsole") -> int:
        from server.cli.thread_commands import diff

        return await diff(settings, face, thread)

    carry(body, env_file)


def apply(
    thread: Thread,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    unverified: Annotated[bool, typer.Option("--unverified", help="Also a result without proof.")] = False,
    env_file: EnvFile = None,
) -> None:
    """Bring a result into the checkout.

    Entirely or not at all; nobody's work is overwritten.
    """

    async def body(settings: "Settings", face: "CliConsole") -> int:
        from server.cli.thread_commands import apply

        return await apply(settings, face, thread, yes, unverified)

    carry(body, env_file)


def cancel(thread: Thread, env_file: EnvFile = None) -> None:
    """Stop a thread's run; it can be resumed."""

    async def body(settings: "Settings", face: "CliConsole") -> int:
        from server.cli.thread_commands import stopped

        if await stopped(settings, face, thread):
            return 0
        from server.cli.task_commands import cancel

        return await cancel(settings, face, thread)

    carry(body, env_file)


def note(
    thread: Thread,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What the agents should know.")],
    env_file: EnvFile = None,
) -> None:
    """Tell a running task something; the next agent hears it."""

    async def body(settings: "Settings", face: "CliConsole") -> int:
        from server.cli.thread_commands import noted

        return await noted(settings, face, thread, text)

    carry(body, env_file)


def fork(
    thread: Thread,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="CHECKPOINT", help="Its number or id by --list; else the newest."),
    ] = None,
    list: Annotated[bool, typer.Option("--list", help="List the checkpoints and do nothing.")] = False,
    env_file: EnvFile = None,
) -> None:
    """Make a thread of its own from a point of a thread's history.

    Its files come along; it waits to be resumed, and both can go on.
    """

    async def body(settings: "Settings", face: "CliConsole") -> int:
        from server.cli.fork_commands import forked, listed

        return await (listed(settings, face, thread) if list else forked(settings, face, thread, at))

    carry(body, env_file)
