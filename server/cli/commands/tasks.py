"""The commands `run`, `resume` and `demo`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.commands.options import EnvFileOption, JsonOption, RepoOption, ThreadArgument, YesOption
from server.cli.entry import run_command

if TYPE_CHECKING:
    from graph.settings import Settings
    from server.cli.views.console import CliConsole


def run(
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task, or - to read it from stdin.")],
    repo: RepoOption = Path(),
    context: Annotated[
        list[Path],
        typer.Option("--context", metavar="FILE", help="A file for the agents to read; repeatable."),
    ] = [],  # noqa: B006  # typer copies it
    yes: YesOption = False,
    approve_plan: Annotated[
        bool, typer.Option("--approve-plan", help="Ask for approval of the plan first.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Apply a verified result to the checkout.")] = False,
    json: JsonOption = False,
    thread: Annotated[
        str | None, typer.Option("--thread", metavar="ID", help="Continue from this thread's last result.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="USD", help="Limit of the cost.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", metavar="N", help="Limit of the tokens.")
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option("--max-seconds", metavar="S", help="Limit of the run time.")
    ] = None,
    from_head: Annotated[bool, typer.Option("--from-head", help="Leave out uncommitted work.")] = False,
    init: Annotated[bool, typer.Option("--init", help="Make DIR a git repository if it is none.")] = False,
    env_file: EnvFileOption = None,
) -> None:
    """Carry out a task and deliver a branch.

    Plans, codes in parallel, tests in a sandbox, repairs and reviews. The branch carries the proof.
    """

    async def body(settings: "Settings", console: "CliConsole") -> int:
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
            settings, console, Task(task, repo, tuple(context), thread, options, init, yes, apply)
        )

    run_command(body, env_file, json)


def resume(
    thread: ThreadArgument,
    yes: YesOption = False,
    approve: Annotated[
        list[str], typer.Option("--approve", metavar="ID", help="Approve this request; repeatable.")
    ] = [],  # noqa: B006  # typer copies it
    reject: Annotated[
        list[str], typer.Option("--reject", metavar="ID", help="Refuse this request; repeatable.")
    ] = [],  # noqa: B006  # typer copies it
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Reason for --reject.")
    ] = None,
    edit: Annotated[
        tuple[str, str] | None,
        typer.Option("--edit", metavar="ID JSON", help="Approve with changes: JSON, @FILE, or - (stdin)."),
    ] = None,
    json: JsonOption = False,
    env_file: EnvFileOption = None,
) -> None:
    """Continue a run that waits, was stopped or died.

    Without answers, asks each open request. Nothing that is done is repeated or paid for again.
    """

    async def body(settings: "Settings", console: "CliConsole") -> int:
        from server.cli.task_commands import Replies, resume

        replies = Replies(yes, tuple(approve), tuple(reject), reason, edit)
        return await resume(settings, console, thread, replies)

    run_command(body, env_file, json)


def demo(env_file: EnvFileOption = None) -> None:
    """Watch a small task being carried out.

    The model replies are recorded, everything else is real. Needs no key and no network.
    """

    async def body(settings: "Settings", console: "CliConsole") -> int:
        from server.cli.task_commands import demonstrate

        return await demonstrate(settings, console)

    run_command(body, env_file)
