"""The user's work in progress: the changes of the checkout since HEAD. Reading them changes nothing."""

import os
from dataclasses import dataclass, field

import pygit2
from pygit2.enums import DeltaStatus, DiffOption, FileMode
from pygit2.ffi import C

from memory.secrets import is_secret
from tools.workspace.listing import TreeEntry

_VALID, _SKIP_WORKTREE = 0x8000, 0x4000
"""Flags of files that git must not look for: `update-index --assume-unchanged`, and a sparse checkout's."""

LARGEST_UNTRACKED = 5 * 1024 * 1024
"""Bytes of an untracked file. Larger ones are mostly data, and git would keep them for ever."""

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
    work = WorkInProgress()
    for path, change in found.items():
        if change is not None and is_secret(path):
            work.secrets.add(path)
        elif path in untracked and os.lstat(os.path.join(repo.workdir, path)).st_size > LARGEST_UNTRACKED:
            work.large.add(path)
        elif change is not None and has_filter(repo, path):
            work.filtered.add(path)
        elif isinstance(change, FileMode):
            work.changes[path] = TreeEntry(repo.create_blob_fromworkdir(path), change)
        else:
            work.changes[path] = change
    return work


def has_filter(repo: pygit2.Repository, path: str) -> bool:
    """Return whether a filter such as Git LFS, or an encoding, applies to a file."""
    name = os.fsencode(path)
    return bool(repo.get_attr(name, "filter") or repo.get_attr(name, "working-tree-encoding"))


def _path(delta: pygit2.DiffDelta) -> str:
    return os.fsdecode(delta.new_file.raw_path)
