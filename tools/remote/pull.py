"""A pull: fetch a branch of a remote, and merge it into a snapshot."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pygit2

from tools.remote.clone import check_branch
from tools.remote.configured import default_remote, remote_url
from tools.remote.connection import ANONYMOUS, REMOTE, Login, connect
from tools.remote.errors import RemoteError, RemoteRefused
from tools.remote.git_dir import keep_packs, own_git_dir, write_ref
from tools.remote.git_program import GitProgram
from tools.remote.remote_url import RemoteUrl
from tools.workspace import FileConflict, Workspace, WorkspaceError
from tools.workspace.errors import git_errors
from tools.workspace.opening import look

_REF = "refs/autocode/pulled"
_HAVE = "refs/autocode/have"


@dataclass(frozen=True)
class Pulled:
    """The merge of a remote's branch. `snapshot` is None if there are conflicts, which need other hands."""

    status: Literal["up to date", "fast-forward", "merged", "conflict"]
    snapshot: str | None
    remote: str
    url: str
    branch: str
    commit: str
    conflicts: tuple[FileConflict, ...] = ()


async def pull(
    git: GitProgram,
    workspace: Workspace,
    head: str,
    remote: str = "",
    branch: str = "",
    *,
    login: Login = ANONYMOUS,
) -> Pulled:
    """Fetch a branch, by default the remote's own, and merge it three-way into the snapshot `head`.

    Without a name, the remote is `origin` or the only one. `login` needs a person's approval. Nothing of the
    user's refs or files changes. Raises RemoteError, WorkspaceError.
    """
    name = remote or await asyncio.to_thread(default_remote, workspace)
    url = await asyncio.to_thread(remote_url, workspace, name)
    ref = f"refs/heads/{check_branch(branch)}" if branch else "HEAD"
    objects = workspace.store / "objects"
    if url.scheme == "file":
        commit = await asyncio.to_thread(_fetch_folder, git, url, ref, objects, head)
    else:
        commit = await _fetch(git, url, ref, objects, head, login)
    return await asyncio.to_thread(_merged, workspace, head, commit, name, url, branch)


async def _fetch(git: GitProgram, url: RemoteUrl, ref: str, objects: Path, head: str, login: Login) -> str:
    if url.scheme == "ssh" and not login.own:
        raise RemoteRefused(f"{url}: ssh needs your login, which nobody has approved")
    async with connect(git, url, objects, login=login, hosts=[url.endpoint]) as connection:
        await asyncio.to_thread(write_ref, connection.folder, _HAVE, head)
        output = await connection.run(
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", REMOTE,
            f"+{ref}:{_REF}",
        )  # fmt: skip
        if output.exit_code:
            raise connection.failure(output)
        return await asyncio.to_thread(_keep, connection.folder, objects)


def _fetch_folder(git: GitProgram, url: RemoteUrl, ref: str, objects: Path, head: str) -> str:
    """Fetch from a folder through libgit2, because git would run what the folder's configuration says."""
    look(Path(url.path))
    with own_git_dir(git.place, objects) as folder, git_errors(f"{url}: cannot fetch"):
        write_ref(folder, _HAVE, head)
        repository = pygit2.Repository(str(folder))
        repository.remotes.create_anonymous(url.text).fetch([f"+{ref}:{_REF}"])
        return _keep(folder, objects)


def _keep(folder: Path, objects: Path) -> str:
    place = pygit2.Repository(str(folder)).references.get(_REF)
    if place is None:
        raise RemoteError("the remote has no such branch, or no commit on it")
    keep_packs(folder, objects)
    return str(place.peel(pygit2.Commit).id)


def _merged(workspace: Workspace, head: str, commit: str, remote: str, url: RemoteUrl, branch: str) -> Pulled:
    base = workspace.meeting(head, commit)
    if base is None:
        raise RemoteError(f"{url}: its branch and this repository have no commit in common")
    place = (remote, str(url), branch or "HEAD", commit)
    if base == commit:
        return Pulled("up to date", head, *place)
    try:
        workspace.check_names(commit)  # old servers send objects in a way that git does not check
        merged = workspace.merge(base, head, commit, f"Merge {branch or 'the branch'} of {remote}")
    except WorkspaceError as error:
        raise RemoteRefused(f"{url}: {error}") from error
    if merged.snapshot is None:
        return Pulled("conflict", None, *place, merged.conflicts)
    return Pulled("fast-forward" if base == head else "merged", merged.snapshot, *place)
