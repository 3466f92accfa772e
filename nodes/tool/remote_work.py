"""The tools that reach other repositories: a clone, a pull and a push of a run's files."""

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tools.catalogue import OutsidePlace, OutsideResult, OutsideWork, PlanTool, ToolOutput
from tools.catalogue.remote_tools import GitClone, GitPull, GitPush
from tools.remote import GitLimits, GitProgram, Login, RemoteError, clone, pull, push, remote_url
from tools.workspace import PathError, Workspace, WorkspaceError

FAILED = 1

# A tool runs once a human, `--yes` or a rule of the user has agreed to it, and needs the login then.
_OWN_LOGIN = Login(own=True)


class RemoteWork:
    """Carries out git_clone, git_pull and git_push. `environment` is the process's own.

    `folder` holds git folders of our own while they are used.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._environment = environment
        self._folder = folder

    async def __call__(self, call: PlanTool, place: OutsidePlace, /) -> OutsideResult:
        """Return what the tool did. A failure changes nothing."""
        git = GitProgram(self._environment, GitLimits(seconds=place.seconds), self._folder)
        try:
            match call:
                case GitClone():
                    return await _clone(git, call, place)
                case GitPull():
                    return await _pull(git, call, place)
                case GitPush():
                    return await _push(git, call, place)
        except (RemoteError, WorkspaceError, PathError) as error:
            return _failed(str(error), place)
        raise TypeError(f"{call.name} is no tool of a remote")


def remote_tools(environment: Mapping[str, str], folder: Path) -> dict[str, OutsideWork]:
    """Return the tools by name."""
    return dict.fromkeys((GitClone.name, GitPull.name, GitPush.name), RemoteWork(environment, folder))


def destination(call: PlanTool, workspace: Workspace) -> str:
    """Return the address of the remote that a call names, for people. Empty if it names none."""
    if isinstance(call, GitPull | GitPush):
        with suppress(RemoteError, WorkspaceError):  # the call itself will say it
            return str(remote_url(workspace, call.remote, push=isinstance(call, GitPush)))
    return ""


async def _clone(git: GitProgram, call: GitClone, place: OutsidePlace) -> OutsideResult:
    branch = call.branch or ""
    cloned = await clone(git, place.workspace, place.head, call.url, call.folder, branch=branch)
    text = f"{cloned.url} at {cloned.commit[:7]}: {cloned.files} files in {cloned.folder}\n"
    if cloned.submodules:
        text += f"submodules are left out: {', '.join(cloned.submodules)}\n"
    return OutsideResult(ToolOutput(stdout=text), cloned.snapshot)


async def _pull(git: GitProgram, call: GitPull, place: OutsidePlace) -> OutsideResult:
    pulled = await pull(git, place.workspace, place.head, call.remote, call.branch, login=_OWN_LOGIN)
    if pulled.snapshot is None:
        paths = ", ".join(conflict.path for conflict in pulled.conflicts)
        return _failed(f"{pulled.branch} of {pulled.url} conflicts with the run's files in {paths}", place)
    text = f"{pulled.branch} of {pulled.url} at {pulled.commit[:7]}: {pulled.status}\n"
    return OutsideResult(ToolOutput(stdout=text), pulled.snapshot)


async def _push(git: GitProgram, call: GitPush, place: OutsidePlace) -> OutsideResult:
    # `autocode/<thread>` is for what the run delivers, which is not there yet.
    branch = call.branch or f"autocode/{place.thread}-work"
    approved = branch if place.approved else ""
    name = "pushed-" + hashlib.sha256(f"{call.remote} {branch}".encode()).hexdigest()[:12]
    commit = await asyncio.to_thread(_commit, place, name)
    pushed = await push(
        git, place.workspace, commit, branch, call.remote, approved_branch=approved, login=_OWN_LOGIN
    )
    await asyncio.to_thread(place.workspace.hold, place.thread, name, commit)
    text = f"{pushed.branch} of {pushed.url} at {pushed.commit[:7]}: {pushed.status}\n"
    return OutsideResult(ToolOutput(stdout=text + pushed.messages), place.head)


def _commit(place: OutsidePlace, name: str) -> str:
    """Return the commit to push: all of the run's changes, on top of what it pushed there before."""
    parent = place.workspace.held(place.thread).get(name, place.base)
    return place.workspace.commit(place.head, parent, f"Work in progress of thread {place.thread}")


def _failed(reason: str, place: OutsidePlace) -> OutsideResult:
    return OutsideResult(ToolOutput(stderr=f"{reason}\n", returncode=FAILED), place.head)
