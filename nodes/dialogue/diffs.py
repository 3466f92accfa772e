"""Changes as agents read them: unified diffs that show the definitions around each hunk."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from nodes.dialogue.excerpts import CHARS_A_TOKEN, cut_tokens, enclosing, window
from tools.outline import Definition, definitions
from tools.workspace import Workspace

MARGIN = 8
"""Lines shown on either side of a change that lies in no definition, or in a long one."""

MOST_PARSED = 40
"""Changed files whose definitions are looked for."""

MOST_PLACES = 4
"""Failing lines of one file that are shown."""

# pytest's `path:12: Error`, and the `File "path", line 12` of a traceback.
_PLACE = re.compile(r"(?<![\w./-])(?:/workspace/)?([\w./-]{1,200}\.\w{1,8})(?::|\", line )(\d{1,7})\b")
_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", re.MULTILINE)
_FILE_OR_HUNK = re.compile(rf"^\+\+\+ b/(?P<path>.+)$|{_HUNK.pattern}", re.MULTILINE)


def shown_change(workspace: Workspace, base: str, head: str, tokens: int) -> str:
    """Return a change within `tokens`, each hunk with the definitions around it as far as there is room."""
    diffs = workspace.diffs(base, head)
    room = tokens * CHARS_A_TOKEN - sum(map(len, diffs.values()))
    if room <= 0:
        return cut_tokens("".join(diffs.values()), tokens)
    modified = [change.path for change in workspace.changes(base, head) if change.status == "modified"]
    read = {path: workspace.text(head, path) for path in modified[:MOST_PARSED]}
    texts = {path: text for path, text in read.items() if text is not None}
    known = definitions(texts)
    shown = []
    for path, diff in diffs.items():
        wide = widened(diff, texts[path], known[path]) if path in texts else diff
        grown = len(wide) - len(diff)
        shown.append(wide if grown <= room else diff)
        room -= grown if grown <= room else 0
    return cut_tokens("".join(shown), tokens)


def lines_shown(diff: str) -> Mapping[str, Sequence[range]]:
    """Return the lines of the new files that a diff shows, by path."""
    shown = dict[str, list[range]]()
    path = ""
    for match in _FILE_OR_HUNK.finditer(diff):
        path = match["path"] or path
        if match[4]:
            first, count = int(match[4]), int(match[5] or 1)
            shown.setdefault(path, []).append(range(first, first + count))
    return shown


def failing_lines(output: str, files: Collection[str], change: str) -> dict[str, list[range]]:
    """Return the lines of files that an output names, without those that the text of a change shows."""
    shown = lines_shown(change)
    places = dict[str, list[range]]()
    for path, number in _PLACE.findall(output):
        line = int(number)
        if path in files and not any(line in lines for lines in shown.get(path, ())):
            known = places.setdefault(path, [])
            if len(known) < MOST_PLACES and range(line, line + 1) not in known:
                known.append(range(line, line + 1))
    return places


@dataclass
class _Hunk:
    """Adjacent lines of a diff. `first` and `last` are lines of the new text, `old` is one of the old."""

    old: int
    first: int
    last: int
    body: list[str]
    shown: range = field(default=range(0))


def widened(diff: str, text: str, known: Sequence[Definition]) -> str:
    """Return one file's diff with more context: `text` is the new file, `known` its definitions."""
    header, hunks = _hunks(diff)
    lines = text.split("\n")  # not splitlines: git ends lines at newlines alone
    end = len(lines) - (lines[-1] == "")
    if not hunks or any(hunk.last > end for hunk in hunks):
        return diff
    blocks = list[_Hunk]()
    for hunk in hunks:
        # Lines between two hunks are equal in both texts, so the new one has them all.
        shown = _window(hunk, known, end)
        if blocks and shown.start <= blocks[-1].shown.stop:
            _extend(blocks[-1], hunk.first - 1, lines)
            blocks[-1].body += hunk.body
            blocks[-1].last = hunk.last
            blocks[-1].shown = range(blocks[-1].shown.start, max(blocks[-1].shown.stop, shown.stop))
        else:
            before = [f" {line}" for line in lines[shown.start - 1 : hunk.first - 1]]
            old = hunk.old - len(before)
            blocks.append(_Hunk(old, shown.start, hunk.last, before + hunk.body, shown))
    for block in blocks:
        _extend(block, block.shown.stop - 1, lines)
    return "\n".join([*header, *(line for block in blocks for line in _written(block, known))]) + "\n"


def _hunks(diff: str) -> tuple[list[str], list[_Hunk]]:
    """Return the lines before the first hunk of one file's diff, and its hunks."""
    header, hunks = list[str](), list[_Hunk]()
    for line in diff.removesuffix("\n").split("\n"):
        if match := _HUNK.match(line):
            old, old_count, new, new_count = (int(part or 1) for part in match.groups())
            first = new if new_count else new + 1
            hunks.append(_Hunk(old if old_count else old + 1, first, first + new_count - 1, []))
        else:
            (hunks[-1].body if hunks else header).append(line)
    return header, hunks


def _window(hunk: _Hunk, known: Sequence[Definition], end: int) -> range:
    """Return the lines that are shown around a hunk, with at least its own."""
    start, stop, number = hunk.first, hunk.last + 1, hunk.first
    for line in hunk.body:
        if not line.startswith(" "):
            place = range(number, number + 1)
            around = window(place, known)
            if around == place:
                around = range(number - MARGIN, number + MARGIN + 1)
            start, stop = min(start, around.start), max(stop, around.stop)
        number += not line.startswith(("-", "\\"))
    return range(max(start, 1), min(stop, end + 1))


def _extend(block: _Hunk, last: int, lines: Sequence[str]) -> None:
    """Add the lines of the new text up to `last`, which no hunk changes."""
    block.body += [f" {line}" for line in lines[block.last : last]]
    block.last = max(block.last, last)


def _written(block: _Hunk, known: Sequence[Definition]) -> list[str]:
    old = sum(not line.startswith(("+", "\\")) for line in block.body)
    new = sum(not line.startswith(("-", "\\")) for line in block.body)
    inside = enclosing(block.first, known)
    title = f" {inside.symbol}" if inside and inside.first < block.first else ""
    first = block.first if new else block.first - 1
    return [f"@@ -{block.old if old else block.old - 1},{old} +{first},{new} @@{title}", *block.body]
