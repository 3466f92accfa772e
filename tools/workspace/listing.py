"""The files of a tree. Folders that were read lately are kept, because snapshots have most in common."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import pygit2
from pygit2.enums import FileMode

from tools.workspace.blocked_calls import interruptible
from tools.workspace.errors import WorkspaceError, missing_objects
from tools.workspace.paths import is_git_folder
from tools.workspace.recent import Recent

REGULAR = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE)

MAX_FILES = 1_000_000
"""The most files of a tree. A hostile tree can contain one folder a million times at no cost."""

_MOST_PATH_BYTES = 256 * 2**20
_LONGEST_PATH = 4096
_KEPT_ENTRIES = 400_000


@dataclass(frozen=True)
class TreeEntry:
    """An entry of a tree: a file, a symbolic link, a folder or a submodule's commit."""

    id: pygit2.Oid
    mode: FileMode

    @property
    def is_file(self) -> bool:
        """True for a regular file, executable or not."""
        return self.mode in REGULAR


class Folder:
    """The entries of one folder by path. `inner` has its folders, as prefixes of paths with their trees."""

    def __init__(self, repo: pygit2.Repository, prefix: bytes, id: pygit2.Oid) -> None:
        self.entries: dict[str, TreeEntry] = {}
        self.inner: list[tuple[bytes, pygit2.Oid]] = []
        for name, entry in _children(repo, id):
            path = prefix + name
            if len(path) > _LONGEST_PATH:
                raise WorkspaceError(f"the tree {id} has too deeply nested files")
            if entry.mode == FileMode.TREE:
                self.inner.append((path + b"/", entry.id))
            else:
                self.entries[os.fsdecode(path)] = entry
        self.path_bytes = sum(map(len, self.entries)) + sum(len(path) for path, _ in self.inner)
        self._sizes: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self.entries) + len(self.inner) + 1

    def sizes(self, size: Callable[[pygit2.Oid], int]) -> dict[str, int]:
        """Map everything but submodules to its size in bytes."""
        if self._sizes is None:
            self._sizes = {
                path: size(entry.id) for path, entry in self.entries.items() if entry.mode != FileMode.COMMIT
            }
        return self._sizes


class TreeListing:
    """Everything but folders that a tree holds, depth first."""

    def __init__(self, folders: list[Folder]) -> None:
        self._folders = folders
        self.entries: dict[str, TreeEntry] = {}
        for folder in folders:
            self.entries.update(folder.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def sizes(self, size: Callable[[pygit2.Oid], int]) -> Mapping[str, int]:
        """Map everything but submodules to its size in bytes. `size` reads what is not known yet."""
        sizes: dict[str, int] = {}
        with interruptible():
            for folder in self._folders:
                sizes.update(folder.sizes(size))
        return sizes

    @cached_property
    def regular(self) -> Mapping[str, pygit2.Oid]:
        """Regular files with UTF-8 names by path, sorted, with the ids of their content."""
        return dict(
            sorted(
                (path, entry.id) for path, entry in self.entries.items() if entry.is_file and _is_utf8(path)
            )
        )

    @cached_property
    def has_odd_names(self) -> bool:
        """True if a path is not UTF-8."""
        return not all(map(_is_utf8, self.entries))


# An id names the same content in every repository, so all threads and repositories share these.
_folders: Recent[tuple[bytes, pygit2.Oid], Folder] = Recent(_KEPT_ENTRIES, len)
_listings: Recent[pygit2.Oid, TreeListing] = Recent(_KEPT_ENTRIES, len)


def known_listing(id: pygit2.Oid) -> TreeListing | None:
    """Return the listing of a tree if it was read lately."""
    return _listings.get(id)


def listing_of(repo: pygit2.Repository, id: pygit2.Oid) -> TreeListing:
    """Read a tree, depth first. Raises WorkspaceError for trees that git itself would not check out."""
    if known := _listings.get(id):
        return known
    with interruptible():
        listing = TreeListing(list(_walk(repo, id)))
    _listings.put(id, listing)
    return listing


def _walk(repo: pygit2.Repository, id: pygit2.Oid) -> Iterator[Folder]:
    files, path_bytes = MAX_FILES, _MOST_PATH_BYTES
    waiting: list[tuple[bytes, pygit2.Oid]] = [(b"", id)]
    while waiting:
        place = waiting.pop()
        folder = _folders.get(place)
        if folder is None:
            folder = Folder(repo, *place)
            _folders.put(place, folder)
        files -= len(folder)
        path_bytes -= folder.path_bytes
        if files < 0 or path_bytes < 0:
            raise WorkspaceError(f"the tree {id} has too many or too deeply nested files")
        yield folder
        waiting.extend(reversed(folder.inner))


def _children(repo: pygit2.Repository, id: pygit2.Oid) -> list[tuple[bytes, TreeEntry]]:
    with missing_objects():
        folder = repo[id].peel(pygit2.Tree)
        children = [(child.raw_name or b"", TreeEntry(child.id, child.filemode)) for child in folder]
    names = {name for name, _ in children}
    if len(names) < len(children) or any(map(_forbidden, names)):
        raise WorkspaceError(f"the tree {id} is malformed (a forbidden or repeated name); see `git fsck`")
    return children


def _forbidden(name: bytes) -> bool:
    if name in (b"", b".", b"..") or b"/" in name:
        return True
    suspicious = b"git" in name.lower() or not name.isascii()
    return suspicious and is_git_folder(os.fsdecode(name))


def _is_utf8(path: str) -> bool:
    return path.isascii() or path.encode(errors="ignore").decode() == path
