"""Folders of many small files, such as loose objects and refs. Each is looked at again when it changed."""

import os
import stat
import time
from dataclasses import dataclass

from tools.workspace.errors import WorkspaceError
from tools.workspace.opening.bounds import bounds_key
from tools.workspace.opening.regular import check_file, check_folder
from tools.workspace.recent import Recent

_SETTLED_NS = 2 * 10**9
"""A folder that changed in the last two seconds may change again within the same tick of its clock."""

_MOST_KNOWN = 20_000


@dataclass(frozen=True)
class _Seen:
    changed: tuple[int, int, int]
    files: int
    folders: tuple[str, ...]


class FolderScan:
    """Look at the entries of folders, and remember the folders that have not changed since."""

    def __init__(self) -> None:
        self._seen = Recent[tuple[object, ...], _Seen](_MOST_KNOWN)

    def check(self, folder: str, most: int, remedy: str, size: int | None = None, depth: int = 40) -> None:
        """Raise WorkspaceError unless all below `folder` are folders and regular files, and `most` at most.

        `size` limits the bytes of each file. `remedy` tells the user how to reduce their number.
        """
        left, waiting = most, [(folder, 0)]
        while waiting:
            place, level = waiting.pop()
            seen = self._entries(place, size)
            if seen is None:
                continue
            left -= seen.files + len(seen.folders)
            if left < 0 or level >= depth:
                raise WorkspaceError(f"{folder} has more than {most:,} files, or too deep folders; {remedy}")
            waiting += [(f"{place}/{name}", level + 1) for name in seen.folders]

    def _entries(self, folder: str, size: int | None) -> _Seen | None:
        status = check_folder(folder)
        if status is None:
            return None
        key = (folder, size, bounds_key())
        changed = (status.st_dev, status.st_ino, status.st_mtime_ns)
        known = self._seen.get(key)
        if known is not None and known.changed == changed:
            return known
        seen = _look(folder, changed, size)
        if time.time_ns() - status.st_mtime_ns > _SETTLED_NS:
            self._seen.put(key, seen)
        return seen


def _look(folder: str, changed: tuple[int, int, int], size: int | None) -> _Seen:
    files, folders = 0, []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                    continue
                files += 1
                if size is None and entry.is_file(follow_symlinks=False):
                    continue
                if entry.is_symlink() and _leads_to_folder(entry.path):
                    check_folder(entry.path)
                    folders.append(entry.name)
                else:
                    check_file(entry.path, size)
    except OSError as error:
        raise WorkspaceError(f"{folder} cannot be read: {error.strerror}; check its permissions") from error
    return _Seen(changed, files, tuple(folders))


def _leads_to_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return False
