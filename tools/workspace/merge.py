"""Results of a merge: a snapshot, or conflicts as text that a model can resolve."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import pygit2
from pygit2.enums import FileMode

from tools.workspace.objects import REGULAR, Objects

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
    texts = (FileConflict(_path(sides), _text(objects, sides)) for sides in conflicts)
    return tuple(sorted(texts, key=lambda conflict: conflict.path))


def _path(sides: Sides) -> str:
    return next(str(side.path) for side in sides if side is not None)


def _text(objects: Objects, sides: Sides) -> str:
    _, ours, theirs = sides
    if ours and theirs and ours.mode in REGULAR and theirs.mode in REGULAR:
        marked = _marked(objects.repo, sides)
        if marked is not None:
            return marked
    ours_label, ours_text = _side(objects, ours)
    theirs_label, theirs_text = _side(objects, theirs)
    return f"<<<<<<< {OURS}{ours_label}\n{ours_text}=======\n{theirs_text}>>>>>>> {THEIRS}{theirs_label}\n"


def _marked(repo: pygit2.Repository, sides: Sides) -> str | None:
    try:
        text = repo.merge_file_from_index(*sides).contents
    except (UnicodeDecodeError, RuntimeError):  # raised for binary files and those not in UTF-8
        return None
    path = re.escape(_path(sides))
    text = re.sub(rf"^<{{7}} {path}$", f"<<<<<<< {OURS}", text, flags=re.MULTILINE)
    return re.sub(rf"^>{{7}} {path}$", f">>>>>>> {THEIRS}", text, flags=re.MULTILINE)


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
