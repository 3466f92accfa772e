"""Folders on disk whose content may be hostile: counted, taken over, removed.

Programs nest folders deeper than a path can name, and than Python recurses.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from sandbox.base import SandboxError

_LONG_PATH = 1000


def folder_bytes(folder: Path, limit: int = 2**62) -> int:
    """Return the bytes that a folder takes on disk. Counting ends when they exceed `limit`.

    A folder that no path can name exceeds it, because nobody could count what is in it.
    """
    total = 0
    try:
        for entry in _entries(folder):
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                total += status.st_blocks * 512 // max(1, status.st_nlink)
            if total > limit:
                break
    except SandboxError:
        return limit + 1
    return total


def remove_tree(folder: Path) -> None:
    """Remove a folder that may be hostile: closed folders are opened first, links are not followed.

    Deep folders are moved to the top, so that no path becomes too long. What cannot be removed stays.
    """
    if folder.is_symlink() or not folder.is_dir():
        with suppress(OSError):
            folder.unlink()
        return
    top, mark, found = str(folder), token_hex(8), list[str]()
    waiting = [top]
    while waiting:
        place = waiting.pop()
        with suppress(OSError):
            os.chmod(place, 0o700)
            if len(place) - len(top) > _LONG_PATH:
                moved = f"{top}/{mark}-{len(found)}"
                os.rename(place, moved)
                place = moved
            with os.scandir(place) as entries:
                listed = list(entries)
            for entry in listed:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        os.unlink(entry.path)
        found.append(place)
    for place in reversed(found):
        with suppress(OSError):
            os.rmdir(place)


def take_ownership(root: Path) -> None:
    """Make a tree ours, readable by everybody and writable by nobody else. Links are not followed.

    Raises SandboxError for folders that no path can name.
    """
    for path in (str(root), *(entry.path for entry in _entries(root))):
        if os.geteuid() == 0:
            os.chown(path, 0, 0, follow_symlinks=False)
        status = os.lstat(path)
        if not stat.S_ISLNK(status.st_mode):
            os.chmod(path, _open_mode(status.st_mode))


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield all entries below a folder, each folder before what is in it. Raises SandboxError."""
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    yield entry
                    with suppress(OSError):
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise SandboxError(f"{folder} has folders that are nested too deeply") from error


def _open_mode(mode: int) -> int:
    """Return the mode without special bits: a program with the set-user-id bit would now be root's."""
    return (mode & 0o755) | (0o755 if stat.S_ISDIR(mode) else 0o555 if mode & 0o100 else 0o444)
