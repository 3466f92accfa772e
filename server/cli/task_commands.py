"""Bodies of the commands that change a run: run, resume, cancel, demo."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pygit2

from graph.run_request import check_thread_id, run_options
from graph.settings import Settings
from graph.supervisor import Supervisor
from memory.records.runs import RunRow
from nodes.state import ContextFile, Input
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.foreground import ForegroundRun
from server.cli.views import approval_prompts as approvals
from server.cli.views.console import CliConsole
from server.cli.views.format import one_line
from tools.workspace import Workspace

CONTEXT_BYTES = 256 * 1024
"""Size limit of a context file from outside the repository."""

DEMO = Path(__file__).parent.parent / "demo"
DEMO_PACE = 200.0
"""Words per second of the recorded models, so that a person can follow."""


@dataclass(frozen=True)
class Task:
    """Arguments of `autocode run`."""

    text: str
    repo: Path
    context: tuple[Path, ...] = ()
    thread: str | None = None
    options: Mapping[str, Any] | None = None
    init: bool = False
    yes: bool = False
    apply: bool = False


@dataclass(frozen=True)
class Replies:
    """Answers given to `autocode resume`."""

    yes: bool = False
    approve: tuple[str, ...] = ()
    reject: tuple[str, ...] = ()
    reason: str | None = None
    edit: tuple[str, str] | None = None

    @property
    def given(self) -> bool:
        """Return True if a question is answered by its id."""
        return bool(self.approve or self.reject or self.edit)


async def start(settings: Settings, console: CliConsole, task: Task) -> ExitCode:
    """Check the arguments, then run the task."""
    input = read_input(settings, task)
    async with Supervisor.open(settings, console.notify, foreground=True) as supervisor:
        return await ForegroundRun(supervisor, console, task.yes, task.apply).start(input, task.thread)


async def resume(settings: Settings, console: CliConsole, thread: str, replies: Replies) -> ExitCode:
    """Resume a run, with the answers that are given."""
    if replies.yes and replies.given:
        raise UsageError("--yes approves everything; leave out --approve, --reject and --edit")
    if replies.reason and not replies.reject:
        raise UsageError("--reason says why something is refused; name it with --reject ID")
    async with Supervisor.open(settings, console.notify, foreground=True) as supervisor:
        run = await _current_run(supervisor, thread)
        pending = await supervisor.pending(thread)
        answers = approvals.answers_from_flags(
            pending, replies.approve, replies.reject, replies.reason, replies.edit
        )
        return await ForegroundRun(supervisor, console, replies.yes).resume(run, answers)


async def cancel(settings: Settings, console: CliConsole, thread: str) -> ExitCode:
    """Cancel the run of a thread that no process runs."""
    async with Supervisor.open(settings, console.notify, foreground=True) as supervisor:
        await _current_run(supervisor, thread)
        if not await supervisor.cancel(thread):
            raise UsageError(f"thread {one_line(thread)} has no run to cancel; its last one has ended")
    console.notify(f"Cancelled. Go on with: autocode resume {thread}")
    return ExitCode.VERIFIED


async def demonstrate(settings: Settings, console: CliConsole) -> ExitCode:
    """Run the packaged task on a fresh copy of the packaged repository, with recorded models."""
    place = settings.home / "scratch" / f"demo-{datetime.now():%Y%m%d-%H%M%S}"
    shutil.copytree(DEMO / "repository", place)
    _commit(place)
    tape = {"llm_mode": "replay", "llm_cassette": DEMO / "cassette.jsonl", "llm_replay_pace": DEMO_PACE}
    # Memory would change the prompts, and the recorded replies are found by their prompts.
    replay = settings.model_copy(update={**tape, "enable_memory": False})
    console.notify(f"A small repository, copied to {place}\n")
    task = Task((DEMO / "task.txt").read_text(encoding="utf-8").strip(), place)
    return await start(replay, console, task)


def _commit(place: Path) -> None:
    """Make the copied files a repository with one commit, as a user's would be."""
    repository = pygit2.init_repository(place, initial_head="main")
    repository.index.add_all()
    repository.index.write()
    author = pygit2.Signature("Demo", "demo@example.com")
    tree = repository.index.write_tree()
    repository.create_commit("HEAD", author, author, "Read a log of working time", tree, [])


async def _current_run(supervisor: Supervisor, thread: str) -> RunRow:
    run = await supervisor.journal.runs.current(thread)
    if run is None:
        raise UsageError(
            f"there is no run on thread {one_line(thread)}; `autocode threads` lists the threads"
        )
    return run


def read_input(settings: Settings, task: Task) -> Input:
    """Read the files that the task names. Raises UsageError, InputError, WorkspaceError."""
    if task.thread is not None:
        check_thread_id(task.thread)
    options = run_options(task.options or {}, settings)
    repo = task.repo.expanduser().absolute()
    if not repo.is_dir():
        raise UsageError(f"there is no folder {repo}")
    workspace = Workspace.init(repo) if task.init else Workspace.open(repo)
    text = sys.stdin.read() if task.text == "-" else task.text
    if not text.strip():
        raise UsageError("the task is empty; say what is to be done")
    files = context_of(workspace.path, task.context)
    return Input(task=text, repo=str(workspace.path), context_files=files, options=options.model_dump())


def context_of(root: Path, files: Sequence[Path]) -> list[str | ContextFile]:
    """Return files of the repository as paths in it, and files from outside with their content."""
    context: list[str | ContextFile] = []
    for file in files:
        path = file.expanduser().absolute()
        if not path.is_file():
            raise UsageError(f"there is no context file {file}")
        resolved, inside = path.resolve(), root.resolve()
        if resolved.is_relative_to(inside) and ".git" not in resolved.relative_to(inside).parts:
            context.append(resolved.relative_to(inside).as_posix())
        else:
            context.append(ContextFile(path=path.name, content=_text(path)))
    return context


def _text(path: Path) -> str:
    if path.stat().st_size > CONTEXT_BYTES:
        raise UsageError(f"{path} is larger than {CONTEXT_BYTES // 1024} KB; give a shorter context file")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text") from error
