"""Errors of the workspace: those for a person, and those for a model."""

from collections.abc import Iterator
from contextlib import contextmanager

import pygit2

from tools.workspace.blocked_calls import interruptible


class WorkspaceError(Exception):
    """The repository cannot be used. The message says what happened, where, and what to do."""


class NotARepository(WorkspaceError):
    """The folder is in no git repository."""


class CheckoutConflict(WorkspaceError):
    """The user's files are not as they must be for a change, and none was written."""


class Outdated(WorkspaceError):
    """The change is another one than the client has seen."""


class OutsideBounds(WorkspaceError):
    """A path that git follows leads out of the folders that the server allows."""


class PathError(Exception):
    """A model wrote a path or a text that is not allowed. The message is for the model."""


@contextmanager
def git_errors(problem: str) -> Iterator[None]:
    """Turn libgit2's errors into a WorkspaceError that begins with `problem`."""
    try:
        with interruptible():
            yield
    except (pygit2.GitError, OSError) as error:
        raise WorkspaceError(f"{problem}: {error}") from error


@contextmanager
def damage(place: object) -> Iterator[None]:
    """Turn the errors of a repository that cannot be read as one into a WorkspaceError."""
    try:
        with interruptible():
            yield
    except (pygit2.GitError, KeyError, ValueError, OSError) as error:
        reason = str(error).strip("\"'")
        raise WorkspaceError(
            f"{place}: the repository is damaged: {reason}. `git fsck` shows where, "
            "and a fresh clone repairs it"
        ) from error


@contextmanager
def missing_objects() -> Iterator[None]:
    """Turn the failed lookup of an object into a WorkspaceError."""
    try:
        with interruptible():
            yield
    except (KeyError, pygit2.GitError, OSError) as error:
        raise WorkspaceError(
            f"an object of the repository is missing ({error}): it is a partial clone, or damaged. "
            "`git fsck` shows which, and a full clone repairs it"
        ) from error
