"""Indentation of added lines, learned from the lines that a hunk shares with the file."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

Pair = tuple[str, str]
Adapt = Callable[[str], str]


def follow(removed: Iterable[Pair], context: Iterable[Pair]) -> Adapt | None:
    """Return a function from the diff's indentation to the file's, learned from pairs (diff, file).

    None when no shared line is indented.
    """
    groups = [list(removed), list(context)]
    pairs = [pair for group in groups for pair in group]
    if not any(map(any, pairs)):
        return None
    moved = [pair for pair in pairs if pair[0] != pair[1]]
    shifted = any(_is_shift(*pair) for pair in moved)
    if not moved or any(_same(group, shifted) for group in groups) or _lost_prefix(groups[1]):
        return str
    votes: dict[str, Counter[str]] = {}
    for diff, file in pairs:
        votes.setdefault(diff, Counter())[file] += 1
    known = {diff: files.most_common(1)[0][0] for diff, files in votes.items()}
    return lambda indent: known.get(indent, _derived(indent, known))


def in_units(wanted: Iterable[str], have: Iterable[str]) -> Adapt:
    """Convert between tabs and blanks, if the diff uses only one kind and the file only the other."""
    wanted, have = {indent for indent in wanted if indent}, Counter(indent for indent in have if indent)
    tabs, blanks = (all(set(indent) == {char} for indent in wanted) for char in "\t ")
    if wanted and have and tabs and not any("\t" in indent for indent in have):
        # A rare indentation is an alignment rather than a unit.
        unit = min(have, key=lambda indent: (have[indent] < max(have.values()) / 4, len(indent)))
        return lambda indent: unit * len(indent)
    if wanted and have and blanks and all(set(indent) == {"\t"} for indent in have):
        size = min(map(len, wanted))
        return lambda indent: "\t" * (len(indent) // size) + " " * (len(indent) % size)
    return str


def _same(pairs: Sequence[Pair], shifted: bool) -> bool:
    """Return whether most lines kept their indentation. Unindented lines count for a shift only."""
    same = sum(diff == file and (shifted or diff != "") for diff, file in pairs)
    return same > 0 and 2 * same >= sum(diff != file or shifted or diff != "" for diff, file in pairs)


def _is_shift(diff: str, file: str) -> bool:
    """Return whether two indentations differ by some blanks, not by the size or kind of their unit."""
    short, long = sorted(map(len, (diff, file)))
    return not short or (not set(diff + file) - {" "} and long % short != 0)


def _lost_prefix(context: list[Pair]) -> bool:
    """Return whether context lines lost the blank that is their prefix, while added lines have theirs."""
    moved = [pair for pair in context if pair[0] != pair[1]]
    return bool(moved) and all(file == diff + " " for diff, file in moved)


def _derived(indent: str, known: dict[str, str]) -> str:
    """Derive the indentation of a depth that no shared line has, from a shift, units or the nearest depth."""
    if len(known) == 1 and indent in known.values():
        return indent
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
    """Return one step of indentation in the diff and in the file."""
    steps = [(diff, file) for diff, file in known.items() if diff and file]
    if not steps:
        return "    ", "    "
    diff, file = min(steps, key=lambda pair: len(pair[0]))
    if set(diff) == {"\t"} and not len(file) % len(diff):
        return "\t", file[: len(file) // len(diff)]
    if set(file) == {"\t"} and not len(diff) % len(file):
        return diff[: len(diff) // len(file)], "\t"
    return diff, file
