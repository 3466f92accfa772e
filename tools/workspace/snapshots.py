"""Operations on snapshots: read, write, compare, merge and pack, all in the object database."""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import pygit2
from pygit2.enums import DeltaStatus, FileMode

from tools.workspace.diff import unified
from tools.workspace.errors import PathError, missing_objects
from tools.workspace.listing import TreeEntry, TreeListing
from tools.workspace.merge import Merged, describe
from tools.workspace.objects import Objects
from tools.workspace.packing.archive import encoded, pack
from tools.workspace.packing.room import Room
from tools.workspace.paths import check_path

Status = Literal["added", "modified", "deleted"]

MAX_HISTORY = 10_000
"""The most commits that `root` follows, which takes a third of a second."""

MAX_TEXT = 16 * 2**20
"""Bytes of the largest file that is read as text."""

_STATUS: dict[DeltaStatus, Status] = {DeltaStatus.ADDED: "added", DeltaStatus.DELETED: "deleted"}


@dataclass(frozen=True)
class Change:
    """A file that differs between two snapshots, with the numbers of added and removed lines."""

    path: str
    status: Status
    added: int
    removed: int


class Snapshots:
    """Snapshots of a repository, named by commit ids. Links are not followed, submodules not entered."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def tree(self, snapshot: str) -> str:
        """Return the id of a snapshot's tree."""
        return str(self._objects.tree(snapshot).id)

    def files(self, snapshot: str) -> dict[str, int]:
        """Map every regular file to its size in bytes, sorted. Names that are not UTF-8 are left out."""
        listing = self._listing(snapshot)
        sizes = self._objects.sizes(listing)
        return {path: sizes[path] for path in listing.regular}

    def has_odd_names(self, snapshot: str) -> bool:
        """Return whether a path is not UTF-8, which `files` leaves out."""
        return self._listing(snapshot).has_odd_names

    def room(self, snapshot: str) -> Room:
        """Measure everything that `tar` packs, without reading it."""
        return Room.of(self._objects.sizes(self._listing(snapshot)).items())

    def blobs(self, snapshot: str) -> dict[str, str]:
        """Map every regular file to the id of its content. Names that are not UTF-8 are left out."""
        return {path: str(id) for path, id in self._regular(snapshot).items()}

    def _listing(self, snapshot: str) -> TreeListing:
        return self._objects.listing(self._objects.tree(snapshot))

    def _regular(self, snapshot: str) -> Mapping[str, pygit2.Oid]:
        return self._listing(snapshot).regular

    def root(self, snapshot: str) -> str:
        """Return the first commit of a snapshot's history, which all clones have in common.

        Empty in a shallow clone, in a very long history, or if that commit has no files.
        """
        walker = self._objects.repo.walk(self._objects.commit(snapshot).id)
        walker.simplify_first_parent()
        try:
            commits = list(islice(walker, MAX_HISTORY + 1))
        except (KeyError, pygit2.GitError):  # a shallow clone lacks the first commit
            return ""
        first = commits[-1]
        return str(first.id) if len(commits) <= MAX_HISTORY and len(first.tree) else ""

    def read(self, snapshot: str, path: str) -> bytes | None:
        """Read a regular file. None if there is none at `path`."""
        entry = self._objects.entry(self._objects.tree(snapshot), path)
        return self._objects.blob(entry.id) if entry and entry.is_file else None

    def size(self, snapshot: str, path: str) -> int | None:
        """Return the bytes of a regular file without reading it. None if there is none at `path`."""
        entry = self._objects.entry(self._objects.tree(snapshot), path)
        return self._objects.size(entry.id) if entry and entry.is_file else None

    def is_executable(self, snapshot: str, path: str) -> bool:
        """Return whether the file at `path` has the executable bit."""
        entry = self._objects.entry(self._objects.tree(snapshot), path)
        return entry is not None and entry.mode == FileMode.BLOB_EXECUTABLE

    def text(self, snapshot: str, path: str) -> str | None:
        """Read a file as text with its line ends. None if it is missing, binary, not UTF-8 or too large."""
        size = self.size(snapshot, path)
        data = self.read(snapshot, path) if size is not None and size <= MAX_TEXT else None
        with suppress(UnicodeDecodeError):
            return data.decode() if data is not None and b"\0" not in data else None
        return None

    def tar(
        self, snapshot: str, paths: Iterable[str] | None = None, edits: Mapping[str, str] | None = None
    ) -> Iterator[bytes]:
        """Pack the files as a tar stream with their modes, without times and owners.

        `paths` selects files. `edits` replaces their texts, and nothing is written. Submodules, and symbolic
        links that could lead out of the tree, are left out. No more than a few megabytes are in memory.
        """
        return pack(self._objects, self._objects.tree(snapshot), paths, edits or {})

    def difference(self, base: str, head: str) -> tuple[list[str], list[str]]:
        """List the paths to remove from the files of `base`, and then the paths to add from `head`.

        A folder that `head` lacks is removed as a whole.
        """
        tree = self._objects.tree(head)
        removed: set[str] = set()
        added: list[str] = []
        with missing_objects():
            for delta in self._objects.diff(base, head).deltas:
                path = os.fsdecode(delta.new_file.raw_path)
                if delta.status != DeltaStatus.ADDED:
                    removed.add(self._topmost_gone(tree, path))
                if delta.status != DeltaStatus.DELETED:
                    added.append(path)
        return sorted(removed), added

    def _topmost_gone(self, tree: pygit2.Tree, path: str) -> str:
        """Return the highest folder above `path` that is none in `tree`, or `path` itself."""
        for end in (place for place, char in enumerate(path) if char == "/"):
            above = self._objects.entry(tree, path[path.rfind("/", 0, end) + 1 : end])
            if above is None or above.mode != FileMode.TREE:
                return path[:end]
            tree = self._objects.repo[above.id].peel(pygit2.Tree)
        return path

    def write(
        self,
        snapshot: str,
        changes: Mapping[str, str | bytes | None],
        message: str,
        modes: Mapping[str, int] | None = None,
    ) -> str:
        """Write files on top of `snapshot`. None deletes a file.

        `modes` sets permissions such as 0o755, of which git keeps the executable bit. It may name files that
        `changes` leaves out, whose content stays. Without a mode an executable file stays executable.
        Returns `snapshot` itself if nothing changes. Raises PathError for what is not allowed.
        """
        tree = self._objects.tree(snapshot)
        edits: dict[str, TreeEntry | None] = {}
        for path, content in sorted(changes.items()):
            kept = self._checked(tree, path, changes)
            edits[path] = None if content is None else self._file(path, content, kept)
        for path, mode in sorted((modes or {}).items()):
            check_path(path)
            entry = edits[path] if path in edits else self._objects.entry(tree, path)
            edits[path] = _with_mode(path, entry, mode)
        try:
            written = self._objects.graft(tree, edits)
        except pygit2.GitError as error:
            raise PathError(str(error)) from error
        if written == tree.id:
            return snapshot
        return self._objects.store(written, [snapshot], message)

    def refused(self, snapshot: str, changes: Mapping[str, str | bytes | None]) -> dict[str, str]:
        """Map the paths that `write` would not accept to the reasons. Nothing is written."""
        tree = self._objects.tree(snapshot)
        reasons = {}
        for path in changes:
            try:
                self._checked(tree, path, changes)
            except PathError as error:
                reasons[path] = str(error)
        return reasons

    def _checked(
        self, tree: pygit2.Tree, path: str, changes: Mapping[str, str | bytes | None]
    ) -> TreeEntry | None:
        """Return the present entry at `path`. Raises PathError if the change of it is not allowed."""
        check_path(path)
        kept = self._editable(tree, path, changes)
        if changes[path] is None and kept is None:
            raise PathError(f"{path}: there is no such file, so it cannot be deleted")
        return kept

    def _editable(
        self, tree: pygit2.Tree, path: str, changes: Mapping[str, str | bytes | None]
    ) -> TreeEntry | None:
        """Return the present entry at `path`, unless writing there would touch a link or submodule."""
        for folder in (path[:end] for end, char in enumerate(path) if char == "/"):
            above = self._objects.entry(tree, folder)
            if changes.get(folder) is not None and changes[path] is not None:
                raise PathError(f"{path}: {folder} is written as a file too, and cannot be a folder as well")
            if above and above.mode != FileMode.TREE and folder not in changes:
                raise PathError(f"{path}: {folder} is {_kind(above)}, not a folder; choose another path")
        entry = self._objects.entry(tree, path)
        if entry is None or entry.is_file:
            return entry
        gone = entry.mode == FileMode.LINK and changes[path] is None
        if entry.mode == FileMode.TREE and changes[path] is not None:
            inside = self._objects.listing(self._objects.repo[entry.id].peel(pygit2.Tree)).entries
            gone = all(changes.get(f"{path}/{name}", "") is None for name in inside)
        if not gone:
            raise PathError(f"{path} is {_kind(entry)}, not a file; choose another path")
        return entry

    def _file(self, path: str, content: str | bytes, kept: TreeEntry | None) -> TreeEntry:
        data = content if isinstance(content, bytes) else encoded(path, content)
        mode = kept.mode if kept and kept.is_file else FileMode.BLOB
        return TreeEntry(self._objects.repo.create_blob(data), mode)

    def check_absent(self, snapshot: str, path: str) -> None:
        """Raise PathError if there is something at `path`, or a file or link where its folder would be."""
        if self._editable(self._objects.tree(snapshot), path, {path: ""}):
            raise PathError(f"{path} is there already; choose another path")

    def check_names(self, snapshot: str) -> None:
        """Raise WorkspaceError if a tree of the snapshot has a name that git would not check out."""
        self._listing(snapshot)

    def place(self, snapshot: str, entries: Mapping[str, TreeEntry], message: str) -> str:
        """Add entries to `snapshot`, whose objects are in the database. Their paths must be checked."""
        with missing_objects():
            tree = self._objects.graft(self._objects.tree(snapshot), entries)
        return self._objects.store(tree, [snapshot], message)

    def commit(self, snapshot: str, parent: str, message: str) -> str:
        """Write a commit with the files of a snapshot on top of another one. Again, it is the same commit."""
        tree = self._objects.tree(snapshot).id
        is_same = tree == self._objects.tree(parent).id
        return parent if is_same else self._objects.store(tree, [parent], message)

    def changes(self, base: str, head: str) -> tuple[Change, ...]:
        """List the files that differ, by path. A renamed file counts as a deletion and an addition."""
        return tuple(
            Change(path, _STATUS.get(patch.delta.status, "modified"), *patch.line_stats[1:])
            for path, patch in self._patches(base, head)
        )

    def diff(self, base: str, head: str, paths: Sequence[str] = ()) -> str:
        """Return the unified diff of two snapshots, or of some files and folders in them."""
        return "".join(self.diffs(base, head, paths).values())

    def diffs(self, base: str, head: str, paths: Sequence[str] = ()) -> dict[str, str]:
        """Map the paths that differ, or those of some files and folders, to their unified diffs."""
        diffs = dict[str, str]()
        for path, patch in self._patches(base, head):
            if not paths or any(path == wanted or path.startswith(f"{wanted}/") for wanted in paths):
                # A file that becomes a link has two patches.
                diffs[path] = diffs.get(path, "") + unified(path, patch)
        return diffs

    def _patches(self, base: str, head: str) -> list[tuple[str, pygit2.Patch]]:
        with missing_objects():
            patches = [patch for patch in self._objects.diff(base, head) if patch is not None]
        named = [(os.fsdecode(patch.delta.new_file.raw_path), patch) for patch in patches]
        return sorted(named, key=lambda item: item[0])

    def merge(self, base: str, ours: str, theirs: str, message: str) -> Merged:
        """Merge two snapshots that started from `base` into a snapshot or a list of conflicts."""
        ancestor, our_tree, their_tree = (self._objects.tree(snapshot) for snapshot in (base, ours, theirs))
        sides = {their_tree.id: theirs, our_tree.id: ours}
        if ancestor.id in sides or len(sides) == 1:  # one side changes nothing, or both do the same
            sides.pop(ancestor.id, None)
            return Merged(next(iter(sides.values()), ours), ())
        with missing_objects():
            index = self._objects.repo.merge_trees(ancestor, our_tree, their_tree)
        if index.conflicts is not None:
            return Merged(None, describe(self._objects, index.conflicts))
        tree = index.write_tree(self._objects.repo)
        return Merged(sides.get(tree) or self._objects.store(tree, [ours, theirs], message), ())


def _with_mode(path: str, entry: TreeEntry | None, mode: int) -> TreeEntry:
    if entry is None or not entry.is_file:
        raise PathError(f"{path}: there is no such file, so its mode cannot be set")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise PathError(f"{path}: the mode {mode:o} is not that of a file; use 644 or 755")
    return TreeEntry(entry.id, FileMode.BLOB_EXECUTABLE if mode & 0o111 else FileMode.BLOB)


def _kind(entry: TreeEntry) -> str:
    kinds = {FileMode.LINK: "a symbolic link", FileMode.COMMIT: "a submodule", FileMode.TREE: "a folder"}
    return kinds.get(entry.mode, "a file")
