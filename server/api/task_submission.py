"""Submission of tasks, and their repositories: one in an allowed folder, or a new scratch repository."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pygit2
from pygit2.enums import CheckoutStrategy, FileMode

from graph.run_request import new_thread_id, repository_bounds, scratch_folder
from graph.settings import Settings
from graph.supervisor import Supervisor
from memory.records.runs import RunRow
from nodes.state import ContextFile, Input
from server.api.problems import Problem
from server.api.schemas import StepsRequest, TaskRequest
from tools.workspace import PathError, Workspace, WorkspaceError, check_path
from tools.workspace.opening import bounded, check_inside

ContextFiles = Sequence[str | ContextFile]


@dataclass(frozen=True)
class SubmittedRun:
    """A queued run. Its events come after `after` in its thread's log."""

    run: RunRow
    after: int


async def submit_task(supervisor: Supervisor, body: TaskRequest | StepsRequest) -> SubmittedRun:
    """Queue the run that a request describes. It goes on whether or not anybody listens."""
    files = body.context_files
    if isinstance(files, dict):
        files = [ContextFile(path=path, content=text) for path, text in files.items()]
    steps = body.steps if isinstance(body, StepsRequest) else []
    planned = {"steps": [step.planned(number) for number, step in enumerate(steps)]} if steps else {}
    task = body.task or "\n".join(step.description for step in steps)
    # The id is chosen here, because the scratch repository is named after it.
    thread_id = body.thread_id or new_thread_id()
    repo, files = await choose_repository(supervisor, thread_id, body.repo, files)
    options = body.options.model_dump(exclude_unset=True)
    input = Input(task=task, repo=repo, context_files=files, options=options, **planned)  # type: ignore[typeddict-item]
    # Read before the run is queued: its first events may be written before `submit` returns.
    after = await last_seq(supervisor, thread_id)
    return SubmittedRun(await supervisor.submit(input, thread_id), after)


async def last_seq(supervisor: Supervisor, thread_id: str) -> int:
    """Return the number of the newest event in a thread's log, 0 for an empty one."""
    return (await supervisor.journal.events.ends([thread_id])).get(thread_id, 0)


async def choose_repository(
    supervisor: Supervisor, thread_id: str, repo: str | None, files: ContextFiles
) -> tuple[str, list[str | ContextFile]]:
    """Return the repository to work on and the context files in it.

    The repository is `repo`, else that of the thread, else a new scratch repository that holds `files`.
    """
    settings, thread = supervisor.settings, await supervisor.journal.threads.get(thread_id)
    thread_repo = thread.repo if thread else ""
    if repo:
        repo = await asyncio.to_thread(check_repository, settings, repo)
        if thread_repo and thread_repo != repo:
            detail = f"thread {thread_id} works on {thread_repo}; leave `repo` out, or start another thread"
            raise Problem(409, "Another repository", detail)
        return repo, list(files)
    if thread_repo:
        return await asyncio.to_thread(check_repository, settings, thread_repo), list(files)
    return await asyncio.to_thread(create_scratch, settings, thread_id, files)


def check_repository(settings: Settings, repo: str) -> str:
    """Return the root of the repository at `repo`. Raises Problem if it is not allowed, WorkspaceError.

    Symbolic links are resolved first. All that git follows must be in an allowed folder as well.
    """
    path = Path(repo)
    # A relative path would depend on the folder in which the server was started.
    if not path.is_absolute():
        raise Problem(422, "Repository unusable", f"{repo}: the path of the repository must be absolute")
    try:
        path.resolve().is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # too long, a circle of links, a NUL
        detail = f"no folder can be found at the path given as `repo`: {error}"
        raise Problem(422, "Repository unusable", detail) from error
    with bounded(repository_bounds(settings)):
        check_inside(repo)
        return str(Workspace.open(path.resolve()).path)


def create_scratch(
    settings: Settings, thread_id: str, files: ContextFiles
) -> tuple[str, list[str | ContextFile]]:
    """Create a thread's repository. Its first commit holds the files that came with contents.

    Return its path and the paths of all `files`.
    """
    folder = scratch_folder(settings, thread_id)
    contents = {file["path"]: file["content"] for file in files if not isinstance(file, str)}
    try:
        for path in contents:
            check_path(path)
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A second request on a thread without a run finds the folder of the first, which may come meanwhile.
        if not (folder / ".git").exists():
            with TemporaryDirectory(prefix=".", dir=folder.parent) as place:
                (made := Path(place, "made")).mkdir(mode=0o700)
                _commit(made, contents)
                try:
                    made.rename(folder)
                except OSError:
                    if not (folder / ".git").exists():
                        raise
    except (PathError, UnicodeEncodeError) as error:
        raise Problem(422, "Invalid context file", str(error)) from error
    except (OSError, pygit2.GitError) as error:
        raise WorkspaceError(f"{folder}: cannot create the scratch repository: {error}") from error
    return str(folder), [file if isinstance(file, str) else file["path"] for file in files]


def _commit(folder: Path, contents: dict[str, str]) -> None:
    repository = pygit2.init_repository(folder, initial_head="main")
    for path, content in contents.items():
        blob = repository.create_blob(content.encode())
        repository.index.add(pygit2.IndexEntry(path, blob, FileMode.BLOB))
    author = pygit2.Signature("AutoCodeAI", "autocode@localhost")
    tree = repository.index.write_tree()
    repository.create_commit("HEAD", author, author, "What the task came with", tree, [])
    repository.checkout("HEAD", strategy=CheckoutStrategy.FORCE)
