"""The object database of a repository, used without its config and attributes."""

import os
import re
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path

import pygit2
from pygit2.enums import DiffOption, FileMode

from memory.secrets import mask_tokens
from tools.workspace.errors import WorkspaceError, missing_objects
from tools.workspace.listing import TreeEntry, TreeListing, known_listing, listing_of
from tools.workspace.opening import open_at_once

NAME, EMAIL = "AutoCodeAI", "autocode@localhost"

_HEADER = re.compile(rb"blob (\d{1,15})\0")
_HEADER_BYTES = 64


class Objects:
    """Trees, blobs and commits of a repository. Paths are decoded as those of the file system are."""

    def __init__(self, odb: pygit2.Odb, folder: Path) -> None:
        """Use an object database, whose files are in `folder`."""
        self.folder = folder
        self.repo = pygit2.Repository()
        self.repo.set_odb(odb)

    def commit(self, snapshot: str) -> pygit2.Commit:
        """Look up a commit by its full id."""
        try:
            return self.repo[snapshot].peel(pygit2.Commit)
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise _no_snapshot(snapshot) from error

    def tree(self, snapshot: str) -> pygit2.Tree:
        """Look up the tree of a commit, or one by its own id."""
        with missing_objects():
            try:
                found = self.repo[snapshot]
            except (KeyError, ValueError) as error:
                raise _no_snapshot(snapshot) from error
            return found.peel(pygit2.Tree)

    def entry(self, tree: pygit2.Tree, path: str) -> TreeEntry | None:
        """Look up a path. A folder has an entry too."""
        known = known_listing(tree.id)
        if known and (listed := known.entries.get(path)):
            return listed
        try:
            entry = tree[path]
        except KeyError:
            return None
        return TreeEntry(entry.id, entry.filemode)

    def blob(self, id: pygit2.Oid) -> bytes:
        """Read the content of a file."""
        with missing_objects():
            return self.repo.odb.read(id)[1]

    def size(self, id: pygit2.Oid) -> int:
        """Return the size of a blob in bytes without reading it."""
        with missing_objects():
            return self._size(id)

    def sizes(self, listing: TreeListing) -> Mapping[str, int]:
        """Map everything but the submodules of a listing to its size in bytes."""
        with missing_objects():
            return listing.sizes(self._size)

    def _size(self, id: pygit2.Oid) -> int:
        name = str(id)
        path = f"{self.folder}/{name[:2]}/{name[2:]}"
        # Most files of a large repository lie in packs, and an error for each would take longer.
        size = _loose_size(path) if os.access(path, os.F_OK) else None
        return self.repo.odb.read_header(id)[1] if size is None else size

    def listing(self, tree: pygit2.Tree) -> TreeListing:
        """List a tree. Raises WorkspaceError for trees that git itself would not check out."""
        return listing_of(self.repo, tree.id)

    def graft(self, tree: pygit2.Tree, changes: Mapping[str, TreeEntry | None]) -> pygit2.Oid:
        """Write a copy of `tree` with some paths set or removed."""
        index = pygit2.Index()
        index.read_tree(tree)
        # Removals first, because a removed file can become a folder.
        for path, entry in sorted(changes.items(), key=lambda item: item[1] is not None):
            if entry:
                index.add(pygit2.IndexEntry(path, entry.id, entry.mode))
            elif path in index:
                index.remove(path)
        return index.write_tree(self.repo)

    def diff(self, base: str, head: str) -> pygit2.Diff:
        """Compare two snapshots. A renamed file counts as a deletion and an addition."""
        with missing_objects():
            return self.tree(base).diff_to_tree(
                self.tree(head), flags=DiffOption.INCLUDE_TYPECHANGE, interhunk_lines=0
            )

    def merge_files(self, base: TreeEntry, ours: TreeEntry, theirs: TreeEntry) -> TreeEntry | None:
        """Merge two versions of a file, with their modes. None if they conflict."""
        ancestor, ours_tree, theirs_tree = map(self._one_file, (base, ours, theirs))
        with missing_objects():
            index = self.repo.merge_trees(ancestor, ours_tree, theirs_tree)
        if index.conflicts is not None:
            return None
        return TreeEntry(index["file"].id, FileMode(index["file"].mode))

    def _one_file(self, entry: TreeEntry) -> pygit2.Oid:
        builder = self.repo.TreeBuilder()
        builder.insert("file", entry.id, entry.mode)
        return builder.write()

    def store(
        self, tree: pygit2.Oid, parents: list[str], message: str, author: pygit2.Signature | None = None
    ) -> str:
        """Write a snapshot and return its id."""
        # The parents' time makes the same edit the same commit when it is repeated.
        time = max((self.commit(parent).commit_time for parent in parents), default=0)
        committer = pygit2.Signature(NAME, EMAIL, time, 0)
        writer = pygit2.Signature(author.name, author.email, time, 0) if author else committer
        return str(self.repo.create_commit(None, writer, committer, as_message(message), tree, parents))


def _loose_size(path: str) -> int | None:
    """Return the size of a blob that has a file of its own, None if it has none, or a damaged one.

    libgit2 waits here for whoever holds a pipe open, and no signal ends that.
    """
    try:
        file = open_at_once(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise WorkspaceError(f"{path} is no regular file: git needs one. Remove it")
        header = _HEADER.match(zlib.decompressobj().decompress(os.read(file, _HEADER_BYTES), _HEADER_BYTES))
    except (OSError, zlib.error):
        return None
    finally:
        os.close(file)
    return int(header[1]) if header else None


def _no_snapshot(snapshot: str) -> WorkspaceError:
    return WorkspaceError(f"there is no commit {snapshot} in this repository; it may have been pruned")


def as_message(text: str) -> str:
    """Turn any text into a commit message, without tokens in it."""
    return clean(mask_tokens(text))


def clean(message: str) -> str:
    """Turn any text into one that git stores: valid UTF-8, no NUL, one final newline."""
    text = message.replace("\0", "").encode("utf-8", "replace").decode()
    return text.strip() + "\n"
