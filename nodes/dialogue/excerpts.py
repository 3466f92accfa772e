"""Excerpts: texts cut to a length, and files shown around the places that matter."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from tools.outline import Definition

CHARS_A_TOKEN = 4

MARGINS = (12, 3)
"""Lines shown on either side of a place in a file that is too long to be shown whole, the most that fit."""

TOP = range(1, 25)
"""The place of a file that is read from its start."""

LEAST_GAP = 2
"""A gap of so few lines is shown, as the words in its place would be as long."""

WHOLE_LINES = 80
"""A definition of so many lines is shown whole around a place in it."""

HEAD_LINES = 30
"""Lines of a longer definition that is named."""

WHOLE_FUNCTION_LINES = 200
"""A function of so many lines is shown whole where it is named."""

_NAME = re.compile(r"(?<![\w/.])[A-Za-z_][\w.]{2,60}\b")
_QUOTED = re.compile(r"`([A-Za-z_][\w.]{1,60})(?:\(\))?`")
_DEFINES = "def|class|func|function|fn|type|interface|struct|enum|trait|const|let|var"
_IMPORT = re.compile(r"^\s*(?:import|from|use|const .*\brequire\()\b")
_LONG_LINE = 300
_MOST_USES = 4  # of a name that a file does not define
_MOST_NAMESAKES = 4  # definitions of a name that still says which one is meant


def cut(text: str, limit: int, head: float = 0.5) -> str:
    """Return `text` within `limit` characters, cut at line ends. A line in its place says what is missing.

    `head` is the share of the start in what is left.
    """
    if len(text) <= limit:
        return text
    lines = text.splitlines(keepends=True)
    first, last = 0, len(lines)
    start = end = 0
    while first < last:
        at_start = start * (1 - head) <= end * head
        size = len(lines[first if at_start else last - 1])
        if start + end + size > limit:
            break
        if at_start:
            start, first = start + size, first + 1
        else:
            end, last = end + size, last - 1
    if first == 0 or last == len(lines):  # one line is longer than everything that may be shown
        before = int(limit * head)
        after = limit - before
        return f"{text[:before]}\n[… {len(text) - limit:,} characters left out …]\n{text[-after:]}"
    missing = sum(map(len, lines[first:last]))
    note = f"[… lines {first + 1} to {last} of {len(lines)} left out, {missing:,} characters …]\n"
    return "".join([*lines[:first], note, *lines[last:]])


def cut_tokens(text: str, tokens: int) -> str:
    """Return `text` within `tokens`, with more of its start than of its end."""
    return cut(text, tokens * CHARS_A_TOKEN, head=2 / 3)


def cut_end(text: str, tokens: int) -> str:
    """Return the start of `text` within `tokens`, cut at the end of a line."""
    if len(text) <= (limit := tokens * CHARS_A_TOKEN):
        return text
    start = text[:limit].rpartition("\n")[0] or text[:limit]
    return f"{start}\n[… {len(text) - len(start):,} characters left out]"


def around(text: str, places: Sequence[range], tokens: int, known: Sequence[Definition] = ()) -> str:
    """Return `text` whole if it fits, else the lines near `places` (line numbers from 1).

    Of `known`, the definitions of the text, those that hold a place are shown whole, each below the first
    line of its class.
    """
    if len(text) <= tokens * CHARS_A_TOKEN or not places:
        return cut_tokens(text, tokens)
    lines = [f"{line}\n" for line in text.removesuffix("\n").split("\n")]  # as compilers count them
    windows = [window(place, known) for place in places]
    near = _near(lines, windows, tokens * CHARS_A_TOKEN)
    near |= {each.first for each in known for place in windows if each.first < place.start <= each.last}
    shown = [n for n in range(1, len(lines) + 1) if n in near]
    parts: list[str] = []
    for before, number in pairwise([0, *shown, len(lines) + 1]):
        if number - before - 1 > LEAST_GAP:
            parts.append(f"[… lines {before + 1} to {number - 1} left out …]\n")
        else:
            parts += lines[before : number - 1]
        if number <= len(lines):
            parts.append(lines[number - 1])
    return cut_tokens("".join(parts), tokens + 100)


def window(place: range, known: Sequence[Definition]) -> range:
    """Return the lines of the definition around a place, the place itself without one of some lines."""
    inner = enclosing(place.start, known)
    if inner is None or inner.last - inner.first >= WHOLE_LINES:
        return place
    return range(min(inner.first, place.start), max(inner.last + 1, place.stop))


def enclosing(line: int, known: Sequence[Definition]) -> Definition | None:
    """Return the innermost definition that holds a line."""
    holding = (each for each in known if each.first <= line <= each.last)
    return max(holding, key=lambda each: (each.first, -each.last), default=None)


def _near(lines: Sequence[str], places: Sequence[range], room: int) -> set[int]:
    """Return the numbers of lines around the places: around all of them if they fit, else the first ones."""
    near: set[int] = set()
    for margin in MARGINS:
        near = {n for place in places for n in range(place.start - margin, place.stop + margin)}
        if _size(lines, near) <= room:
            return near
    near = set()
    for place in places:
        more = near | {*range(place.start - MARGINS[-1], place.stop + MARGINS[-1])}
        if near and _size(lines, more) > room:
            break
        near = more
    return near


def _size(lines: Sequence[str], numbers: Iterable[int]) -> int:
    return sum(len(lines[number - 1]) for number in numbers if 1 <= number <= len(lines))


def symbols(query: str) -> list[str]:
    """Return the names of code in a text, as they come, each part of `Class.method` by itself.

    Names such as `__call__` are in every class, and name nothing.
    """
    parts = [part for name in _dotted(query) for part in name.split(".") if not part.startswith("__")]
    return list(dict.fromkeys(part for part in parts if len(part) > 2))


def _dotted(query: str) -> list[str]:
    quoted = set(_QUOTED.findall(query))
    return [name for name in _NAME.findall(query) if _is_symbol(name) or name in quoted]


def named_places(text: str, query: str, known: Sequence[Definition] = ()) -> list[range]:
    """Return the lines that define what `query` names, or use it. What is named first comes first.

    Of `known`, the definitions of the text, those of `Class.method` come first, and stand for both names.
    """
    by_name = defaultdict[str, list[Definition]](list)
    for each in known:
        for name in {each.symbol, each.symbol.rpartition(".")[2], ".".join(each.symbol.split(".")[-2:])}:
            by_name[name].append(each)
    names = symbols(query)
    whole = [name for name in dict.fromkeys(_dotted(query)) if "." in name and name in by_name]
    methods = {name.rpartition(".")[2] for name in whole}
    single = [name for name in names if name not in methods and name in by_name]
    telling = [*whole, *(name for name in single if len(by_name[name]) <= _MOST_NAMESAKES)]
    if found := [each for name in telling or single for each in by_name[name]]:
        return [_lines_of(each, known) for each in dict.fromkeys(found)]
    return _written_places(text, names)


def imports(text: str) -> list[range]:
    """Return the lines of the imports at the top of a file, as one place, none without imports."""
    lines = text.split("\n", HEAD_LINES)[:HEAD_LINES]
    numbers = [number for number, line in enumerate(lines, 1) if _IMPORT.match(line[:_LONG_LINE])]
    return [range(numbers[0], numbers[-1] + 1)] if numbers else []


def _lines_of(definition: Definition, known: Sequence[Definition]) -> range:
    """Return the lines of a definition, of a long one the first. Most classes are longer than functions."""
    stop = definition.last + 1
    holds_others = any(definition.first < each.first <= definition.last for each in known)
    is_long = stop - definition.first > (WHOLE_LINES if holds_others else WHOLE_FUNCTION_LINES)
    return range(definition.first, definition.first + HEAD_LINES if is_long else stop)


def _written_places(text: str, names: Sequence[str]) -> list[range]:
    """Return the lines of names in a text whose definitions are not known."""
    lines = list(enumerate(text.split("\n"), 1))
    places: list[range] = []
    for name in names:
        near = [(number, line[:_LONG_LINE]) for number, line in lines if name in line]
        word = rf"(?<![\w.]){re.escape(name)}\b"
        assigned = rf"^\s*{word}\s*(?::[^=]*)?=(?!=)"
        defines = re.compile(rf"^\s*(?:[\w@]+\s+){{0,4}}(?:{_DEFINES})\s+{word}|{assigned}")
        found = [number for number, line in near if defines.search(line)]
        if not found:
            # An import tells less of a name than the code that uses it.
            uses = [(number, bool(_IMPORT.match(line))) for number, line in near if re.search(word, line)]
            found = sorted(number for number, _ in sorted(uses, key=lambda use: use[1])[:_MOST_USES])
        places += [range(number, number + 1) for number in found]
    return places


def _is_symbol(name: str) -> bool:
    """Return whether a word looks like a name in code rather than one of a language."""
    return "_" in name.strip("_") or "." in name or any(map(str.isupper, name[1:])) or name.isupper()
