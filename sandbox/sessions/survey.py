"""The seam between a session and the ways to find its changes, and the bounds of both."""

from typing import Protocol

from sandbox.base import MAX_CHANGED_BYTES, MAX_CHANGED_FILES, LeaveOut, SessionChanges, SessionError

HIDDEN = ".git"
"""The folder at the top that changes leave out."""

_MAX_ENTRIES = 300_000


class Survey(Protocol):
    """Compares a workspace with the files that it began with. No program of the session runs meanwhile."""

    async def changes(self, leave_out: LeaveOut | None) -> SessionChanges:
        """Return the changes. Raises SessionError when they are too large."""


class Allowance:
    """Counts down what one survey may read. Every method raises SessionError when a bound is exceeded."""

    def __init__(self) -> None:
        self._entries = _MAX_ENTRIES
        self._files = MAX_CHANGED_FILES
        self._bytes = MAX_CHANGED_BYTES

    def look(self, path: str, entries: int = 1) -> None:
        """Count entries of a folder."""
        self._entries -= entries
        if self._entries < 0:
            raise SessionError(
                f"the workspace has too many changed folders and files, one of them {_shown(path)}; "
                "remove what was generated"
            )

    def take(self, path: str, size: int) -> None:
        """Count a changed path and its content."""
        self._files -= 1
        self._bytes -= size
        if self._files < 0:
            raise SessionError(
                f"more than {MAX_CHANGED_FILES:,} paths of the workspace differ, one of them {_shown(path)}; "
                "remove what was generated"
            )
        if self._bytes < 0:
            raise SessionError(
                f"the changed files of the workspace hold more than {MAX_CHANGED_BYTES >> 20} MiB, "
                f"{_shown(path)} alone {size:,} bytes; remove what was generated"
            )


def _shown(path: str) -> str:
    """Return a path that can be printed: its names are the program's."""
    return repr(path if len(path) < 200 else f"{path[:100]}…{path[-99:]}")
