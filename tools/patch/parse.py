"""Parser for unified diffs of models. It does not rely on headers, counts or surrounding text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from tools.patch.errors import PatchError
from tools.patch.fences import dedent, unfence

Kind = Literal[" ", "-", "+"]


class Line(NamedTuple):
    """One line of a hunk. `bare` means that its prefix is missing, `end` that no line feed follows it."""

    kind: Kind
    text: str
    bare: bool = False
    end: bool = False


@dataclass(frozen=True, slots=True)
class Hunk:
    """One hunk as written. `start` is a line of the file from 1, or None if the header names none."""

    number: int
    start: int | None
    counts: tuple[int, int] | None
    section: str
    lines: tuple[Line, ...]


@dataclass(slots=True)
class FilePatch:
    """The part of a diff about one file. A path is None for /dev/null. `mode` is git's, such as 100755."""

    old: str | None
    new: str | None
    mode: str = ""
    renamed: bool = False
    copied: bool = False
    created: bool = False
    deleted: bool = False
    hunks: list[Hunk] = field(default_factory=list)


MOST_LINES = 200_000
"""The most lines of a diff, or of a reply. No model writes as many."""

_NUMBERS = re.compile(r"^@@+\s*-\s*(\d+)(?:\s*,\s*(\d+))?\s*\+\s*(\d+)(?:\s*,\s*(\d+))?\s*(?:@@+)?(.*)")
_GIT = re.compile(
    r'^diff --git (?:"(?:a/)?((?:[^"\\]|\\.)+)" "(?:b/)?((?:[^"\\]|\\.)+)"\s*$'
    r'|(?!")(?:a/)?(.+?) (?:b/)?(.+)$)'
)
_NOTE = re.compile(
    r"index [0-9a-f]{4,}|(?:old|new|deleted file|new file) mode |(?:dis)?similarity index "
    r"|(?:copy|rename) (?:from|to) "
)
_STAMP = re.compile(r"\t.*|(?<!\s)\s+(?:\d{4}-\d\d-\d\d[ T]\d\d:\d\d.*|\(\w{1,40}(?: \w{1,40}){0,2} ?\)\s*$)")


def parse(diff: str) -> list[FilePatch]:
    """Read the hunks of every file from a reply, which may contain fences and prose."""
    text = diff.removeprefix("\ufeff")
    lines = text.split("\n")
    if len(lines) > MOST_LINES:
        raise PatchError(f"the diff has more than {MOST_LINES:,} lines: send a smaller one")
    if lines and not lines[-1]:
        lines.pop()
    # Headers with carriage returns mean that the whole reply has them. Otherwise they belong to the content.
    if any(line.startswith(("--- ", "+++ ", "@@")) and line.endswith("\r") for line in lines):
        lines = [line.removesuffix("\r") for line in lines]
    inside, is_open = unfence(lines)
    patches = _Reader(dedent(inside)).read()
    if not text.endswith("\n") and _breaks_off(patches, is_open):
        raise PatchError("the diff breaks off in the middle: send it again, whole")
    if not patches:
        raise PatchError("no unified diff was found: write '--- a/path', '+++ b/path' and '@@' lines")
    return patches


def _breaks_off(patches: Sequence[FilePatch], is_open: bool) -> bool:
    """Return whether a text without final line feed ends within the added lines of its last hunk."""
    if not patches or not patches[-1].hunks or patches[-1].hunks[-1].lines[-1].kind != "+":
        return False
    last = patches[-1].hunks[-1]
    old, new = counted(last.lines)
    if last.counts is None or is_open:
        return is_open and last.counts != (old, new)
    return last.counts[1] - new > last.counts[0] - old >= 1


def _path(text: str) -> str | None:
    """Return a header's path without time stamps, remarks and quotes. None for /dev/null."""
    text = _STAMP.sub("", text.strip(" ")).strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`":
        text = _unquote(text[1:-1]) if text[0] == '"' else text[1:-1]
    return None if text in ("/dev/null", "dev/null") else text


def _unquote(text: str) -> str:
    """Undo git's C-style quoting of a path."""
    if "\\" not in text:
        return text
    plain = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8) & 255), text)
    plain = re.sub(r'\\(["\\])', r"\1", plain)
    try:
        return plain.encode("latin-1").decode()
    except UnicodeError:
        return text


class _Reader:
    """A reader that goes over the lines once. Their surroundings tell headers from content."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines
        self.patches: list[FilePatch] = []
        self.header: tuple[int | None, tuple[int, int] | None, str] | None = None
        self.body: list[Line] = []
        self.old = self.new = 0  # lines of the body, which are too many to be counted for each header

    def read(self) -> list[FilePatch]:
        i = 0
        while i < len(self.lines):
            i += self._step(i, self.lines[i])
        self._close()
        return [
            patch
            for patch in self.patches
            if patch.hunks or patch.renamed or patch.copied or patch.created or patch.deleted or patch.mode
        ]

    def _step(self, i: int, line: str) -> int:
        """Read the line at i. Return how many lines were used."""
        if line.startswith("diff --git "):
            self._git(line)
        elif self._is_pair(i):
            self._file(_path(line[4:]), _path(self.lines[i + 1][4:]))
            return 2
        elif line.startswith(("--- ", "+++ ")) and self._at(i + 1).startswith("@@"):
            self._file(_path(line[4:]), _path(line[4:]))
        elif line.startswith("@@"):
            self._hunk(line)
        elif line.startswith("***") and self._envelope(line):
            pass
        elif self.header is None and self.patches and _NOTE.match(line):
            self._note(line)
        else:
            self._content(line)
        return 1

    def _at(self, i: int) -> str:
        return self.lines[i] if i < len(self.lines) else ""

    def _is_pair(self, i: int) -> bool:
        """Return whether `---` and `+++` are a header here, not a removed and an added line."""
        if not (self.lines[i].startswith("--- ") and self._at(i + 1).startswith("+++ ")):
            return False
        if self.header is None or self._at(i + 2).startswith("@@") or self._met():
            return True
        # Comments of SQL and Lua begin with `--`, so a removed one looks like a header.
        old, new = _path(self.lines[i][4:]), _path(self.lines[i + 1][4:])
        same = old is None or new is None or old.removeprefix("a/") == new.removeprefix("b/")
        return same and self.header[1] is None and ("." in f"{old}{new}" or "/" in f"{old}{new}")

    def _met(self) -> bool:
        """Return whether the open hunk already has as many lines as its header says."""
        counts = self.header[1] if self.header else None
        return counts is not None and counts == (self.old, self.new)

    def _git(self, line: str) -> None:
        names = _GIT.match(line)
        old, new = (names[1] or names[3], names[2] or names[4].rstrip()) if names else (None, None)
        self._file(f"a/{old}" if old else None, f"b/{new}" if new else None)

    def _file(self, old: str | None, new: str | None) -> None:
        self._close()
        last = self.patches[-1] if self.patches else None
        if last and not last.hunks and (old, new) != (None, None) and self._same(last, old, new):
            if not (last.renamed or last.copied):
                last.old, last.new = old, new
        else:
            self.patches.append(FilePatch(old, new))

    @staticmethod
    def _same(last: FilePatch, old: str | None, new: str | None) -> bool:
        """Return whether a `---` header repeats the `diff --git` line before it."""
        known = {name.removeprefix("a/").removeprefix("b/") for name in (last.old, last.new) if name}
        return {name.removeprefix("a/").removeprefix("b/") for name in (old, new) if name} <= known

    def _note(self, line: str) -> None:
        patch = self.patches[-1]
        if line.startswith(("new file mode ", "new mode ")):
            patch.created = patch.created or line.startswith("new file")
            patch.mode = line.split()[-1]
        elif line.startswith("deleted file mode"):
            patch.deleted = True
        elif move := re.match(r"(rename|copy) (from|to) (.*)", line):
            patch.renamed, patch.copied = patch.renamed or move[1] == "rename", move[1] == "copy"
            if move[2] == "from":
                patch.old = f"a/{_path(move[3])}"
            else:
                patch.new = f"b/{_path(move[3])}"

    def _hunk(self, line: str) -> None:
        self._close()
        numbers = _NUMBERS.match(line)
        if numbers:
            # Nine digits at most, because a reply can contain a number of any length.
            counts = int((numbers[2] or "1")[:9]), int((numbers[4] or "1")[:9])
            self.header = int(numbers[1][:9]), counts, numbers[5].strip()
        else:
            self.header = None, None, re.sub(r"^@@+|@@+$|\.\.\.", "", line.strip()).strip(" @.")
        if not self.patches:
            self.patches.append(FilePatch("", ""))

    def _envelope(self, line: str) -> bool:
        """Read a line of the format `*** Update File: path`. Return whether the line belongs to it."""
        match = re.match(
            r"\*\*\* (Begin Patch|End Patch|End of File|(?:Update|Add|Delete) File: (.*))$", line.rstrip()
        )
        if not match:
            return False
        verb, name = match[1].partition(" ")[0], match[2]
        if verb != "End" or "Patch" in line:
            self._close()
        if name:
            self.patches.append(
                FilePatch(
                    None if verb == "Add" else name,
                    None if verb == "Delete" else name,
                    deleted=verb == "Delete",
                )
            )
            if verb == "Add":
                self.header = None, None, ""
        return True

    def _content(self, line: str) -> None:
        patch = self.patches[-1] if self.patches else None
        if self.header is None:
            if patch is None or patch.hunks or patch.deleted or line[:1] not in (" ", "+", "-"):
                return
            self.header = None, None, ""
        if self.body and line.startswith("\\ No newline"):
            self.body[-1] = self.body[-1]._replace(end=True)
        elif line[:1] == "+" or line[:1] == "-" or line[:1] == " ":
            self._append(Line(line[0], line[1:]))  # type: ignore[arg-type]
        else:
            self._append(Line(" ", line, bare=True))

    def _append(self, line: Line) -> None:
        self.body.append(line)
        self.old, self.new = self.old + (line.kind != "+"), self.new + (line.kind != "-")

    def _close(self) -> None:
        """Close the open hunk."""
        if self.header is not None and any(line.kind != " " for line in self.body):
            start, counts, section = self.header
            patch = self.patches[-1]
            patch.hunks.append(Hunk(len(patch.hunks) + 1, start, counts, section, _trim(self.body, counts)))
        self.header, self.body, self.old, self.new = None, [], 0, 0


def counted(lines: Sequence[Line]) -> tuple[int, int]:
    """Count old and new lines, as a hunk's header does."""
    old = sum(line.kind != "+" for line in lines)
    return old, len(lines) - sum(line.kind == "-" for line in lines)


def _trim(lines: list[Line], counts: tuple[int, int] | None) -> tuple[Line, ...]:
    """Remove the empty lines after a hunk, except those that its header counts."""
    end = len(lines)
    old, new = counted(lines)
    while end and lines[end - 1].bare and not lines[end - 1].text.strip() and counts != (old, new):
        end, old, new = end - 1, old - 1, new - 1
    return tuple(lines[:end])
