"""Tests near a change or a step: those that name its symbols, and those that are named as its files."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import log, log2
from pathlib import PurePosixPath

from memory.chunks.words import words
from memory.repo_index.search.query import STOP_WORDS
from nodes.dialogue.excerpts import WHOLE_LINES, imports, named_places
from tools.outline import Definition, definitions
from tools.workspace import Workspace

MOST_SEARCHED = 400
"""Test files that are read."""

MOST_PARSED = 6
"""Test files whose tests are compared one by one."""

MOST_TESTS = 5
"""Tests of one file that are shown."""

NAMED_BONUS = 1.0
"""Score of a test that names a symbol. A shared word scores its rarity and how often the query has it."""

IN_NAME = 3.0
"""Weight of a word in a test's own name or class."""

LEAST = 1.0
"""Lowest score of a test that is shown."""

SHARE = 0.6
"""Lowest score of a test that is shown, as a share of the best one's."""

STEM = 5
"""Letters from which a word counts as a part of another one, as `pickle` in `unpickled`."""

_SYMBOL = re.compile(
    r"^(?:@@[^@\n]{0,100}@@.{0,200}?|[ +-][ \t]*(?:\w{1,40}[ \t]+){0,3})\b"
    r"(?:def|class|func|function|fn)[ \t]+(\w{3,})",
    re.MULTILINE,
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
    in a file, those come first that share words with `query` or the symbols. What few tests name counts
    most. After the first test come the imports of its file, because a new test needs them.
    """
    texts = {path: workspace.text(snapshot, path) or "" for path in tests[:MOST_SEARCHED]}
    named = re.compile(rf"\b(?:{'|'.join(map(re.escape, symbols))})\b") if symbols else None
    stems = {PurePosixPath(path).stem.lower().strip("_") for path in paths}
    own = {path for path in tests if any(stem and stem in PurePosixPath(path).stem.lower() for stem in stems)}
    counts = {path: Counter(named.findall(text)) if named else Counter[str]() for path, text in texts.items()}
    score = {path: (1 + (path in own)) * points for path, points in _rarity(counts).items()}
    ranked = sorted(texts, key=lambda path: (-score[path], path not in own, path))
    candidates = [path for path in ranked if score[path] or path in own][:MOST_PARSED]
    known = definitions({path: texts[path] for path in candidates})
    scored = _scored({path: texts[path] for path in candidates}, known, named, " ".join([query, *symbols]))
    # The best tests of a file tell more of it than the number of places that name a symbol.
    total = {path: (1 + (path in own)) * sum(points for points, _ in tests) for path, tests in scored.items()}
    near = sorted(scored, key=lambda path: (-total[path], ranked.index(path)))[:most]
    backup = " ".join(f"`{name}`" for name in symbols)
    places = {
        path: [place for _, place in scored[path]] or named_places(texts[path], backup) for path in near
    }
    return {path: [*own[:1], *imports(texts[path]), *own[1:]] if own else [] for path, own in places.items()}


def _rarity(counts: Mapping[str, Counter[str]]) -> dict[str, float]:
    """Return the score of each file for the names in it. A name that many files have scores little."""
    files = Counter(name for names in counts.values() for name in names)
    return {
        path: sum(log(1 + len(counts) / files[name]) * log(1 + number) for name, number in names.items())
        for path, names in counts.items()
    }


def _scored(
    texts: Mapping[str, str],
    known: Mapping[str, Sequence[Definition]],
    named: re.Pattern[str] | None,
    query: str,
) -> dict[str, list[tuple[float, range]]]:
    """Return the best functions of each test file, with their scores."""
    bodies = dict[tuple[str, Definition], str]()
    for path, text in texts.items():
        lines = text.split("\n")
        following = [*known[path][1:], None] if known[path] else []
        for each, after in zip(known[path], following, strict=True):
            holds_others = after is not None and after.first <= each.last  # a class, whose tests count alone
            if not holds_others and each.last - each.first < WHOLE_LINES:
                bodies[path, each] = "\n".join(lines[each.first - 1 : each.last])
    asked = Counter(word for word in words(query) if len(word) > 2 and word not in STOP_WORDS)
    shared = _shared_terms(bodies, named, asked)
    terms = set().union(*shared.values())
    weight = {term: log2(1 + max(sum(asked[word] for word in asked if term in word), 1)) for term in terms}
    documents = Counter(term for terms in shared.values() for term in terms)
    scored: dict[str, list[tuple[float, range]]] = {path: [] for path in texts}
    for (path, each), terms in shared.items():
        own = {*words(each.symbol)}
        # A word that every test has, such as the name of the class, tells nothing.
        points = sum(
            log(len(shared) / documents[term]) * weight[term] * (IN_NAME if term in own else 1)
            for term in terms
        )
        points += NAMED_BONUS if named and named.search(bodies[path, each]) else 0
        if points >= LEAST:
            scored[path].append((points, range(each.first, each.last + 1)))
    best = max((points for tests in scored.values() for points, _ in tests), default=0)
    near = {path: [test for test in tests if test[0] >= SHARE * best] for path, tests in scored.items()}
    return {
        path: sorted(tests, key=lambda test: (-test[0], test[1].start))[:MOST_TESTS]
        for path, tests in near.items()
        if tests or not best
    }


def _shared_terms(
    bodies: Mapping[tuple[str, Definition], str], named: re.Pattern[str] | None, asked: Collection[str]
) -> dict[tuple[str, Definition], set[str]]:
    """Return the words that each test shares with the query, and the symbols that it names."""
    terms = {key: {*words(f"{key[1].symbol} {body}")} for key, body in bodies.items()}
    alike = _alike(set().union(*terms.values()), asked)
    shared = {key: {alike[word] for word in own if word in alike} for key, own in terms.items()}
    if named:
        for key, body in bodies.items():
            shared[key] |= {f"{name}()" for name in named.findall(body)}
    return shared


def _alike(vocabulary: Collection[str], asked: Collection[str]) -> dict[str, str]:
    """Return the words that are asked for, or are a longer or shorter form of one, with their common form."""
    spoken = " ".join(sorted(asked))
    stems = "|".join(re.escape(word) for word in sorted(asked) if len(word) >= STEM) or r"(?!)"
    longer = re.compile(rf"^(?:{stems})|(?:{stems})$")
    alike = {}
    for word in vocabulary:
        if word in asked or (len(word) >= STEM and word in spoken):
            alike[word] = word
        elif match := longer.search(word):
            alike[word] = match[0]
    return alike
