"""The new text of a file from its placed hunks: the file's own lines, indentation and line ends win."""

from collections.abc import Callable, Sequence

from tools.patch.errors import PatchError
from tools.patch.indent import follow, indents
from tools.patch.place import Spot
from tools.patch.source import Source, indent_of


def write(source: Source, spots: Sequence[Spot]) -> str:
    """Carry out all hunks at once on the original lines."""
    gone: set[int] = set()
    added: dict[int, list[str]] = {}
    newline = source.newline
    for spot in spots:
        removed, inserted = _edits(source, spot)
        if removed <= gone and all(added.get(at) == lines for at, lines in inserted.items()):
            continue
        if removed & gone or inserted.keys() & added.keys():
            raise PatchError("it changes the same lines as another hunk, differently", hunk=spot.hunk.number)
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


def _edits(source: Source, spot: Spot) -> tuple[set[int], dict[int, list[str]]]:
    """The lines a hunk removes, and those it adds before which line of the file."""
    gone: set[int] = set()
    added: dict[int, list[str]] = {}
    at = next((place for place in spot.where if place is not None), 0)
    adapt = str if spot.exact else _adapter(source, spot)
    for line, place in zip(spot.lines, spot.where, strict=True):
        if line.kind == "+":
            at = at if place is None else place
            text = line.text if spot.exact else adapt(line.text.removesuffix("\r")) + source.line_end(at)
            added.setdefault(at, []).append(text)
        elif place is not None:
            at = place + 1
            if line.kind == "-":
                gone.add(place)
    return gone, added


def _adapter(source: Source, spot: Spot) -> Callable[[str], str]:
    """What gives an added line the file's indentation."""
    shared = [
        (line.kind, indents(line.text, source.lines[place]))
        for line, place in zip(spot.lines, spot.where, strict=True)
        if place is not None and line.kind != "+" and line.text.strip() and not line.bare
    ]
    adapt = follow(
        [pair for kind, pair in shared if kind == "-"], [pair for kind, pair in shared if kind == " "]
    )
    return lambda text: adapt(indent_of(text)) + text[len(indent_of(text)) :] if text.strip() else text
