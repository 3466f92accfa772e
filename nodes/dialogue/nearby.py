"""Tests near a change or a step: those that name its symbols, and those that are named as its files."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from nodes.dialogue.excerpts import named_places
from tools.workspace import Workspace

MOST_SEARCHED = 400
"""Test files that are read."""

_SYMBOL = re.compile(
    r"^(?:@@.*@@.*?|[ +-]\s*(?:\w+\s+){0,3})\b(?:def|class|func|function|fn)\s+(\w{3,})", re.MULTILINE
)


def changed_symbols(diff: str) -> list[str]:
    """Return the names of functions and classes that a diff defines or lies in."""
    return list(dict.fromkeys(_SYMBOL.findall(diff)))


def tests_near(
    workspace: Workspace,
    snapshot: str,
    tests: Sequence[str],
    symbols: Sequence[str],
    paths: Iterable[str],
    most: int,
) -> Mapping[str, Sequence[range]]:
    """Return up to `most` tests of the symbols, with the places of their names, the nearest first.

    A test that is named as one of `paths` counts twice, and is near without a symbol as well.
    """
    query = " ".join(f"`{name}`" for name in symbols)
    texts = {path: workspace.text(snapshot, path) or "" for path in tests[:MOST_SEARCHED]}
    places = {
        path: named_places(text, query)
        for path, text in texts.items()
        if any(name in text for name in symbols)
    }
    stems = {PurePosixPath(path).stem.lower().strip("_") for path in paths}
    own = {path: any(stem and stem in PurePosixPath(path).stem.lower() for stem in stems) for path in tests}
    ranked = sorted(tests, key=lambda path: (-len(places.get(path, ())) * (2 if own[path] else 1), path))
    near = [path for path in ranked if places.get(path) or own[path]]
    return {path: places.get(path, []) for path in near[:most]}
