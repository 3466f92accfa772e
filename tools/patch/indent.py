"""How the indentation of added lines follows from that of the lines which a hunk shares with the file."""

from collections import Counter
from collections.abc import Callable, Iterable

from tools.patch.source import indent_of

Pair = tuple[str, str]


def follow(removed: Iterable[Pair], context: Iterable[Pair]) -> Callable[[str], str]:
    """A function from the diff's indentation to the file's, learned from pairs (diff, file) of it."""
    groups = [list(removed), list(context)]
    pairs = [pair for group in groups for pair in group]
    if all(diff == file for diff, file in pairs) or any(map(_same, groups)) or _lost_prefix(groups[1]):
        return str
    votes: dict[str, Counter[str]] = {}
    for diff, file in pairs:
        votes.setdefault(diff, Counter())[file] += 1
    known = {diff: files.most_common(1)[0][0] for diff, files in votes.items()}
    return lambda indent: known.get(indent, _derived(indent, known))


def _same(pairs: list[Pair]) -> bool:
    """Whether most lines kept their indentation; those without any tell of a shift, not of other units."""
    moved = [pair for pair in pairs if pair[0] != pair[1]]
    shifted = any("" in pair for pair in moved)
    same = sum(diff == file and (shifted or diff != "") for diff, file in pairs)
    return same > 0 and same >= len(moved)


def _lost_prefix(context: list[Pair]) -> bool:
    """Whether all context lacks one blank: its prefix, while that of the added lines is there."""
    return bool(context) and all(file == diff + " " for diff, file in context)


def _derived(indent: str, known: dict[str, str]) -> str:
    """Indentation at a depth that no shared line has: by one shift, by units, or from the nearest depth."""
    if not set("".join([indent, *known, *known.values()])) - {" "}:
        shifts = {len(file) - len(diff) for diff, file in known.items()}
        if len(shifts) == 1:
            return " " * max(0, len(indent) + shifts.pop())
    if indent in known.values():
        return indent
    near = min(known, key=lambda diff: (not indent.startswith(diff), abs(len(indent) - len(diff))))
    diff_unit, file_unit = _units(known)
    size = max(1, len(diff_unit))
    steps, rest = divmod(_width(indent, diff_unit) - _width(near, diff_unit), size)
    if steps < 0:
        return known[near][: max(0, len(known[near]) + steps * len(file_unit))]
    return known[near] + file_unit * steps + " " * rest


def _width(indent: str, unit: str) -> int:
    return len(indent) if unit == "\t" else len(indent.expandtabs(4))


def _units(known: dict[str, str]) -> Pair:
    """One step of indentation in the diff and in the file."""
    steps = [(diff, file) for diff, file in known.items() if diff and file]
    if not steps:
        return "    ", "    "
    diff, file = min(steps, key=lambda pair: len(pair[0]))
    if set(diff) == {"\t"} and not len(file) % len(diff):
        return "\t", file[: len(file) // len(diff)]
    if set(file) == {"\t"} and not len(diff) % len(file):
        return diff[: len(diff) // len(file)], "\t"
    return diff, file


def indents(diff: str, file: str) -> Pair:
    """The pair that one shared line gives."""
    return indent_of(diff), indent_of(file)
