"""The new text of a file from its placed hunks: the file's own lines, indentation and line ends win."""

from collections.abc import Sequence

from tools.patch.errors import PatchError
from tools.patch.indent import Adapt, Pair, follow, in_units
from tools.patch.place import Spot
from tools.patch.recount import carry_out, recount
from tools.patch.source import Source, indent_of


def write(source: Source, spots: Sequence[Spot]) -> str:
    """Carry out all hunks at once on the original lines."""
    gone: set[int] = set()
    added: dict[int, list[str]] = {}
    newline = source.newline
    for spot, adapt in zip(spots, _adapters(source, spots), strict=True):
        removed, inserted = _edits(spot, source, adapt)
        if removed <= gone and all(added.get(at) == lines for at, lines in inserted.items()):
            continue
        if removed & gone or inserted.keys() & added.keys():
            raise PatchError("it changes the same lines as another hunk, differently", hunk=spot.hunk.number)
        gone |= removed
        added |= inserted
        newline = _newline(source, spot, newline)
    lines = carry_out(source.lines, recount(source.lines, gone, added))
    grown = len(source.lines) in added and not all(spot.exact for spot in spots)
    if grown and not newline:
        _end_in_nothing(source, lines, len(added[len(source.lines)]))
    return source.bom + "\n".join(lines) + ("\n" if newline and lines else "")


def _end_in_nothing(source: Source, lines: list[str], new: int) -> None:
    """Give the file's former last line the line end it now needs, and the new last line none."""
    end = source.line_end(len(source.lines))
    before = len(lines) - new - 1
    if before >= 0 and not lines[before].endswith("\r"):
        lines[before] += end
    lines[-1] = lines[-1].removesuffix("\r")


def _newline(source: Source, spot: Spot, newline: bool) -> bool:
    """Whether the file ends in a line feed: as before, unless the hunk changes its last line and says so."""
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
    """The lines a hunk removes, and those it adds before which line of the file."""
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
    """For each hunk what gives its added lines the file's indentation."""
    own = [follow(*_pairs(source, [spot])) for spot in spots]
    if all(spot.exact for spot in spots):
        return [str for _ in spots]
    common = follow(*_pairs(source, spots))
    if common is None:
        added = [indent_of(line.text) for spot in spots for line in spot.lines if line.kind == "+"]
        common = in_units(added, map(indent_of, source.lines))
    return [adapt or (str if common("") else common) for adapt in own]


def _pairs(source: Source, spots: Sequence[Spot]) -> tuple[list[Pair], list[Pair]]:
    """The indentation that removed and context lines have in the diff and in the file."""
    found: dict[str, list[Pair]] = {"-": [], " ": []}
    for spot in spots:
        for line, place in zip(spot.lines, spot.where, strict=True):
            if place is not None and line.kind in found and line.text.strip() and not line.bare:
                found[line.kind].append((indent_of(line.text), indent_of(source.lines[place])))
    return found["-"], found[" "]
