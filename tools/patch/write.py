"""The new text of a file from its placed hunks: the file's own lines, indentation and line ends win."""

from collections.abc import Sequence

from tools.patch.errors import PatchError
from tools.patch.place import Spot
from tools.patch.source import Source


def write(source: Source, spots: Sequence[Spot]) -> str:
    """Carry out all hunks at once on the original lines."""
    gone: set[int] = set()
    added: dict[int, list[str]] = {}
    newline = source.newline
    for spot in spots:
        removed, inserted = _edits(source, spot)
        clash = removed & gone or any(at in added and added[at] != lines for at, lines in inserted.items())
        if clash:
            raise PatchError("it changes lines that another hunk changes too", hunk=spot.hunk.number)
        gone |= removed
        added |= inserted
        newline = _newline(source, spot, newline)
    lines: list[str] = []
    for i in range(len(source.lines) + 1):
        lines += added.get(i, [])
        if i < len(source.lines) and i not in gone:
            lines.append(source.lines[i])
    return source.bom + "\n".join(lines) + ("\n" if newline and lines else "")


def _newline(source: Source, spot: Spot, newline: bool) -> bool:
    return newline


def _edits(source: Source, spot: Spot) -> tuple[set[int], dict[int, list[str]]]:
    """The lines a hunk removes, and those it adds before which line of the file."""
    gone: set[int] = set()
    added: dict[int, list[str]] = {}
    at = next((place for place in spot.where if place is not None), 0)
    for line, place in zip(spot.lines, spot.where, strict=True):
        if line.kind == "+":
            text = line.text if spot.exact else line.text.removesuffix("\r") + source.line_end(at)
            added.setdefault(at, []).append(text)
        elif place is not None:
            at = place + 1
            if line.kind == "-":
                gone.add(place)
    return gone, added
