"""Changes found in the upper folder of an overlay, which holds exactly what programs have changed."""

import asyncio
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from sandbox.base import LeaveOut, SessionChanges, SessionError, SessionFile
from sandbox.sessions.survey import HIDDEN, Allowance

_MAX_DEPTH = 100
_CHUNK = 2**20
_HIDING = ("trusted.overlay.opaque", "trusted.overlay.redirect")

# A name at a time and O_NOFOLLOW keep every access below the three folders, whatever programs have put
# there. O_NONBLOCK, because a pipe could have taken the place of a file.
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class OverlayFolders:
    """Descriptors of an overlay's folders."""

    lower: int
    upper: int
    merged: int

    def duplicate(self) -> "OverlayFolders":
        """Return descriptors that live on their own."""
        return OverlayFolders(os.dup(self.lower), os.dup(self.upper), os.dup(self.merged))

    def close(self) -> None:
        """Close the descriptors."""
        for fd in (self.lower, self.upper, self.merged):
            os.close(fd)


class OverlaySurvey:
    """Reads the folders of an overlay from outside, as root. Implements `Survey`.

    The upper folder tells which paths programs have touched. Their state is read from the merged folder and
    compared with the lower one. Folders that programs have renamed or made again are compared as a whole.
    """

    def __init__(self, folders: OverlayFolders) -> None:
        """Use folders that the caller closes."""
        self._folders = folders
        self._files: Mapping[str, SessionFile] = {}

    async def changes(self, leave_out: LeaveOut | None) -> SessionChanges:
        # A cancelled thread runs on, when the caller may have closed its descriptors already.
        work = asyncio.to_thread(_compare, self._folders.duplicate(), leave_out, self._files)
        changes = await asyncio.shield(asyncio.ensure_future(work))
        self._files = changes.files
        return changes


def _compare(
    folders: OverlayFolders, leave_out: LeaveOut | None, known: Mapping[str, SessionFile]
) -> SessionChanges:
    try:
        walk = _OverlayWalk(folders, leave_out, known)
        walk.compare()
    except OSError as error:
        raise SessionError(f"the workspace cannot be compared: {error}") from error
    finally:
        folders.close()
    files, links = dict(sorted(walk.files.items())), dict(sorted(walk.links.items()))
    return SessionChanges(files, links, frozenset(walk.removed))


@dataclass
class _OverlayWalk:
    """One comparison. Folders are opened again for each visit, so that nesting costs no descriptors."""

    folders: OverlayFolders
    leave_out: LeaveOut | None
    known: Mapping[str, SessionFile]
    files: dict[str, SessionFile] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    allowance: Allowance = field(default_factory=Allowance)
    _todo: list[tuple[str, bool]] = field(default_factory=lambda: [("", False)])

    def compare(self) -> None:
        """Visit the folders that programs have touched. Raises SessionError when there is too much."""
        while self._todo:
            path, whole = self._todo.pop()
            if path.count("/") > _MAX_DEPTH:
                raise SessionError(f"folders of the workspace are nested more than {_MAX_DEPTH} deep")
            self.allowance.look(path, path.count("/"))  # as many folders are opened on the way
            with (
                _opened(self.folders.lower, path) as lower,
                _opened(self.folders.upper, path) as upper,
                _opened(self.folders.merged, path) as merged,
            ):
                self._visit(path, whole, lower, upper, merged)

    def _visit(
        self, path: str, whole: bool, lower: int | None, upper: int | None, merged: int | None
    ) -> None:
        names = {*_names(merged), *_names(lower)} if whole else _names(upper)
        for name in sorted(names):
            inner = f"{path}{name}"
            self.allowance.look(inner)
            if inner == HIDDEN:
                continue
            before, now = _status(lower, name), _status(merged, name)
            if _is_folder(before) and not _is_folder(now):
                self._remove(inner)
            if _is_folder(now):
                if _is_folder(before):
                    self._todo.append((f"{inner}/", whole or _hides(upper, name)))
                elif not self._leaves_out(f"{inner}/", before):
                    self._todo.append((f"{inner}/", True))
            elif merged is not None and now is not None and stat.S_ISREG(now.st_mode):
                self._file(inner, name, lower, before, merged, now)
            elif merged is not None and now is not None and stat.S_ISLNK(now.st_mode):
                self._link(inner, name, lower, before, merged)
            if _is_kept(before) and not _is_kept(now):
                self.removed.add(inner)

    def _file(
        self,
        path: str,
        name: str,
        lower: int | None,
        before: os.stat_result | None,
        merged: int,
        now: os.stat_result,
    ) -> None:
        executable = _is_executable(now)
        if lower is not None and before and stat.S_ISREG(before.st_mode):
            alike = before.st_size == now.st_size and _is_executable(before) == executable
            if alike and _same_content(lower, merged, name):
                return
        elif self._leaves_out(path, before):
            return
        self.allowance.take(path, now.st_size)
        file = SessionFile(_content(merged, name, now.st_size), executable)
        known = self.known.get(path)
        self.files[path] = known if known == file else file

    def _link(
        self, path: str, name: str, lower: int | None, before: os.stat_result | None, merged: int
    ) -> None:
        target = os.readlink(name, dir_fd=merged)
        if lower is not None and before and stat.S_ISLNK(before.st_mode):
            if os.readlink(name, dir_fd=lower) == target:
                return
        elif self._leaves_out(path, before):
            return
        self.allowance.take(path, len(target))
        self.links[path] = target

    def _leaves_out(self, path: str, before: os.stat_result | None) -> bool:
        return before is None and self.leave_out is not None and self.leave_out(path)

    def _remove(self, path: str) -> None:
        """Note everything below a folder that the session began with, and that is gone."""
        todo = [f"{path}/"]
        while todo:
            folder = todo.pop()
            with _opened(self.folders.lower, folder) as lower:
                for name in _names(lower):
                    status = _status(lower, name)
                    if _is_folder(status):
                        todo.append(f"{folder}{name}/")
                    elif _is_kept(status):
                        self.removed.add(f"{folder}{name}")


@contextmanager
def _opened(root: int, path: str) -> Iterator[int | None]:
    """Open the folder at a path that ends with a slash, or yield None where there is none."""
    fd: int | None = os.open(".", _FOLDER, dir_fd=root)
    try:
        for name in filter(None, path.split("/")):
            inner = None
            with suppress(FileNotFoundError, NotADirectoryError):
                inner = os.open(name, _FOLDER, dir_fd=fd)
            if fd is not None:
                os.close(fd)
            if (fd := inner) is None:
                break
        yield fd
    finally:
        if fd is not None:
            os.close(fd)


def _names(folder: int | None) -> list[str]:
    return [] if folder is None else os.listdir(folder)


def _status(folder: int | None, name: str) -> os.stat_result | None:
    if folder is not None:
        with suppress(FileNotFoundError):
            return os.stat(name, dir_fd=folder, follow_symlinks=False)
    return None


def _is_folder(status: os.stat_result | None) -> bool:
    return status is not None and stat.S_ISDIR(status.st_mode)


def _is_kept(status: os.stat_result | None) -> bool:
    return status is not None and (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode))


def _is_executable(status: os.stat_result) -> bool:
    return bool(status.st_mode & stat.S_IXUSR)


def _hides(upper: int | None, name: str) -> bool:
    """Return whether a folder of the upper side shows other entries than the lower one at its path."""
    if upper is None:
        return False
    with _opened(upper, name) as fd:
        return fd is not None and any(attribute in _HIDING for attribute in os.listxattr(fd))


@contextmanager
def _opened_file(folder: int, name: str) -> Iterator[int]:
    fd = os.open(name, _FILE, dir_fd=folder)
    try:
        yield fd
    finally:
        os.close(fd)


def _content(folder: int, name: str, size: int) -> bytes:
    with _opened_file(folder, name) as fd:
        return b"".join(_chunks(fd, size))


def _chunks(fd: int, size: int) -> Iterator[bytes]:
    while size > 0 and (chunk := os.read(fd, min(size, _CHUNK))):
        size -= len(chunk)
        yield chunk


def _same_content(one: int, other: int, name: str) -> bool:
    """Compare two files of one size."""
    with _opened_file(one, name) as first, _opened_file(other, name) as second:
        while chunk := os.read(first, _CHUNK):
            if os.read(second, _CHUNK) != chunk:
                return False
    return True
