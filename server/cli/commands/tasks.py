"""The commands `run` and `resume`."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from server.cli.commands.options import (
    ApprovePlanOption,
    BudgetOption,
    CoderModelOption,
    CriticModelOption,
    DebuggerModelOption,
    JsonOption,
    MaxSecondsOption,
    MaxTokensOption,
    ModelOption,
    NoLimitsOption,
    PlannerModelOption,
    TesterModelOption,
    ThreadArgument,
    YesOption,
    YesOrAskOption,
    limit_options,
    model_options,
)
from server.cli.entry import command
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.thread_names import find_thread, open_journal
from server.cli.views.format import one_line

if TYPE_CHECKING:
    from graph.settings import Settings
    from memory.records.threads import ThreadRow
    from nodes.state import ContextFile, Input
    from server.cli.views.console import CliConsole
    from tools.hosting import Issue

CONTEXT_BYTES = 256 * 1024
"""Size limit of a context file from outside the repository."""


@command
async def run(
    settings: "Settings",
    console: "CliConsole",
    task: Annotated[
        str, Argument(metavar="TASK", help="The task, or - to read it from stdin.", show_default=False)
    ] = "",
    issue: Annotated[
        str | None,
        Option(
            metavar="URL", help="Take the task from an issue of GitHub or GitLab, or read it beside TASK."
        ),
    ] = None,
    repo: Annotated[
        Path | None, Option(metavar="DIR", help="The git repository (default: the thread's, or this folder).")
    ] = None,
    context: Annotated[
        list[Path], Option(metavar="FILE", help="A file for the agents to read; repeatable.")
    ] = [],  # noqa: B006  # typer copies it
    yes: YesOrAskOption = None,
    approve_plan: ApprovePlanOption = None,
    apply: Annotated[bool, Option("--apply", help="Apply a verified result to the checkout.")] = False,
    json: JsonOption = False,
    thread: Annotated[
        str | None, Option(metavar="THREAD", help="Go on from this thread's last result, with its options.")
    ] = None,
    budget: BudgetOption = None,
    max_tokens: MaxTokensOption = None,
    max_seconds: MaxSecondsOption = None,
    no_limits: NoLimitsOption = False,
    model: ModelOption = None,
    planner_model: PlannerModelOption = None,
    coder_model: CoderModelOption = None,
    tester_model: TesterModelOption = None,
    debugger_model: DebuggerModelOption = None,
    critic_model: CriticModelOption = None,
    from_head: Annotated[
        bool | None, Option("--from-head/--no-from-head", help="Leave out uncommitted work.")
    ] = None,
    init: Annotated[bool, Option("--init", help="Make DIR a git repository if it is none.")] = False,
) -> ExitCode:
    """Carry out a task and deliver a branch.

    Plans, codes in parallel, tests in a sandbox, repairs and reviews. The branch carries the proof.
    """
    row = await thread_to_continue(settings, thread, repo) if thread is not None else None
    limits = limit_options(budget, max_tokens, max_seconds)
    read = await _read_issue(settings, issue) if issue is not None else None
    url = read.address.url if read else None
    choices = {"approve_plan": approve_plan, "auto_approve": yes, "from_head": from_head, "issue": url}
    options = {**choices, **limits}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if no_limits:
        given = dict.fromkeys(limits) | given
    agents = (planner_model, coder_model, tester_model, debugger_model, critic_model)
    given |= model_options(row.options if row else {}, model, *agents)
    place = repo or Path(row.repo if row else "")
    text = sys.stdin.read() if task == "-" else task or (read.task if read else "")
    input = read_input(settings, text, place, context, given, init)
    if read:
        input["context_files"] = [*input["context_files"], {"path": read.file_name, "content": read.text}]
    return await start_run(settings, console, input, row.id if row else None, bool(yes), apply)


async def _read_issue(settings: "Settings", url: str) -> "Issue":
    from tools.hosting import issue_address, read_issue

    return await read_issue(await issue_address(url, settings.sites()))


async def thread_to_continue(settings: "Settings", name: str, repo: Path | None) -> "ThreadRow":
    """Return the thread of --thread. Raises UsageError for an unknown one, or one of another repository."""
    async with open_journal(settings) as journal:
        try:
            row = await find_thread(journal, name)
        except UsageError as error:
            raise UsageError(f"{error}. Leave out --thread to start a new thread") from error
    if repo and row.repo and await asyncio.to_thread(_root, repo) != Path(row.repo):
        raise UsageError(f"thread {row.id} works on {one_line(row.repo)}; leave out --repo or --thread")
    return row


def _root(repo: Path) -> Path:
    from tools.workspace import Workspace

    return Workspace.open(repo.expanduser().absolute()).path


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
    from server.cli.commands.apply import recover
    from server.cli.foreground import ForegroundRun

    if repo := input.get("repo"):
        await recover(console, Path(repo))
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

    run_options(options or {}, settings)  # only for its errors
    repo = repo.expanduser().absolute()
    if not repo.is_dir():
        raise UsageError(f"there is no folder {repo}")
    workspace = Workspace.init(repo) if init else Workspace.open(repo)
    if not task.strip():
        raise UsageError("the task is empty; describe what to do")
    if task != valid_text(task):
        raise UsageError("the task is not valid UTF-8; check the encoding of your terminal or file")
    files = read_context(workspace.path, context)
    return Input(task=task, repo=str(workspace.path), context_files=files, options=dict(options or {}))


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
    approve: Annotated[
        list[str], Option(metavar="ID", help="Approve this request, or the only one; repeatable.")
    ] = [],  # noqa: B006
    reject: Annotated[
        list[str], Option(metavar="ID", help="Reject this request, or the only one; repeatable.")
    ] = [],  # noqa: B006
    reason: Annotated[str | None, Option(metavar="TEXT", help="Reason for --reject.")] = None,
    edit: Annotated[
        tuple[str, str] | None,
        Option(metavar="[ID] JSON", help="Approve with changes: JSON, @FILE, or - (stdin)."),
    ] = None,
    scope: Annotated[
        str | None,
        Option(metavar="run|repository", help="With --approve: do not ask again for the same tool call."),
    ] = None,
    json: JsonOption = False,
    budget: BudgetOption = None,
    max_tokens: MaxTokensOption = None,
    max_seconds: MaxSecondsOption = None,
    model: ModelOption = None,
    planner_model: PlannerModelOption = None,
    coder_model: CoderModelOption = None,
    tester_model: TesterModelOption = None,
    debugger_model: DebuggerModelOption = None,
    critic_model: CriticModelOption = None,
) -> ExitCode:
    """Continue a run that waits, failed or was stopped.

    Also one that died, or whose budget was spent, with a larger one, or with another model.

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
    if scope and not approve:
        raise UsageError("--scope is the scope of --approve ID; add the id to approve")
    async with Supervisor.open(settings, console.notify, foreground=True) as supervisor:
        thread = (await find_thread(supervisor.journal, thread)).id
        run = await supervisor.journal.runs.current(thread)
        if run is None:
            raise UsageError(f"there is no run on thread {one_line(thread)}; see `autocode threads`")
        pending = await supervisor.pending(thread)
        answers = answers_from_flags(pending, approve, reject, reason, edit, scope)
        limits = limit_options(budget, max_tokens, max_seconds)
        raised: dict[str, Any] = {name: limit for name, limit in limits.items() if limit is not None}
        agents = (planner_model, coder_model, tester_model, debugger_model, critic_model)
        raised |= model_options(run.input.get("options") or {}, model, *agents)
        return await ForegroundRun(supervisor, console, yes).resume(run, answers, raised)
