"""Outlines of source files, and a map of a repository within a token limit, by relevance."""

import time
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from math import log
from os.path import splitext
from threading import Lock

from memory.chunks import Parser, SyntaxPart, has_grammar
from memory.chunks.words import words

_MOST_CRASHES = 3
_SECONDS = 60.0
_CACHE_SIZE = 5_000
_CACHE: dict[tuple[str, bytes], "_Parsed"] = {}
"""Parsed files by suffix and hash of their text, because many prompts show the same files."""
_LOCK = Lock()

_HIDDEN = "({} files are not shown)"

MAX_FILE_BYTES = 200_000
MAX_CANDIDATES = 400
MAX_CANDIDATE_BYTES = 3_000_000


@dataclass(frozen=True)
class Definition:
    """A function, method or class of a file. Lines count from 1, `last` is included."""

    symbol: str
    first: int
    last: int


@dataclass(frozen=True)
class _Parsed:
    outline: list[str]
    definitions: list[Definition]


def outlines(files: Mapping[str, str]) -> dict[str, list[str]]:
    """List each file's top-level definitions: signatures, and for classes the names of their methods.

    The path's suffix decides between Python, JavaScript, TypeScript, Go, Rust and Java. The list is empty for
    anything else. Of broken code it has the parts that can be recognised. Files are parsed in another
    process, because hostile text can crash a grammar. After several crashes, or when the time is over, the
    rest has no outline.
    """
    return {path: parsed.outline for path, parsed in _parsed(files).items()}


def definitions(files: Mapping[str, str]) -> dict[str, list[Definition]]:
    """List each file's functions, methods and classes in their order. They are found as `outlines` does."""
    return {path: parsed.definitions for path, parsed in _parsed(files).items()}


def _parsed(files: Mapping[str, str]) -> dict[str, _Parsed]:
    result = {path: _Parsed([], []) for path in files}
    deadline = time.monotonic() + _SECONDS
    with _LOCK, closing(Parser()) as parser:  # parallel steps need the same files
        if len(_CACHE) > _CACHE_SIZE:
            _CACHE.clear()
        for path, text in files.items():
            if not has_grammar(path):
                continue
            key = splitext(path)[1].lower(), sha256(text.encode("utf-8", "surrogatepass")).digest()
            if key not in _CACHE and parser.broken < _MOST_CRASHES and time.monotonic() < deadline:
                outline, parts = parser.parse(path, text)
                _CACHE[key] = _Parsed(outline, _with_lines(text, parts))
            result[path] = _CACHE.get(key, result[path])
    return result


def _with_lines(text: str, parts: Sequence[SyntaxPart]) -> list[Definition]:
    """Return the definitions among a file's parts. Each reaches to the end of what it holds."""
    data = text.encode("utf-8", "replace")
    starts = [0, *(at + 1 for at, byte in enumerate(data) if byte == 10)]
    found = [
        Definition(symbol, bisect(starts, ranges[0][0]), bisect(starts, max(ranges[-1][1] - 1, ranges[0][0])))
        for symbol, ranges in parts
        if symbol and ranges
    ]
    return [replace(each, last=_end(found, place)) for place, each in enumerate(found)]


def _end(found: Sequence[Definition], place: int) -> int:
    """Return the last line of a definition, which those that it holds follow."""
    symbol, last = f"{found[place].symbol}.", found[place].last
    while (place := place + 1) < len(found) and found[place].symbol.startswith(symbol):
        last = max(last, found[place].last)
    return last


def repository_map(
    files: Mapping[str, int],
    read: Callable[[str], str | None],
    query: str,
    token_limit: int,
    aside: Callable[[str], bool] = lambda path: False,
) -> str:
    """Return paths and top-level definitions within `token_limit`, at 4 characters a token.

    `files` maps paths to sizes in bytes. `read` returns a file's text. The files most relevant to `query`
    have their definitions, others only their path, and those `aside` come last. A last line counts the files
    that are not shown.
    """
    paths = sorted(path for path in files if path.isprintable())
    wanted = set(_terms(query))
    by_path = _relevance(wanted, {path: _path_terms(path) for path in paths})
    ranked = sorted(paths, key=lambda path: (-by_path[path], not has_grammar(path), path.count("/"), path))
    defined = outlines(_texts(ranked, files, read))
    by_definition = _relevance(wanted, {path: _terms(" ".join(defined.get(path, ()))) for path in defined})
    ranked.sort(key=lambda path: (aside(path), -by_path[path] - by_definition.get(path, 0.0)))
    return _fit(ranked, defined, len(files), token_limit * 4)


def _texts(
    ranked: Iterable[str], files: Mapping[str, int], read: Callable[[str], str | None]
) -> dict[str, str]:
    texts: dict[str, str] = {}
    left = MAX_CANDIDATE_BYTES
    for path in ranked:
        if len(texts) < MAX_CANDIDATES and has_grammar(path) and files[path] <= min(MAX_FILE_BYTES, left):
            text = read(path)
            if text is not None:
                texts[path] = text
                left -= files[path]
    return texts


def _path_terms(path: str) -> list[str]:
    """Return the words of a path. Those of the file's own name count twice."""
    folder, _, name = path.rpartition("/")
    return [*_folder_terms(folder), *_terms(name) * 2]


def _terms(text: str) -> list[str]:
    """Return the words of a text, plurals as singulars."""
    return [word.removesuffix("s") or "s" for word in words(text)]


_folder_terms = lru_cache(maxsize=1024)(_terms)


def _relevance(wanted: set[str], documents: Mapping[str, list[str]]) -> dict[str, float]:
    """Score documents by the terms they contain, weighted by inverse document frequency."""
    held = {path: Counter(filter(wanted.__contains__, terms)) for path, terms in documents.items()}
    counts = Counter(term for terms in held.values() for term in terms)
    weight = {term: log(1 + len(documents) / count) for term, count in counts.items()}
    return {
        path: sum(weight[term] * (1 + log(count)) for term, count in terms.items())
        for path, terms in held.items()
    }


def _fit(ranked: Sequence[str], defined: Mapping[str, list[str]], total: int, limit: int) -> str:
    """Fill half of the page with paths, then the rest with definitions, then with more paths."""
    room = limit - len(_HIDDEN.format(total))
    shown: dict[str, list[str]] = {}

    def add(path: str, line: str, keep: int = 0) -> bool:
        """Add a line and return True, unless fewer than `keep` characters would be left."""
        nonlocal room
        if fits := len(line) < room - keep:
            room -= len(line) + 1
            shown.setdefault(path, []).append(line)
        return fits

    half = room // 2
    for path in ranked:
        if not add(path, f"- {path}", half):
            break
    for path in list(shown):
        for line in defined.get(path, ()):
            add(path, f"    {line}")
    for path in ranked[len(shown) :]:
        if not add(path, f"- {path}"):
            break
    lines = [line for path in sorted(shown) for line in shown[path]]
    hidden = total - len(shown)
    if hidden and room >= 0:
        lines.append(_HIDDEN.format(hidden))
    return "\n".join(lines)
