"""What can go wrong with files: for a person to mend, or for a model."""

from collections.abc import Iterator
from contextlib import contextmanager

import pygit2


class WorkspaceError(Exception):
    """The repository is not as it must be; says what, where, and what to do."""


class PathError(Exception):
    """A path or text that a model wrote is not allowed; the message is for the model."""


@contextmanager
def git_errors(what: str) -> Iterator[None]:
    """Turn libgit2's errors into a WorkspaceError that begins with `what`."""
    try:
        yield
    except (pygit2.GitError, OSError) as error:
        raise WorkspaceError(f"{what}: {error}") from error


@contextmanager
def missing_objects() -> Iterator[None]:
    """Turn a lookup of an object that is not there into a WorkspaceError."""
    try:
        yield
    except (KeyError, pygit2.GitError) as error:
        raise WorkspaceError(
            f"the repository lacks an object it refers to ({error}): is it a partial clone, or damaged? "
            "`git fsck` tells; a full clone mends it"
        ) from error
