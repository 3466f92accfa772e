"""Results of a merge: a snapshot, or conflicts as text that a model can resolve."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import pygit2
from pygit2.enums import FileMode

from tools.workspace.listing import REGULAR
from tools.workspace.objects import Objects

OURS = "ours (merged so far)"
THEIRS = "theirs (this step)"

Sides = tuple[pygit2.IndexEntry | None, pygit2.IndexEntry | None, pygit2.IndexEntry | None]


@dataclass(frozen=True)
class FileConflict:
    """A file that both sides changed. `text` has both sides with conflict markers."""

    path: str
    text: str


@dataclass(frozen=True)
class Merged:
    """The merged snapshot, or None and the conflicts."""

    snapshot: str | None
    conflicts: tuple[FileConflict, ...]


def describe(objects: Objects, conflicts: Iterable[Sides]) -> tuple[FileConflict, ...]:
    """Return every conflict, by path, with both sides marked."""
    by_path = {next(str(side.path) for side in sides if side): sides for sides in conflicts}
    return tuple(FileConflict(path, _text(objects, path, sides)) for path, sides in sorted(by_path.items()))


def _text(objects: Objects, path: str, sides: Sides) -> str:
    _, ours, theirs = sides
    if ours and theirs and ours.mode in REGULAR and theirs.mode in REGULAR:
        with suppress(UnicodeDecodeError, RuntimeError):  # raised for binary files and those not in UTF-8
            text, name = objects.repo.merge_file_from_index(*sides).contents, re.escape(path)
            text = re.sub(rf"^<{{7}} {name}$", f"<<<<<<< {OURS}", text, flags=re.MULTILINE)
            return re.sub(rf"^>{{7}} {name}$", f">>>>>>> {THEIRS}", text, flags=re.MULTILINE)
    ours_label, ours_text = _side(objects, ours)
    theirs_label, theirs_text = _side(objects, theirs)
    return f"<<<<<<< {OURS}{ours_label}\n{ours_text}=======\n{theirs_text}>>>>>>> {THEIRS}{theirs_label}\n"


def _side(objects: Objects, side: pygit2.IndexEntry | None) -> tuple[str, str]:
    if side is None:
        return ": the file is deleted or moved", ""
    if side.mode == FileMode.COMMIT:
        return ": a submodule", ""
    data = objects.blob(side.id)
    if side.mode == FileMode.LINK:
        return ": a symbolic link", data.decode("utf-8", "replace") + "\n"
    if b"\0" in data:
        return ": a binary file", ""
    text = data.decode("utf-8", "replace")
    return "", text if not text or text.endswith("\n") else text + "\n"
