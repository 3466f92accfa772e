"""Tests near a change or a step: those that name its symbols, and those that are named as its files."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import log
from pathlib import PurePosixPath

from memory.chunks.words import words
from nodes.dialogue.excerpts import WHOLE_LINES, named_places
from tools.outline import Definition, definitions
from tools.workspace import Workspace

MOST_SEARCHED = 400
"""Test files that are read."""

MOST_TESTS = 4
"""Tests of one file that are shown."""

NAMED_BONUS = 2.0
"""Score of a test that names a symbol. A shared word scores the logarithm of its rarity."""

LEAST = 1.0
"""Lowest score of a test that is shown."""

_SYMBOL = re.compile(
    r"^(?:@@.*@@.*?|[ +-]\s*(?:\w+\s+){0,3})\b(?:def|class|func|function|fn)\s+(\w{3,})", re.MULTILINE
)


def changed_symbols(diff: str) -> list[str]:
    """Return the names of functions and classes that a diff defines or lies in."""
    return list(dict.fromkeys(_SYMBOL.findall(diff)))


def near_tests(
    workspace: Workspace,
    snapshot: str,
    tests: Sequence[str],
    symbols: Sequence[str],
    paths: Iterable[str],
    most: int,
    query: str = "",
) -> Mapping[str, Sequence[range]]:
    """Return up to `most` files with tests of the symbols, the nearest first, each with the tests' lines.

    A file that is named as one of `paths` counts twice, and is near without a symbol as well. Of the tests
    in a file, those come first that share words with `query`.
    """
    texts = {path: workspace.text(snapshot, path) or "" for path in tests[:MOST_SEARCHED]}
    named = re.compile(rf"\b(?:{'|'.join(map(re.escape, symbols))})\b") if symbols else None
    counts = {path: sum(1 for _ in named.finditer(text)) if named else 0 for path, text in texts.items()}
    stems = {PurePosixPath(path).stem.lower().strip("_") for path in paths}
    own = {path: any(stem and stem in PurePosixPath(path).stem.lower() for stem in stems) for path in tests}
    ranked = sorted(tests, key=lambda path: (-counts.get(path, 0) * (2 if own[path] else 1), path))
    near = [path for path in ranked if counts.get(path) or own[path]][:most]
    known = definitions({path: texts.get(path, "") for path in near})
    backup = " ".join(f"`{name}`" for name in symbols)
    return {
        path: _best(texts.get(path, ""), known[path], named, query)
        or named_places(texts.get(path, ""), backup)
        for path in near
    }


def _best(text: str, known: Sequence[Definition], named: re.Pattern[str] | None, query: str) -> list[range]:
    """Return the functions of a test file that name a symbol, or share telling words with `query`."""
    lines = text.split("\n")
    asked = set(words(query))
    shared = dict[range, set[str]]()
    bonus = dict[range, float]()
    for each in known:
        place = range(each.first, each.last + 1)
        body = "\n".join(lines[each.first - 1 : each.last])
        if len(place) <= WHOLE_LINES:
            shared[place] = asked & set(words(body))
            bonus[place] = NAMED_BONUS if named and named.search(body) else 0.0
    # A word that every test has, such as the name of the class, tells nothing.
    documents = Counter(word for terms in shared.values() for word in terms)
    score = {
        place: bonus[place] + sum(log(len(shared) / documents[word]) for word in terms)
        for place, terms in shared.items()
    }
    best = sorted(shared, key=lambda place: (-score[place], place.start))
    return [place for place in best if score[place] >= LEAST][:MOST_TESTS]
