"""Threads with results that no model wrote: what a run leaves behind in repository and records."""

import asyncio
import os
import pty
from collections.abc import Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from uuid import uuid4

from forking import ROOT, Forked
from gitrepo import GitRepo
from typer.testing import CliRunner, Result

from graph.event_log import open_journal
from graph.settings import Settings
from nodes.events import RunFinished
from nodes.proof import Proof
from nodes.publish import Draft
from server.cli.app import app
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


SHOW = "import sys; from server.cli.app import app; app(sys.argv[1:])"


class User:
    """A user of the command line with an AUTOCODE_HOME and a repository."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir(mode=0o700)
        (self.home / "empty.env").touch()
        self.repo = GitRepo(folder / "repo")

    @property
    def _environment(self) -> dict[str, str]:
        own = {"AUTOCODE_HOME": str(self.home), "AUTOCODE_ENV_FILE": str(self.home / "empty.env")}
        return own | {"ENABLE_MEMORY": "false"}

    def deliver(self, edits: Edits, thread: str = "", *, verified: bool = True) -> str:
        """Do as `deliver`, outside an event loop, because commands have their own."""
        return asyncio.run(deliver(self.home, self.repo, edits, thread, verified=verified))

    def autocode(self, *arguments: str) -> Result:
        """Run a command."""
        return CliRunner().invoke(app, arguments, env=self._environment)

    def typed(self, words: list[str], answers: str) -> str:
        """Return what a command shows on a terminal while this is typed."""
        ours, theirs = pty.openpty()
        env = {**os.environ, **self._environment, "PYTHONPATH": str(ROOT), "TERM": "xterm", "NO_COLOR": "1"}
        child = Forked(["-c", SHOW, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=env)
        os.close(theirs)
        os.write(ours, answers.encode())
        shown = b""
        with suppress(OSError):  # raised at the end
            while piece := os.read(ours, 4096):
                shown += piece
        os.close(ours)
        child.wait(timeout=20)
        return shown.decode()
