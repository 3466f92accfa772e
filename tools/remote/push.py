"""A push: one commit to one branch of a remote, never forced."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pygit2

from tools.remote.clone import check_branch
from tools.remote.configured import default_remote, remote_url
from tools.remote.connection import ANONYMOUS, REMOTE, Connection, Login, connect
from tools.remote.errors import RemoteError, RemoteRefused
from tools.remote.git_dir import own_git_dir, write_ref
from tools.remote.git_program import GitProgram
from tools.remote.remote_url import RemoteUrl
from tools.workspace import Workspace
from tools.workspace.errors import git_errors
from tools.workspace.opening import look

OWN_BRANCHES = "autocode/"

PushStatus = Literal["new", "updated", "up to date"]


@dataclass(frozen=True)
class Pushed:
    """A branch of a remote that has a commit now. `messages` are the server's."""

    status: PushStatus
    remote: str
    url: str
    branch: str
    commit: str
    messages: str = ""


async def push(
    git: GitProgram,
    workspace: Workspace,
    commit: str,
    branch: str,
    remote: str = "",
    *,
    approved_branch: str = "",
    login: Login = ANONYMOUS,
) -> Pushed:
    """Push `commit` as `branch`. Other branches than `autocode/…` need to be the `approved_branch`.

    Without a name, the remote is `origin` or the only one. `login` needs a person's approval. Raises
    RemoteError if the remote has commits that would be lost, and whenever it does not take the commit.
    """
    check_target(branch, approved_branch)
    name = remote or await asyncio.to_thread(default_remote, workspace)
    url = await asyncio.to_thread(remote_url, workspace, name, push=True)
    tip = await asyncio.to_thread(workspace.resolve, commit)
    objects = workspace.store / "objects"
    if url.scheme == "file":
        status = await asyncio.to_thread(_push_folder, git, url, objects, tip, branch)
        return Pushed(status, name, str(url), branch, tip)
    if url.scheme == "ssh" and not login.own:
        raise RemoteRefused(f"{url}: ssh needs your login, which nobody has approved")
    # A redirect would take the commit to a place that nobody has seen.
    settings = [("http.followRedirects", "false")]
    async with connect(git, url, objects, login=login, hosts=[url.endpoint], settings=settings) as connection:
        status, messages = await _push(connection, tip, branch)
    return Pushed(status, name, str(url), branch, tip, messages)


def check_target(branch: str, approved: str = "") -> None:
    """Raise RemoteRefused unless `branch` is one of ours, or the one that a person approved."""
    check_branch(branch)
    if not branch.startswith(OWN_BRANCHES) and branch != approved:
        raise RemoteRefused(f"{branch}: only branches {OWN_BRANCHES}… are pushed, others need your approval")


async def _push(connection: Connection, tip: str, branch: str) -> tuple[PushStatus, str]:
    ref = f"refs/heads/{branch}"
    await asyncio.to_thread(write_ref, connection.folder, ref, tip)
    output = await connection.run(
        "push", "--porcelain", "--no-verify", "--no-follow-tags", "--no-recurse-submodules", REMOTE,
        f"{ref}:{ref}",
    )  # fmt: skip
    # With --porcelain, a line is a flag, the refs, and a summary, divided by tabs.
    lines = [line.split("\t") for line in output.text.splitlines()]
    reports = {line[1]: (line[0].strip(), line[2]) for line in lines if len(line) == 3}
    flag, summary = reports.get(f"{ref}:{ref}", ("!", ""))
    if flag == "!" and summary.startswith("[rejected]"):
        raise _lost(connection.url, branch)
    if flag == "!" and summary:
        raise RemoteError(f"{connection.url}: it refused {branch}: {summary}. {output.errors}".rstrip(". "))
    if output.exit_code:
        raise connection.failure(output)
    known: dict[str, PushStatus] = {"*": "new", "": "updated", "=": "up to date"}
    if flag not in known:
        raise connection.failure(output)
    return known[flag], output.errors


def _push_folder(git: GitProgram, url: RemoteUrl, objects: Path, tip: str, branch: str) -> PushStatus:
    """Push to a folder through libgit2. git would run the hooks of that folder and what it configures."""
    ref = f"refs/heads/{branch}"
    look(Path(url.path))
    with own_git_dir(git.place, objects) as folder, git_errors(f"{url}: cannot push"):
        before = pygit2.Repository(url.path).references.get(ref)
        if before is not None and str(before.target) == tip:
            return "up to date"
        write_ref(folder, ref, tip)
        reports = _Reports()
        target = pygit2.Repository(str(folder)).remotes.create_anonymous(url.text)
        try:
            target.push([f"{ref}:{ref}"], callbacks=reports)
        except pygit2.GitError as error:
            if "fastforward" in str(error).replace("-", "") or "not present locally" in str(error):
                raise _lost(url, branch) from error
            if "non-bare" in str(error):
                raise RemoteError(f"{url}: one can push only to a bare repository in a folder") from error
            raise
        if reports.problem:
            raise RemoteError(f"{url}: it refused {branch}: {reports.problem}")
    return "new" if before is None else "updated"


class _Reports(pygit2.RemoteCallbacks):
    """Remembers why a ref was refused."""

    problem = ""

    def push_update_reference(self, refname: str, message: str | None) -> None:
        """Take note of a refusal."""
        self.problem = message or ""


def _lost(url: RemoteUrl, branch: str) -> RemoteError:
    return RemoteError(
        f"{url}: its branch {branch} has commits that this one does not contain, and nothing is ever forced; "
        "pull them first, or rename the branch there"
    )
