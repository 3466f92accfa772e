"""Threads with results that no model wrote: what a run leaves behind in repository and records."""

from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from uuid import uuid4

from gitrepo import GitRepo

from graph.event_log import open_journal
from graph.settings import Settings
from nodes.events import RunFinished
from nodes.proof import Proof
from nodes.publish import Draft
from tools.workspace import Workspace, WorkspaceError

Edits = Mapping[str, str | bytes | None]


async def deliver(
    home: Path, repo: GitRepo, edits: Edits, thread: str = "", *, verified: bool = True, **modes: int
) -> str:
    """Deliver a task with these edits on top of what the thread has delivered before. Return the thread."""
    thread, run = thread or uuid4().hex[:10], uuid4().hex
    workspace = Workspace.open(repo.path)
    try:
        base = workspace.resolve(f"refs/heads/autocode/{thread}")
    except WorkspaceError:
        base = workspace.begin().snapshot
        workspace.hold(thread, "start", base)
    head = workspace.write(base, edits, "m", {path.replace("__", "."): mode for path, mode in modes.items()})
    branch = f"autocode/{thread}" if verified else f"autocode/{thread}-unverified"
    tree = workspace.tree(head)
    message = f"A task\n\nAutocode-Run: {run}\nAutocode-Tree: {tree}\n"
    commit = workspace.deliver(branch, head, base, message)
    proof = Proof(
        base=base,
        head=head,
        tree=tree,
        run=run,
        backend="b",
        image="i",
        command=["t"],
        exit_code=0,
        green=True,
    )
    workspace.note(commit, proof.model_dump_json())
    workspace.hold(thread, "result", commit)
    status = "verified" if verified else "unverified"
    end = RunFinished(status=status, branch=branch, proof=proof.model_dump())
    async with aclosing(await open_journal(Settings.load(autocode_home=home))) as journal:
        await journal.threads.create(thread, {}, str(repo.path))
        await journal.runs.start(run, thread, {"task": "A task", "repo": str(repo.path)})
        await journal.runs.end(thread, run, Draft(end), status)
    return thread
