"""The new text of a file from its placed hunks, in the file's own indentation and line ends."""

from collections.abc import Sequence

from tools.patch.errors import PatchError
from tools.patch.indent import Adapt, Pair, follow, in_units
from tools.patch.place import Spot
from tools.patch.recount import apply_change, recount
from tools.patch.source import Source, indent_of


def write(source: Source, spots: Sequence[Spot]) -> str:
    """Apply all hunks at once to the original lines."""
    gone: set[int] = set()
    added: dict[int, list[str]] = {}
    newline = source.newline
    for spot, adapt in zip(spots, _adapters(source, spots), strict=True):
        removed, inserted = _edits(spot, source, adapt)
        # A reply may contain the same hunk twice.
        if removed <= gone and all(added.get(at) == lines for at, lines in inserted.items()):
            continue
        if removed & gone or inserted.keys() & added.keys():
            raise PatchError("it changes the same lines as another hunk, differently", hunk=spot.hunk.number)
        gone |= removed
        added |= inserted
        newline = _newline(source, spot, newline)
    lines = apply_change(source.lines, recount(source.lines, gone, added))
    grown = len(source.lines) in added and not all(spot.exact for spot in spots)
    if grown and not newline:
        _end_in_nothing(source, lines, len(added[len(source.lines)]))
    return source.bom + "\n".join(lines) + ("\n" if newline and lines else "")


def _end_in_nothing(source: Source, lines: list[str], new: int) -> None:
    """Add a line end to the former last line, and remove it from the new last line."""
    end = source.line_end(len(source.lines))
    before = len(lines) - new - 1
    if before >= 0 and not lines[before].endswith("\r"):
        lines[before] += end
    lines[-1] = lines[-1].removesuffix("\r")


def _newline(source: Source, spot: Spot, newline: bool) -> bool:
    """Return whether the file ends in a line feed. A hunk that changes the last line can decide that."""
    if not spot.lines:
        return newline
    old = [(line, place) for line, place in zip(spot.lines, spot.where, strict=True) if line.kind != "+"]
    if old and old[-1][1] != len(source.lines) - 1:
        return newline
    new = [line for line in spot.lines if line.kind != "-"]
    if new and new[-1].kind == "+" and new[-1].end:
        return False
    return newline or any(line.end and line.kind == "-" for line, _ in old)


def _edits(spot: Spot, source: Source, adapt: Adapt) -> tuple[set[int], dict[int, list[str]]]:
    """Return the lines that a hunk removes, and those that it adds before each line of the file."""
    gone: set[int] = set()
    added: dict[int, list[str]] = {}
    at = next((place for place in spot.where if place is not None), 0)
    for line, place in zip(spot.lines, spot.where, strict=True):
        if line.kind == "+":
            at = at if place is None else place
            text = line.text
            if not spot.exact:
                text = text.removesuffix("\r") + source.line_end(at)
            indent = indent_of(text)
            added.setdefault(at, []).append(adapt(indent) + text[len(indent) :] if text.strip() else text)
        elif place is not None:
            at = place + 1
            if line.kind == "-":
                gone.add(place)
    return gone, added


def _adapters(source: Source, spots: Sequence[Spot]) -> list[Adapt]:
    """Return a function for each hunk that gives added lines the file's indentation."""
    own = [follow(*_pairs(source, [spot])) for spot in spots]
    if all(spot.exact for spot in spots):  # a diff that fits is applied as it is written
        return [str for _ in spots]
    common = follow(*_pairs(source, spots))
    if common is None:
        added = [indent_of(line.text) for spot in spots for line in spot.lines if line.kind == "+"]
        common = in_units(added, map(indent_of, source.lines))
    return [adapt or (str if common("") else common) for adapt in own]


def _pairs(source: Source, spots: Sequence[Spot]) -> tuple[list[Pair], list[Pair]]:
    """Pair the indentation of removed and of context lines in the diff with that in the file."""
    pairs: dict[str, list[Pair]] = {"-": [], " ": []}
    for spot in spots:
        for line, place in zip(spot.lines, spot.where, strict=True):
            if place is not None and line.kind in pairs and line.text.strip() and not line.bare:
                pairs[line.kind].append((indent_of(line.text), indent_of(source.lines[place])))
    return pairs["-"], pairs[" "]
