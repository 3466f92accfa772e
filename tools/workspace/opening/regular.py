"""Files of a repository, looked at before anybody opens them. A FIFO would hold the process for good."""

import os
import stat
from pathlib import Path

from tools.workspace.errors import WorkspaceError
from tools.workspace.opening.bounds import check_inside

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_file(path: str | Path, limit: int | None = None, folder: bool = False) -> os.stat_result | None:
    """Return the status of a regular file, or None if there is none. `folder` also accepts a folder.

    A link is followed, and its target is held to the bounds. Raises WorkspaceError for anything else, and
    for a file of more than `limit` bytes.
    """
    status = _status(os.fspath(path))
    if status is None or (folder and stat.S_ISDIR(status.st_mode)):
        return None
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no file")
        raise WorkspaceError(f"{path} is {kind}, where git needs a regular file; remove it")
    if limit is not None and status.st_size > limit:
        size = f"{status.st_size:,} bytes, more than the {limit:,} that are read"
        raise WorkspaceError(f"{path} has {size}; make it smaller or remove it")
    return status


def check_folder(path: str | Path) -> os.stat_result | None:
    """Return the status of a folder, or None if there is none. A link is followed within the bounds."""
    status = _status(os.fspath(path))
    if status is not None and not stat.S_ISDIR(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a file")
        raise WorkspaceError(f"{path} is {kind}, where git needs a folder; remove it")
    return status


def read_file(path: str | Path, limit: int) -> bytes | None:
    """Read a regular file, or return None if there is none. It cannot hang, whatever replaces the file."""
    if check_file(path, limit) is None:
        return None
    try:
        with open(path, "rb", opener=open_at_once) as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file.read(limit)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
    raise WorkspaceError(f"{path} changed while it was read; try again")


def open_at_once(path: str, flags: int) -> int:
    """Open a file as `open` does, but without a wait for the writer of a FIFO."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _status(path: str) -> os.stat_result | None:
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            # Also a link to nothing is held to the bounds, because a write would create its target.
            check_inside(path)
            return os.stat(path)
        return status
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # a circle of links, a name that is too long, a NUL
        reason = error.strerror if isinstance(error, OSError) else error
        raise WorkspaceError(f"{path} cannot be read: {reason}; repair or remove it") from error
