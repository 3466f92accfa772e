"""The commands that take a task on and carry it through."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.commands.body import carry
from server.cli.commands.flags import EnvFile, Json, Repo, Thread, Yes

if TYPE_CHECKING:
    from graph.settings import Settings
    from server.cli.views.console import CliConsole


def run(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="What is to be done; - reads it from standard input.")
    ],
    repo: Repo = Path(),
    context: Annotated[
        list[Path],
        typer.Option("--context", metavar="FILE", help="A file that the agents should read; repeatable."),
    ] = [],  # noqa: B006  # typer copies it
    yes: Yes = False,
    approve_plan: Annotated[
        bool, typer.Option("--approve-plan", help="Ask before the plan is carried out.")
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Bring a verified result into the checkout.")
    ] = False,
    json: Json = False,
    thread: Annotated[
        str | None, typer.Option("--thread", metavar="ID", help="Go on from the last result of this thread.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="USD", help="Stop before it costs more.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", metavar="N", help="Stop before it uses more.")
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option("--max-seconds", metavar="S", help="Stop before it works longer.")
    ] = None,
    from_head: Annotated[bool, typer.Option("--from-head", help="Leave the work in progress out.")] = False,
    init: Annotated[bool, typer.Option("--init", help="Make DIR a repository if it is none.")] = False,
    env_file: EnvFile = None,
) -> None:
    """Carry out a task and deliver a branch.

    Plans, codes in parallel, tests in a sandbox, repairs, reviews; the branch carries the proof.
    """

    async def body(settings: "Settings", face: "CliConsole") -> int:
        from server.cli.task_commands import Task, start

        options = {
            "approve_plan": approve_plan,
            "auto_approve": yes,
            "from_head": from_head,
            "max_cost_usd": budget,
            "max_tokens": max_tokens,
            "max_run_seconds": max_seconds,
        }
        return await start(
            settings, face, Task(task, repo, tuple(context), thread, options, init, yes, apply)
        )

    carry(body, env_file, json)


def resume(
    thread: Thread,
    yes: Yes = False,
    approve: Annotated[
        list[str], typer.Option("--approve", metavar="ID", help="Approve this; repeatable.")
    ] = [],  # noqa: B006
    reject: Annotated[
        list[str], typer.Option("--reject", metavar="ID", help="Refuse this; repeatable.")
    ] = [],  # noqa: B006
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why it is refused.")] = None,
    edit: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--edit",
            metavar="ID JSON",
            help="Approve this with changes: JSON, @FILE, or - (stdin).",
        ),
    ] = None,
    json: Json = False,
    env_file: EnvFile = None,
) -> None:
    """Go on with a run that waits, was stopped or died.

    Without an answer, what waits is asked about; nothing that was finished is done or paid for again.
    """

    async def body(settings: "Settings", face: "CliConsole") -> int:
        from server.cli.task_commands import Replies, go_on

        return await go_on(settings, face, thread, Replies(yes, tuple(approve), tuple(reject), reason, edit))

    carry(body, env_file, json)


def demo(env_file: EnvFile = None) -> None:
    """Watch a small task being carried out.

    The models are recorded, everything else is real: no key and no network is needed.
    """

    async def body(settings: "Settings", face: "CliConsole") -> int:
        from server.cli.task_commands import demonstrate

        return await demonstrate(settings, face)

    carry(body, env_file)
