"""The commands `run` and `resume`."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from server.cli.commands.options import (
    BudgetOption,
    JsonOption,
    MaxSecondsOption,
    MaxTokensOption,
    RepoOption,
    ThreadArgument,
    YesOption,
)
from server.cli.entry import command
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.views.format import one_line

if TYPE_CHECKING:
    from graph.settings import Settings
    from nodes.state import ContextFile, Input
    from server.cli.views.console import CliConsole

CONTEXT_BYTES = 256 * 1024
"""Size limit of a context file from outside the repository."""


@command
async def run(
    settings: "Settings",
    console: "CliConsole",
    task: Annotated[str, Argument(metavar="TASK", help="The task, or - to read it from stdin.")],
    repo: RepoOption = Path(),
    context: Annotated[
        list[Path], Option(metavar="FILE", help="A file for the agents to read; repeatable.")
    ] = [],  # noqa: B006  # typer copies it
    yes: YesOption = False,
    approve_plan: Annotated[bool, Option("--approve-plan", help="Ask to approve the plan first.")] = False,
    apply: Annotated[bool, Option("--apply", help="Apply a verified result to the checkout.")] = False,
    json: JsonOption = False,
    thread: Annotated[
        str | None, Option(metavar="ID", help="Continue from this thread's last result.")
    ] = None,
    budget: BudgetOption = None,
    max_tokens: MaxTokensOption = None,
    max_seconds: MaxSecondsOption = None,
    from_head: Annotated[bool, Option("--from-head", help="Leave out uncommitted work.")] = False,
    init: Annotated[bool, Option("--init", help="Make DIR a git repository if it is none.")] = False,
) -> ExitCode:
    """Carry out a task and deliver a branch.

    Plans, codes in parallel, tests in a sandbox, repairs and reviews. The branch carries the proof.
    """
    from graph.run_request import check_thread_id

    if thread is not None:
        check_thread_id(thread)
    options = {
        "approve_plan": approve_plan,
        "auto_approve": yes,
        "from_head": from_head,
        "max_cost_usd": budget,
        "max_tokens": max_tokens,
        "max_run_seconds": max_seconds,
    }
    input = read_input(settings, task, repo, context, options, init)
    return await start_run(settings, console, input, thread, yes, apply)


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
    from memory.validation import valid_text
    from nodes.state import Input
    from tools.workspace import Workspace

    run_settings = run_options(options or {}, settings)
    repo = repo.expanduser().absolute()
    if not repo.is_dir():
        raise UsageError(f"there is no folder {repo}")
    workspace = Workspace.init(repo) if init else Workspace.open(repo)
    text = sys.stdin.read() if task == "-" else task
    if not text.strip():
        raise UsageError("the task is empty; describe what to do")
    if text != valid_text(text):
        raise UsageError("the task is not valid UTF-8; check the encoding of your terminal or file")
    files = read_context(workspace.path, context)
    return Input(task=text, repo=str(workspace.path), context_files=files, options=run_settings.model_dump())


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
            continue
        if path.stat().st_size > CONTEXT_BYTES:
            raise UsageError(f"{path} is larger than {CONTEXT_BYTES // 1024} KB; give a shorter context file")
        try:
            context.append(ContextFile(path=path.name, content=path.read_text(encoding="utf-8")))
        except UnicodeDecodeError as error:
            raise UsageError(f"{path} is not UTF-8 text") from error
    return context


@command
async def resume(
    settings: "Settings",
    console: "CliConsole",
    thread: ThreadArgument,
    yes: YesOption = False,
    approve: Annotated[list[str], Option(metavar="ID", help="Approve this request; repeatable.")] = [],  # noqa: B006
    reject: Annotated[list[str], Option(metavar="ID", help="Refuse this request; repeatable.")] = [],  # noqa: B006
    reason: Annotated[str | None, Option(metavar="TEXT", help="Reason for --reject.")] = None,
    edit: Annotated[
        tuple[str, str] | None,
        Option(metavar="ID JSON", help="Approve with changes: JSON, @FILE, or - (stdin)."),
    ] = None,
    json: JsonOption = False,
    budget: BudgetOption = None,
    max_tokens: MaxTokensOption = None,
    max_seconds: MaxSecondsOption = None,
) -> ExitCode:
    """Continue a run that waits, was stopped, failed or died, or that gets a larger budget.

    Without answers, asks each open request. Nothing that is done is repeated or paid for again. Limits are
    those of the whole run, with what it has spent so far.
    """
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
        limits = {"max_cost_usd": budget, "max_tokens": max_tokens, "max_run_seconds": max_seconds}
        raised = {name: limit for name, limit in limits.items() if limit is not None}
        return await ForegroundRun(supervisor, console, yes).resume(run, answers, raised)
