"""The hunks of a change, and snapshots that hold some of them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256

import pygit2
from pygit2.enums import DeltaStatus, DiffFind, FileMode

from tools.workspace.diff import unified
from tools.workspace.errors import Outdated, WorkspaceError
from tools.workspace.listing import TreeEntry
from tools.workspace.objects import Objects

MOST_RENAMES = 200
"""Number of added and of deleted files up to which renames are looked for. The work grows with its square."""

_START = re.compile(r"^(?=@@ )", re.MULTILINE)
_RANGES = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_ID_CHARACTERS = 16


@dataclass(frozen=True)
class FileHunk:
    """Lines of a file that are applied together, or the change of its mode, which has no lines.

    `old` and `new` are the first line and the number of lines in each version, as in the header. `id` names
    the hunk in the diff between these two versions of the file, and in no other.
    """

    id: str
    text: str
    old: tuple[int, int] = (0, 0)
    new: tuple[int, int] = (0, 0)

    @property
    def header(self) -> str:
        """The first line."""
        return self.text.partition("\n")[0]

    @property
    def added(self) -> int:
        """Number of added lines."""
        return self.text.count("\n+") if self.is_lines else 0

    @property
    def removed(self) -> int:
        """Number of removed lines."""
        return self.text.count("\n-") if self.is_lines else 0

    @property
    def is_lines(self) -> bool:
        """False for a change of the mode."""
        return self.text.startswith("@@ ")


@dataclass(frozen=True)
class ChangedFile:
    """A file that differs between two snapshots.

    One without hunks is taken as a whole: it is new, deleted, renamed, binary, or no regular file. `text` is
    its diff. `other` is the path of the other half of a rename.
    """

    path: str
    old: TreeEntry | None
    new: TreeEntry | None
    text: str
    other: str | None = None

    @property
    def shown(self) -> str:
        """The path as valid text, by which clients name the file."""
        return shown_path(self.path)

    @property
    def header(self) -> str:
        """The lines of the diff before the first hunk."""
        return _START.split(self.text, 1)[0]

    @cached_property
    def hunks(self) -> tuple[FileHunk, ...]:
        """The hunks, in the order of the diff. A change of the mode beside them is the first."""
        old, new = self.old, self.new
        if not (old and new and old.is_file and new.is_file) or self.other:
            return ()
        lines = [self._hunk(text, old, new) for text in _START.split(self.text)[1:]]
        if lines and old.mode != new.mode:
            text = f"old mode {old.mode:06o}\nnew mode {new.mode:06o}\n"
            lines.insert(0, FileHunk(self._id("mode", old, new), text))
        return tuple(lines)

    def _hunk(self, text: str, old: TreeEntry, new: TreeEntry) -> FileHunk:
        match = _RANGES.match(text)
        if match is None:
            raise WorkspaceError(f"{self.shown}: its diff cannot be divided; apply the whole file")
        first, count, new_first, new_count = (1 if part is None else int(part) for part in match.groups())
        return FileHunk(self._id(match[0], old, new), text, (first, count), (new_first, new_count))

    def _id(self, place: str, old: TreeEntry, new: TreeEntry) -> str:
        text = f"{self.shown}\0{old.id}\0{new.id}\0{place}"
        return sha256(text.encode()).hexdigest()[:_ID_CHARACTERS]


def shown_path(path: str) -> str:
    """Return a path as valid text. Bytes that are not UTF-8 are written in hexadecimal."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class Selection:
    """The part of a change that is wanted: whole files, and hunks of files by their ids.

    Half of a rename stands for both.
    """

    files: frozenset[str] = frozenset()
    hunks: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.files or any(self.hunks.values()))


def changed_files(patches: Iterable[tuple[str, pygit2.Patch]], diff: pygit2.Diff) -> list[ChangedFile]:
    """Return the files of a change by path, with renames as pairs. Changes `diff`."""
    files = []
    for path, patch in patches:
        old, new = patch.delta.old_file, patch.delta.new_file
        before = TreeEntry(old.id, FileMode(old.mode)) if old.mode else None
        after = TreeEntry(new.id, FileMode(new.mode)) if new.mode else None
        files.append(ChangedFile(path, before, after, unified(path, patch)))
    others = dict(_renames(files, diff))
    return [replace(file, other=others.get(file.path)) for file in files]


def _renames(files: Sequence[ChangedFile], diff: pygit2.Diff) -> Iterator[tuple[str, str]]:
    added = sum(file.old is None for file in files)
    deleted = sum(file.new is None for file in files)
    if 0 < added <= MOST_RENAMES and 0 < deleted <= MOST_RENAMES:
        diff.find_similar(DiffFind.FIND_RENAMES, rename_limit=MOST_RENAMES)
        for delta in diff.deltas:
            if delta.status == DeltaStatus.RENAMED:
                old, new = _path(delta.old_file), _path(delta.new_file)
                yield old, new
                yield new, old


def _path(file: pygit2.DiffFile) -> str:
    return file.raw_path.decode("utf-8", "surrogateescape")


def select(objects: Objects, base: str, files: Sequence[ChangedFile], selection: Selection) -> str:
    """Return the snapshot that has of a change only what is selected.

    Raises Outdated for a path or an id that is not in the change, and WorkspaceError for a file that can only
    be taken together with another one.
    """
    entries = dict(_entries(objects, files, selection))
    tree = objects.tree(base)
    grafted = objects.graft(tree, entries)
    snapshot = objects.store(grafted, [base], "Selection")
    for delta in objects.diff(base, snapshot).deltas:
        if (path := _path(delta.new_file)) not in entries:
            raise WorkspaceError(
                f"{path}: a selected file lies where this one is, so nothing was applied; select both"
            )
    return snapshot


def _entries(
    objects: Objects, files: Sequence[ChangedFile], selection: Selection
) -> Iterator[tuple[str, TreeEntry | None]]:
    named = {name: file for file in files for name in (file.shown, file.path)}
    for path in sorted({*selection.files, *selection.hunks}):
        if path not in named:
            raise Outdated(f"{path[:200]!r} is not in the change; read it again")
        file = named[path]
        ids = selection.hunks.get(path, frozenset())
        if unknown := sorted(ids.difference(hunk.id for hunk in file.hunks)):
            raise Outdated(f"{file.shown}: no hunk {unknown[0][:40]!r} in the change; read it again")
        if path in selection.files or (ids and len(ids) == len(file.hunks)):
            yield file.path, file.new
            if file.other:
                yield file.other, named[file.other].new
        elif ids and file.old and file.new:
            yield file.path, _partly(objects, file, file.old, file.new, ids)


def _partly(
    objects: Objects, file: ChangedFile, old: TreeEntry, new: TreeEntry, ids: frozenset[str]
) -> TreeEntry:
    """Write the old version of a file with some of its hunks."""
    before, after = (_lines(objects.blob(side.id)) for side in (old, new))
    parts, done, mode = list[bytes](), 0, old.mode
    for hunk in file.hunks:
        if hunk.id in ids and hunk.is_lines:
            start = _start(*hunk.old)
            parts += before[done:start]
            done = start + hunk.old[1]
            first = _start(*hunk.new)
            parts += after[first : first + hunk.new[1]]
        elif hunk.id in ids:
            mode = new.mode
    return TreeEntry(objects.repo.create_blob(b"".join(parts + before[done:])), mode)


def _start(first: int, count: int) -> int:
    """Return the index of a hunk's first line. One without lines names the line before it."""
    return first - 1 if count else first


def _lines(data: bytes) -> list[bytes]:
    """Divide a file at line feeds alone, as git does."""
    *ended, last = data.split(b"\n")
    return [line + b"\n" for line in ended] + ([last] if last else [])
