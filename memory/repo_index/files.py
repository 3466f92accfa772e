"""Find the files of a folder that are worth indexing, and read them without following links."""

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
"""Folders of other people's code and of tools."""
_BUILT = {"build", "dist", "env", "out", "target"}
"""Folders of build results, unless they are Python packages."""
_TEMPORARY = (".#", "#", "._")
"""Prefixes of the temporary files of editors and of macOS."""


@dataclass(frozen=True)
class FileStat:
    """Size and times of a file, which show that it has changed without reading it."""

    size: int
    mtime: int
    inode: int
    ctime: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileStat":
        return cls(status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)


@dataclass(frozen=True)
class FileContent:
    """A file's text with its stat and its git blob id."""

    stat: FileStat
    blob: str
    text: str


def is_wanted(path: str) -> bool:
    """Return True if a file with this path would be indexed."""
    *folders, name = path.split("/")
    return not any(is_foreign(folder) for folder in folders) and _is_source(name) and not is_secret(path)


def is_foreign(folder: str) -> bool:
    """Return True if a folder's name says that its files are not the repository's own."""
    return folder.lower() in _NEVER


def _is_source(name: str) -> bool:
    if name.startswith(_TEMPORARY) or name.endswith("~"):
        return False
    return os.path.splitext(name)[1].lower() in SUFFIXES and name.isprintable()


def walk(root: Path, path: str, ignore: Ignore, leave_out: Path) -> Iterator[tuple[str, FileStat]]:
    """Yield the files to index at and below a path. `""` is the root, `leave_out` a folder to skip."""
    if not path:
        yield from _walk(root, "", ignore, leave_out)
        return
    *folders, name = path.split("/")
    parents = ["/".join(folders[: number + 1]) for number in range(len(folders))]
    if any(_is_left_out(root, folder, leave_out) for folder in parents) or ignore.leaves_out(path):
        return
    try:
        status = os.lstat(root / path)
    except OSError:
        return
    if stat.S_ISDIR(status.st_mode):
        if not _is_left_out(root, path, leave_out) and not ignore.leaves_out(path + "/"):
            yield from _walk(root, path, ignore, leave_out)
        return
    is_source = _is_source(name) and not is_secret(path)
    if stat.S_ISREG(status.st_mode) and is_source and status.st_size <= MAX_BYTES:
        yield path, FileStat.of(status)


def _walk(root: Path, folder: str, ignore: Ignore, leave_out: Path) -> Iterator[tuple[str, FileStat]]:
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
                    status = FileStat.of(entry.stat(follow_symlinks=False))
                except OSError:
                    continue
                if status.size <= MAX_BYTES and not ignore.ignores(path):
                    yield path, status


def _is_left_out(root: Path, folder: str, leave_out: Path) -> bool:
    """Return True if a folder is skipped whatever `.gitignore` says."""
    name = folder.rpartition("/")[2]
    if name.lower() in _BUILT and not (root / folder / "__init__.py").is_file():
        return True
    return is_foreign(name) or not name.isprintable() or root / folder == leave_out


def read(root: Path, path: str) -> FileContent | None:
    """Read a regular file through regular folders. Return None for anything else and for binary content."""
    try:
        status, data = _read(root, path)
    except OSError:
        return None
    text = decoded(data)
    return FileContent(status, blob_id(data), text) if text is not None else None


def decoded(data: bytes | None) -> str | None:
    """Return a file's text, or None if it is binary or too large."""
    if data is None or len(data) > MAX_BYTES or b"\0" in data:
        return None
    return data.decode("utf-8", "replace")


def blob_id(data: bytes) -> str:
    """Return the id that git gives to content."""
    return sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _read(root: Path, path: str) -> tuple[FileStat, bytes]:
    # Each folder is opened below its parent, so that no link can lead out of the repository.
    *folders, name = path.split("/")
    place = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
            os.close(place)
            place = inner
        # O_NONBLOCK, because opening a FIFO would wait for a writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, dir_fd=place), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(f"{path} is no regular file")
            return FileStat.of(status), file.read(MAX_BYTES + 1)
    finally:
        os.close(place)
