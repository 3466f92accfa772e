"""Commits of a branch that a remote lacks, as far as this repository knows."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import pygit2

from tools.workspace import Workspace
from tools.workspace.errors import git_errors

_MESSAGE_BYTES = 10_000
MOST = 1000
"""The most commits that are counted."""


@dataclass(frozen=True)
class OutgoingCommit:
    """A commit that a push publishes. A very long message is cut."""

    id: str
    message: str
    author: str

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self.message.partition("\n")[0]


def unpushed(workspace: Workspace, tip: str, remote: str) -> tuple[OutgoingCommit, ...]:
    """Return the commits in `tip` that no branch of the remote had when it was last fetched, newest first."""
    with git_errors(f"{workspace.path}: its history cannot be read"):
        repository = pygit2.Repository(str(workspace.store))
        walker = repository.walk(tip)
        for known in _known(repository, remote):
            walker.hide(known)  # and all that it contains
        commits: list[OutgoingCommit] = []
        with suppress(KeyError):  # the history of a shallow clone ends
            for commit in islice(walker, MOST):
                # A commit may name an encoding that does not exist.
                message = commit.raw_message[:_MESSAGE_BYTES].decode("utf-8", "replace").strip()
                author = commit.author.raw_name.decode("utf-8", "replace")
                commits.append(OutgoingCommit(str(commit.id), message, author))
    return tuple(commits)


def _known(repository: pygit2.Repository, remote: str) -> Iterator[pygit2.Oid]:
    for name in repository.raw_listall_references():
        if name.startswith(f"refs/remotes/{remote}/".encode()):
            with suppress(KeyError, ValueError, pygit2.GitError):  # a name that is no text, or a lost commit
                yield repository.references[name.decode()].peel(pygit2.Commit).id
