"""The text of a unified diff, with its own headers, because a git config can change those of libgit2."""

import json
from dataclasses import dataclass

import pygit2
from pygit2.enums import DeltaStatus, DiffOption


@dataclass(frozen=True)
class LineChange:
    """Adjacent lines that differ between two texts. Lines count from 1.

    `count` is 0 for deleted lines, which stood after the line `first`. `added` are the numbers of new lines.
    """

    old_first: int
    old_count: int
    first: int
    count: int
    added: tuple[int, ...]


def line_changes(old: bytes, new: bytes) -> list[LineChange]:
    """Return the places where two texts differ. Places with one equal line between them are joined."""
    patch = pygit2.Patch.create_from(
        old, new, flag=DiffOption.INDENT_HEURISTIC, context_lines=0, interhunk_lines=1
    )
    return [
        LineChange(
            hunk.old_start,
            hunk.old_lines,
            hunk.new_start,
            hunk.new_lines,
            tuple(line.new_lineno for line in hunk.lines if line.origin == "+"),
        )
        for hunk in patch.hunks
    ]


def hunks_of(old: str, new: str, context: int) -> list[str]:
    """Return the lines of the hunks between two texts, whose last lines count as ended."""
    before, after = ("".join(f"{line}\n" for line in text.splitlines()).encode() for text in (old, new))
    patch = pygit2.Patch.create_from(before, after, flag=DiffOption.FORCE_TEXT, context_lines=context)
    return patch.data[patch.data.find(b"\n@@ ") + 1 :].decode().splitlines() if patch.hunks else []


def unified(path: str, patch: pygit2.Patch) -> str:
    """Return one file's patch, with a/ and b/ before its names."""
    delta, old, new = patch.delta, patch.delta.old_file, patch.delta.new_file
    added, deleted = delta.status == DeltaStatus.ADDED, delta.status == DeltaStatus.DELETED
    before, after = _name("a", path), _name("b", path)
    lines = [f"diff --git {before} {after}"]
    if added:
        lines.append(f"new file mode {new.mode:06o}")
    elif deleted:
        lines.append(f"deleted file mode {old.mode:06o}")
    elif old.mode != new.mode:
        lines += [f"old mode {old.mode:06o}", f"new mode {new.mode:06o}"]
    if old.id != new.id:
        lines.append(f"index {str(old.id)[:7]}..{str(new.id)[:7]}")
        before, after = "/dev/null" if added else before, "/dev/null" if deleted else after
        start = patch.data.find(b"\n@@ ")
        if start >= 0:
            hunks = patch.data[start + 1 :].decode("utf-8", "replace").removesuffix("\n")
            lines += [f"--- {before}", f"+++ {after}", hunks]
        elif delta.is_binary or not (added or deleted):  # an empty file has no hunks either
            lines.append(f"Binary files {before} and {after} differ")
    return "\n".join(lines) + "\n"


def _name(side: str, path: str) -> str:
    shown = f"{side}/{path}".encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    plain = shown.isprintable() and '"' not in shown and "\\" not in shown
    return shown if plain else json.dumps(shown, ensure_ascii=False)
