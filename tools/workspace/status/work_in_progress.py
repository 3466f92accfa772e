"""The user's work in progress: the changes of the checkout since HEAD. Reading them changes nothing."""

import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import pygit2
from pygit2.enums import DeltaStatus, DiffOption, FileMode
from pygit2.ffi import C

from memory.secrets import is_secret
from tools.workspace.errors import WorkspaceError
from tools.workspace.listing import TreeEntry

_VALID, _SKIP_WORKTREE = 0x8000, 0x4000
"""Flags of files that git must not look for: `update-index --assume-unchanged`, and a sparse checkout's."""

LARGEST_UNTRACKED = 5 * 1024 * 1024
"""Bytes of an untracked file. Larger ones are mostly data, and git would keep them for ever."""

MOST_FILES, MOST_BYTES = 50_000, 2 << 30
"""The most of changed and untracked files. libgit2 stores some thousands in a second."""

_FILES = {int(FileMode.BLOB), int(FileMode.BLOB_EXECUTABLE), int(FileMode.LINK)}
_WORKDIR = (
    DiffOption.INCLUDE_UNTRACKED
    | DiffOption.RECURSE_UNTRACKED_DIRS
    | DiffOption.INCLUDE_TYPECHANGE
    | DiffOption.IGNORE_SUBMODULES
)


@dataclass
class WorkInProgress:
    """Paths to set or remove on top of HEAD, and changed paths that stay as in HEAD."""

    changes: dict[str, TreeEntry | None] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)
    large: set[str] = field(default_factory=set)
    filtered: set[str] = field(default_factory=set)


def collect(repo: pygit2.Repository, head: pygit2.Tree) -> WorkInProgress:
    """Collect staged, unstaged and untracked changes. libgit2 converts line ends for the blobs."""
    index = repo.index
    found: dict[str, TreeEntry | FileMode | None] = {}
    untracked: set[str] = set()
    for delta in head.diff_to_index(index, flags=DiffOption.INCLUDE_TYPECHANGE).deltas:
        new = delta.new_file
        if delta.status != DeltaStatus.CONFLICTED:
            found[_path(delta)] = TreeEntry(new.id, FileMode(new.mode)) if new.mode else None
    for delta in index.diff_to_workdir(flags=_WORKDIR).deltas:
        path, mode = _path(delta), delta.new_file.mode
        if delta.status == DeltaStatus.DELETED or not mode:
            entry = C.git_index_get_bypath(index._index, os.fsencode(path), 0)  # pygit2 offers no flags
            if not entry or not (entry.flags & _VALID or entry.flags_extended & _SKIP_WORKTREE):
                found[path] = None
        elif mode in _FILES:
            found[path] = FileMode(mode)
            if delta.status == DeltaStatus.UNTRACKED:
                untracked.add(path)
    work, files = WorkInProgress(), dict[str, FileMode]()
    for path, change in found.items():
        if change is not None and is_secret(path):
            work.secrets.add(path)
        elif path in untracked and _size(repo, path) > LARGEST_UNTRACKED:
            work.large.add(path)
        elif change is not None and has_filter(repo, path):
            work.filtered.add(path)
        elif isinstance(change, FileMode):
            files[path] = change
        else:
            work.changes[path] = change
    _check_room(repo, files)
    for path, mode in files.items():
        work.changes[path] = TreeEntry(repo.create_blob_fromworkdir(path), mode)
    return work


def _check_room(repo: pygit2.Repository, files: Collection[str]) -> None:
    """Raise WorkspaceError for files that would take minutes to store."""
    sizes = {path: _size(repo, path) for path in files}
    size = sum(sizes.values())
    if len(files) <= MOST_FILES and size <= MOST_BYTES:
        return
    folder, count = Counter(path.partition("/")[0] for path in files).most_common(1)[0]
    most = f"{MOST_FILES:,} with {MOST_BYTES >> 20:,} MB"
    raise WorkspaceError(
        f"{repo.workdir}: {len(files):,} files with {size >> 20:,} MB are changed or untracked, "
        f"and a run takes {most} at most. {count:,} are below {folder!r}, and the largest is "
        f"{max(sizes, key=sizes.__getitem__)!r}. Commit them, let .gitignore name what is no source, or "
        "leave out work in progress (from_head)"
    )


def _size(repo: pygit2.Repository, path: str) -> int:
    return os.lstat(os.path.join(repo.workdir, path)).st_size


def has_filter(repo: pygit2.Repository, path: str) -> bool:
    """Return whether a filter such as Git LFS, or an encoding, applies to a file."""
    name = os.fsencode(path)
    return bool(repo.get_attr(name, "filter") or repo.get_attr(name, "working-tree-encoding"))


def _path(delta: pygit2.DiffDelta) -> str:
    return os.fsdecode(delta.new_file.raw_path)
