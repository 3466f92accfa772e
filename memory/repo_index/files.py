"""The files of a folder that are worth indexing, and how they are read without following a link."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path

from memory.chunks import SUFFIXES
from memory.repo_index.ignore import Ignore
from memory.secrets import is_secret

MAX_BYTES = 512 * 1024
_NEVER = {
    ".bzr", ".cache", ".eggs", ".git", ".gradle", ".hg", ".hypothesis", ".idea", ".mypy_cache", ".next",
    ".nox", ".nuxt", ".pytest_cache", ".ruff_cache", ".svn", ".terraform", ".tox", ".venv", ".vscode",
    ".yarn", "__pycache__", "bower_components", "jspm_packages", "node_modules", "site-packages",
    "vendor", "venv",
}  # fmt: skip
"""Folders that hold what others wrote or what tools left."""
_BUILT = {"build", "dist", "env", "out", "target"}
"""Folders that hold what was built, unless they are Python packages."""
_DROPPINGS = (".#", "#", "._")


@dataclass(frozen=True)
class Stat:
    """What tells that a file has changed without reading it."""

    size: int
    mtime: int
    inode: int
    ctime: int

    @classmethod
    def of(cls, found: os.stat_result) -> "Stat":
        return cls(found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns)


@dataclass(frozen=True)
class Content:
    """A file as it was read."""

    stat: Stat
    blob: str
    text: str


def is_wanted(path: str) -> bool:
    """Tell by its path alone whether a file would be indexed."""
    *folders, name = path.split("/")
    return not any(is_foreign(folder) for folder in folders) and _is_source(name) and not is_secret(path)


def is_foreign(folder: str) -> bool:
    """Tell whether a folder's name says that its files are not the repository's own."""
    return folder.lower() in _NEVER


def _is_source(name: str) -> bool:
    if name.startswith(_DROPPINGS) or name.endswith("~"):
        return False
    return os.path.splitext(name)[1].lower() in SUFFIXES and name.isprintable()


def below(root: Path, path: str, ignore: Ignore, leave_out: Path) -> Iterator[tuple[str, Stat]]:
    """Find the files to index at and below a path, `""` for all; `leave_out` is a folder not to enter."""
    if not path:
        yield from _walk(root, "", ignore, leave_out)
        return
    *folders, name = path.split("/")
    places = ["/".join(folders[: number + 1]) for number in range(len(folders))]
    if any(_is_left_out(root, folder, leave_out) for folder in places) or ignore.leaves_out(path):
        return
    try:
        found = os.lstat(root / path)
    except OSError:
        return
    if stat.S_ISDIR(found.st_mode):
        if not _is_left_out(root, path, leave_out) and not ignore.leaves_out(path + "/"):
            yield from _walk(root, path, ignore, leave_out)
        return
    is_source = _is_source(name) and not is_secret(path)
    if stat.S_ISREG(found.st_mode) and is_source and found.st_size <= MAX_BYTES:
        yield path, Stat.of(found)


def _walk(root: Path, folder: str, ignore: Ignore, leave_out: Path) -> Iterator[tuple[str, Stat]]:
    waiting = [folder]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(root / folder) as scanned:
                entries = list(scanned)
        except OSError:
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if not _is_left_out(root, path, leave_out) and not ignore.ignores(path + "/"):
                    waiting.append(path)
            elif _is_source(entry.name) and not is_secret(path) and entry.is_file(follow_symlinks=False):
                try:
                    found = Stat.of(entry.stat(follow_symlinks=False))
                except OSError:
                    continue
                if found.size <= MAX_BYTES and not ignore.ignores(path):
                    yield path, found


def _is_left_out(root: Path, folder: str, leave_out: Path) -> bool:
    """Tell whether a folder is passed over whatever `.gitignore` says."""
    name = folder.rpartition("/")[2]
    if name.lower() in _BUILT and not (root / folder / "__init__.py").is_file():
        return True
    return is_foreign(name) or not name.isprintable() or root / folder == leave_out


def read(root: Path, path: str) -> Content | None:
    """Read a regular file through regular folders; None for anything else, and for binary content."""
    try:
        found, data = _read(root, path)
    except OSError:
        return None
    text = decoded(data)
    return Content(found, blob_id(data), text) if text is not None else None


def decoded(data: bytes | None) -> str | None:
    """Give a file's text; None if it is binary or too large."""
    if data is None or len(data) > MAX_BYTES or b"\0" in data:
        return None
    return data.decode("utf-8", "replace")


def blob_id(data: bytes) -> str:
    """Name content as git does."""
    return sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _read(root: Path, path: str) -> tuple[Stat, bytes]:
    *folders, name = path.split("/")
    place = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
            os.close(place)
            place = inner
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, dir_fd=place), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise OSError(f"{path} is no regular file")
            return Stat.of(found), file.read(MAX_BYTES + 1)
    finally:
        os.close(place)
