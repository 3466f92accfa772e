"""The user's work in progress: what the checkout holds beyond HEAD, read without touching anything."""

import os
from dataclasses import dataclass, field

import pygit2
from pygit2.enums import DeltaStatus, DiffOption, FileMode
from pygit2.ffi import C

from memory.secrets import is_secret
from tools.workspace.objects import Entry

_VALID, _SKIP_WORKTREE = 0x8000, 0x4000
"""Index flags: `git update-index --assume-unchanged`, and files outside a sparse checkout."""

_FILES = {int(FileMode.BLOB), int(FileMode.BLOB_EXECUTABLE), int(FileMode.LINK)}
_WORKDIR = (
    DiffOption.INCLUDE_UNTRACKED
    | DiffOption.RECURSE_UNTRACKED_DIRS
    | DiffOption.INCLUDE_TYPECHANGE
    | DiffOption.IGNORE_SUBMODULES
)


@dataclass
class Progress:
    """Paths to set or remove on top of HEAD, and those that stay as HEAD has them."""

    changes: dict[str, Entry | None] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)
    filtered: set[str] = field(default_factory=set)


def collect(repo: pygit2.Repository, head: pygit2.Tree) -> Progress:
    """Gather staged, unstaged and untracked changes; blobs are written with libgit2's CRLF conversion."""
    index = repo.index
    progress = Progress()
    for delta in head.diff_to_index(index, flags=DiffOption.INCLUDE_TYPECHANGE).deltas:
        new = delta.new_file
        if delta.status != DeltaStatus.CONFLICTED:
            _record(repo, progress, _path(delta), Entry(new.id, FileMode(new.mode)) if new.mode else None)
    for delta in index.diff_to_workdir(flags=_WORKDIR).deltas:
        path, mode = _path(delta), delta.new_file.mode
        if delta.status == DeltaStatus.DELETED or not mode:
            if not _is_hidden(index, path):
                _record(repo, progress, path, None)
        elif mode in _FILES:
            _record(repo, progress, path, FileMode(mode))
    return progress


def has_filter(repo: pygit2.Repository, path: str) -> bool:
    """Tell whether a program (Git LFS, say) or an encoding stands between a file and its blob."""
    name = os.fsencode(path)
    return bool(repo.get_attr(name, "filter") or repo.get_attr(name, "working-tree-encoding"))


def _path(delta: pygit2.DiffDelta) -> str:
    return os.fsdecode(delta.new_file.raw_path)


def _record(repo: pygit2.Repository, progress: Progress, path: str, new: Entry | FileMode | None) -> None:
    if new is None:
        progress.changes[path] = None
    elif is_secret(path):
        progress.secrets.add(path)
    elif has_filter(repo, path):
        progress.filtered.add(path)
    elif isinstance(new, Entry):
        progress.changes[path] = new
    else:
        progress.changes[path] = Entry(repo.create_blob_fromworkdir(path), new)


def _is_hidden(index: pygit2.Index, path: str) -> bool:
    """Tell whether the user told git not to look for this file; pygit2 has no public way to these flags."""
    found = C.git_index_get_bypath(index._index, os.fsencode(path), 0)
    return bool(found) and bool(found.flags & _VALID or found.flags_extended & _SKIP_WORKTREE)
