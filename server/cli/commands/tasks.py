"""The commands `run` and `resume`."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.cli.commands.options import EnvFileOption, JsonOption, RepoOption, ThreadArgument, YesOption
from server.cli.entry import run_command
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.views.format import one_line

if TYPE_CHECKING:
    from graph.settings import Settings
    from nodes.state import ContextFile, Input
    from server.cli.views.console import CliConsole

CONTEXT_BYTES = 256 * 1024
"""Size limit of a context file from outside the repository."""


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
    options = {
        "approve_plan": approve_plan,
        "auto_approve": yes,
        "from_head": from_head,
        "max_cost_usd": budget,
        "max_tokens": max_tokens,
        "max_run_seconds": max_seconds,
    }

    async def body(settings: "Settings", console: "CliConsole") -> ExitCode:
        from graph.run_request import check_thread_id

        if thread is not None:
            check_thread_id(thread)
        input = read_input(settings, task, repo, context, options, init)
        return await start_run(settings, console, input, thread, yes, apply)

    run_command(body, env_file, json)


async def start_run(
    settings: "Settings",
    console: "CliConsole",
    input: "Input",
    thread: str | None = None,
    yes: bool = False,
    apply: bool = False,
) -> ExitCode:
    """Run a task and show it until it ends or waits."""
    from graph.supervisor import Supervisor
    from server.cli.foreground import ForegroundRun

    async with Supervisor.open(settings, console.notify, foreground=True) as supervisor:
        return await ForegroundRun(supervisor, console, yes, apply).start(input, thread)


def read_input(
    settings: "Settings",
    task: str,
    repo: Path,
    context: Sequence[Path] = (),
    options: Mapping[str, Any] | None = None,
    init: bool = False,
) -> "Input":
    """Check the arguments of a run and read its files. Raises UsageError, InputError, WorkspaceError."""
    from graph.run_request import run_options
    from nodes.state import Input
    from tools.workspace import Workspace

    run = run_options(options or {}, settings)
    repo = repo.expanduser().absolute()
    if not repo.is_dir():
        raise UsageError(f"there is no folder {repo}")
    workspace = Workspace.init(repo) if init else Workspace.open(repo)
    text = sys.stdin.read() if task == "-" else task
    if not text.strip():
        raise UsageError("the task is empty; describe what to do")
    files = read_context(workspace.path, context)
    return Input(task=text, repo=str(workspace.path), context_files=files, options=run.model_dump())


def read_context(root: Path, files: Sequence[Path]) -> "list[str | ContextFile]":
    """Return files of the repository as paths in it, and files from outside with their content."""
    from nodes.state import ContextFile

    context: list[str | ContextFile] = []
    for file in files:
        path = file.expanduser().absolute()
        if not path.is_file():
            raise UsageError(f"there is no context file {file}")
        resolved, inside = path.resolve(), root.resolve()
        # Snapshots hold nothing of .git, so such a file counts as one from outside.
        if resolved.is_relative_to(inside) and ".git" not in resolved.relative_to(inside).parts:
            context.append(resolved.relative_to(inside).as_posix())
        else:
            context.append(ContextFile(path=path.name, content=_read_text(path)))
    return context


def _read_text(path: Path) -> str:
    if path.stat().st_size > CONTEXT_BYTES:
        raise UsageError(f"{path} is larger than {CONTEXT_BYTES // 1024} KB; give a shorter context file")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text") from error


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

    async def body(settings: "Settings", console: "CliConsole") -> ExitCode:
        from graph.supervisor import Supervisor
        from server.cli.foreground import ForegroundRun
        from server.cli.views.approval_prompts import answers_from_flags

        if yes and (approve or reject or edit):
            raise UsageError("--yes approves everything; leave out --approve, --reject and --edit")
        if reason and not reject:
            raise UsageError("--reason is the reason for --reject ID; add the id to reject")
        async with Supervisor.open(settings, console.notify, foreground=True) as supervisor:
            run = await supervisor.journal.runs.current(thread)
            if run is None:
                raise UsageError(f"there is no run on thread {one_line(thread)}; see `autocode threads`")
            pending = await supervisor.pending(thread)
            answers = answers_from_flags(pending, approve, reject, reason, edit)
            return await ForegroundRun(supervisor, console, yes).resume(run, answers)

    run_command(body, env_file, json)
