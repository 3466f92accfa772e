"""The git folder of a repository, and everything in it that libgit2 reads on its own."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pygit2

from tools.workspace.blocked_calls import interruptible
from tools.workspace.errors import NotARepository, WorkspaceError
from tools.workspace.opening.bounds import check_inside
from tools.workspace.opening.config_files import LIST_BYTES, ConfigFiles
from tools.workspace.opening.folder_scan import FolderScan
from tools.workspace.opening.regular import check_file, check_folder, open_at_once, read_file

SMALL_BYTES = 64 << 10
"""The most bytes of a file with one line, such as HEAD, a ref or `commondir`."""

_INDEX_BYTES = 512 << 20
_PACKED_REFS_BYTES = 256 << 20
_SHALLOW_BYTES = 16 << 20
_MOST_OBJECTS = 2_000_000
_MOST_REFS = 100_000
_MOST_ALTERNATES = 50

_scan = FolderScan()
_configs = ConfigFiles()


@dataclass(frozen=True)
class GitFolder:
    """The `.git` folder, and the one that it shares with other worktrees, which is mostly the same."""

    own: str
    shared: str

    @property
    def places(self) -> set[str]:
        """Both folders."""
        return {self.own, self.shared}

    def check_refs(self) -> None:
        """Raise WorkspaceError if a ref is no regular file."""
        for folder in self.places:
            _scan.check(f"{folder}/refs", _MOST_REFS, "pack them: git pack-refs --all", SMALL_BYTES)


def look(path: Path) -> GitFolder:
    """Find the repository around `path`, and look at what libgit2 will read. Raises WorkspaceError.

    Whoever can write to the repository can replace a file between look and open. `interruptible` ends that.
    """
    for place in (path, *path.parents):
        for candidate in (place / ".git", place):
            _check_candidate(os.fspath(candidate))
    try:
        with interruptible():
            found = pygit2.discover_repository(str(path))
    except (pygit2.GitError, OSError, ValueError) as error:
        raise WorkspaceError(f"{path}: its .git cannot be read: {error}; repair or remove it") from error
    if found is None:
        raise NotARepository(f"{path} is not in a git repository")
    folder = _git_folder(found.rstrip("/"))
    _check_files(folder)
    folder.check_refs()
    for objects in _object_folders(f"{folder.shared}/objects"):
        _scan.check(objects, _MOST_OBJECTS, "pack them: git gc")
    return folder


def _check_candidate(folder: str) -> None:
    """Look at what libgit2 reads to decide whether a folder is a git folder."""
    if not os.path.isdir(folder):
        if os.path.isfile(folder):
            check_file(folder, SMALL_BYTES)
            target = (read_file(folder, SMALL_BYTES) or b"").removeprefix(b"gitdir:")
            folder = os.path.join(os.path.dirname(folder), _written_path(target, folder))
        else:
            return
    if os.path.lexists(f"{folder}/commondir") and os.path.lexists(f"{folder}/HEAD"):
        check_file(f"{folder}/commondir", SMALL_BYTES)


def _git_folder(own: str) -> GitFolder:
    check_inside(own)
    text = read_file(f"{own}/commondir", SMALL_BYTES)
    if text is None:
        return GitFolder(own, own)
    shared = os.path.realpath(os.path.join(own, _written_path(text, f"{own}/commondir")))
    check_inside(shared)
    return GitFolder(own, shared)


def _written_path(text: bytes, file: str) -> str:
    """Return a path that stands in a file. Raises WorkspaceError for a NUL, which no path can hold."""
    if b"\0" in text:
        raise WorkspaceError(f"{file} holds a NUL character: it is damaged. Correct or remove it")
    return os.fsdecode(text.strip())


def _check_files(folder: GitFolder) -> None:
    for name in ("HEAD", "gitdir", "config.worktree"):
        check_file(f"{folder.own}/{name}", SMALL_BYTES)
    check_file(f"{folder.own}/index", _INDEX_BYTES)
    root = os.path.dirname(folder.own)
    for place in folder.places:
        for name in ("config", "config.worktree"):
            _configs.check(f"{place}/{name}", root)
        check_folder(f"{place}/info")
        for name in ("exclude", "attributes", "grafts"):
            check_file(f"{place}/info/{name}", LIST_BYTES, folder=True)
        _check_packed_refs(f"{place}/packed-refs")
        check_file(f"{place}/shallow", _SHALLOW_BYTES)
        for name in ("logs", "logs/refs", "logs/refs/heads", "logs/refs/notes"):
            check_folder(f"{place}/{name}")
        for name in ("logs/refs/autocode", "logs/refs/heads/autocode", "logs/refs/notes"):
            check_file(f"{place}/{name}", folder=True)  # a branch `autocode` has a file here
            if os.path.isdir(f"{place}/{name}"):
                _scan.check(f"{place}/{name}", _MOST_REFS, "remove this folder")


def _check_packed_refs(path: str) -> None:
    status = check_file(path, _PACKED_REFS_BYTES)
    if status is not None and status.st_size:
        with open(path, "rb", opener=open_at_once) as file:
            file.seek(-1, os.SEEK_END)
            # libgit2 finds no ref in a file that was cut, and takes the repository for an empty one.
            if file.read(1) != b"\n":
                raise WorkspaceError(
                    f"{path} is damaged: its last line is cut. `git fsck` shows what is lost, and a fresh "
                    "clone repairs it"
                )


def _object_folders(objects: str) -> Iterator[str]:
    """Yield the folder of a repository's objects, and those that it borrows from."""
    waiting, seen = [objects], set[str]()
    while waiting:
        place = waiting.pop()
        real = os.path.realpath(place)
        if real in seen:
            continue
        seen.add(real)
        if len(seen) > _MOST_ALTERNATES:
            raise WorkspaceError(f"{objects} borrows from more than {_MOST_ALTERNATES} others; use fewer")
        check_inside(place, real)
        if check_folder(place) is None:
            continue
        yield place
        file = f"{place}/info/alternates"
        text = read_file(file, SMALL_BYTES) or b""
        lines = [_written_path(line, file) for line in text.split(b"\n") if line.strip()]
        waiting += [os.path.join(place, line) for line in lines if not line.startswith("#")]
