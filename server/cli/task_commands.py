"""The commands that drive a run: run, resume, cancel, demo."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pygit2
from pydantic import ValidationError

from graph.run_request import THREAD
from graph.runner import Runner
from graph.settings import Settings
from memory.validation import faults_of
from nodes.state import ContextFile, Input, Options
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.foreground import Drive
from server.cli.views import approval_prompts as approvals
from server.cli.views.console import CliConsole
from server.cli.views.format import one_line
from tools.workspace import Workspace

CONTEXT_BYTES = 256 * 1024
"""How large a context file from outside the repository may be."""

DEMO = Path(__file__).parent.parent / "demo"
DEMO_PACE = 200.0
"""Words a second of the recorded models: as quick as it can be followed."""


@dataclass(frozen=True)
class Task:
    """What `autocode run` was asked for."""

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
    """What `autocode resume` was told to answer."""

    yes: bool = False
    approve: tuple[str, ...] = ()
    reject: tuple[str, ...] = ()
    reason: str | None = None
    edit: tuple[str, str] | None = None

    @property
    def given(self) -> bool:
        """True when a single approval was answered."""
        return bool(self.approve or self.reject or self.edit)


async def start(settings: Settings, face: CliConsole, task: Task) -> ExitCode:
    """Check everything that can be checked for nothing, then run the task."""
    given = input_of(task)
    async with Runner.open(settings, face.notify) as runner:
        return await Drive(runner, face, task.yes, task.apply).start(given, task.thread)


async def go_on(settings: Settings, face: CliConsole, thread: str, replies: Replies) -> ExitCode:
    """Resume a run with the answers that were given, if any."""
    if replies.yes and replies.given:
        raise UsageError("--yes approves everything; leave out --approve, --reject and --edit")
    if replies.reason and not replies.reject:
        raise UsageError("--reason says why something is refused; name it with --reject ID")
    async with Runner.open(settings, face.notify) as runner:
        if await runner.journal.runs.current(thread) is None:
            raise UsageError(f"there is no thread {one_line(thread)}; `autocode threads` lists them")
        pending = await runner.pending(thread)
        answers = approvals.answers_from_flags(
            pending, replies.approve, replies.reject, replies.reason, replies.edit
        )
        return await Drive(runner, face, replies.yes).resume(thread, answers)


async def cancel(settings: Settings, face: CliConsole, thread: str) -> ExitCode:
    """End the run of a thread that nobody runs just now, or that somebody does after all."""
    async with Runner.open(settings, face.notify) as runner:
        if await runner.journal.runs.current(thread) is None:
            raise UsageError(f"there is no thread {one_line(thread)}; `autocode threads` lists them")
        if not await runner.cancel(thread):
            raise UsageError(f"thread {one_line(thread)} has no run to cancel; its last one has ended")
    face.notify(f"Cancelled. Go on with: autocode resume {thread}")
    return ExitCode.VERIFIED


async def demonstrate(settings: Settings, face: CliConsole) -> ExitCode:
    """Carry out the packaged task on a fresh copy of the packaged repository, with recorded models."""
    place = settings.home / "scratch" / f"demo-{datetime.now():%Y%m%d-%H%M%S}"
    shutil.copytree(DEMO / "repository", place)
    _commit(place)
    tape = {"llm_mode": "replay", "llm_cassette": DEMO / "cassette.jsonl", "llm_replay_pace": DEMO_PACE}
    replay = settings.model_copy(update={**tape, "enable_memory": False})  # prompts as they were recorded
    face.notify(f"A small repository, copied to {place}\n")
    task = Task((DEMO / "task.txt").read_text(encoding="utf-8").strip(), place)
    return await start(replay, face, task)


def _commit(place: Path) -> None:
    """Make the copied files a repository with one commit, as a user's would be."""
    repository = pygit2.init_repository(place, initial_head="main")
    repository.index.add_all()
    repository.index.write()
    author = pygit2.Signature("Demo", "demo@example.com")
    tree = repository.index.write_tree()
    repository.create_commit("HEAD", author, author, "Read a log of working time", tree, [])


def input_of(task: Task) -> Input:
    """Read what the task names; raise Usage or WorkspaceError for what is not there."""
    if task.thread is not None and not THREAD.fullmatch(task.thread):
        raise UsageError("a thread's id is made of letters, digits, - and _ (64 at most)")
    repo = task.repo.expanduser().absolute()
    if not repo.is_dir():
        raise UsageError(f"there is no folder {repo}")
    workspace = Workspace.init(repo) if task.init else Workspace.open(repo)
    text = sys.stdin.read() if task.text == "-" else task.text
    if not text.strip():
        raise UsageError("the task is empty; say what is to be done")
    files = context_of(workspace.path, task.context)
    return Input(task=text, repo=str(workspace.path), context_files=files, options=_options(task))


def context_of(root: Path, files: Sequence[Path]) -> list[str | ContextFile]:
    """Name files of the repository by their paths in it, and bring those from outside along."""
    found: list[str | ContextFile] = []
    for file in files:
        path = file.expanduser().absolute()
        if not path.is_file():
            raise UsageError(f"there is no context file {file}")
        resolved, inside = path.resolve(), root.resolve()
        if resolved.is_relative_to(inside) and ".git" not in resolved.relative_to(inside).parts:
            found.append(resolved.relative_to(inside).as_posix())
        else:
            found.append(ContextFile(path=path.name, content=_text(path)))
    return found


def _options(task: Task) -> dict[str, Any]:
    """Return the options that were given, once they are known to be possible."""
    options = {name: value for name, value in (task.options or {}).items() if value is not None}
    try:
        Options.model_validate(options)
    except ValidationError as error:
        raise UsageError("; ".join(faults_of(error))) from error
    return options


def _text(path: Path) -> str:
    if path.stat().st_size > CONTEXT_BYTES:
        raise UsageError(f"{path} is larger than {CONTEXT_BYTES // 1024} KB; give a shorter context file")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text") from error
