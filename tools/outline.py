"""Outlines of source files, and a map of a repository within a token limit, by relevance."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from hashlib import sha256
from math import log
from os.path import basename, splitext
from threading import Lock

from memory.chunks import Parser, has_grammar
from memory.chunks.words import words

_MOST_CRASHES = 3
_SECONDS = 60.0
_CACHE_SIZE = 5_000
_CACHE: dict[tuple[str, bytes], list[str]] = {}
"""Outlines by suffix and hash of their text, because many maps show the same files."""
_LOCK = Lock()

_HIDDEN = "({} files are not shown)"

MAX_FILE_BYTES = 200_000
MAX_CANDIDATES = 400
MAX_CANDIDATE_BYTES = 3_000_000


def outlines(files: Mapping[str, str]) -> dict[str, list[str]]:
    """List each file's top-level definitions: signatures, and for classes the names of their methods.

    The path's suffix decides between Python, JavaScript, TypeScript, Go, Rust and Java. The list is empty for
    anything else. Of broken code it has the parts that can be recognised. Files are parsed in another
    process, because hostile text can crash a grammar. After several crashes, or when the time is over, the
    rest has no outline.
    """
    result: dict[str, list[str]] = {path: [] for path in files}
    deadline = time.monotonic() + _SECONDS
    with _LOCK, closing(Parser()) as parser:  # parallel steps need the same files
        if len(_CACHE) > _CACHE_SIZE:
            _CACHE.clear()
        for path, text in files.items():
            if not has_grammar(path):
                continue
            key = splitext(path)[1].lower(), sha256(text.encode("utf-8", "surrogatepass")).digest()
            if key not in _CACHE and parser.broken < _MOST_CRASHES and time.monotonic() < deadline:
                _CACHE[key], _ = parser.parse(path, text)
            result[path] = list(_CACHE.get(key, ()))
    return result


def repository_map(
    files: Mapping[str, int], read: Callable[[str], str | None], query: str, token_limit: int
) -> str:
    """Return paths and top-level definitions within `token_limit`, at 4 characters a token.

    `files` maps paths to sizes in bytes. `read` returns a file's text. The files most relevant to `query`
    have their definitions, others only their path. A last line counts the files that are not shown.
    """
    paths = sorted(path for path in files if path.isprintable())
    wanted = set(_terms(query))
    by_path = _relevance(wanted, {path: _terms(path) + _terms(basename(path)) for path in paths})
    ranked = sorted(paths, key=lambda path: (-by_path[path], not has_grammar(path), path.count("/"), path))
    defined = outlines(_texts(ranked, files, read))
    by_definition = _relevance(wanted, {path: _terms(" ".join(defined.get(path, ()))) for path in defined})
    ranked.sort(key=lambda path: -by_path[path] - by_definition.get(path, 0.0))
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


def _terms(text: str) -> list[str]:
    """Return the words of a text, plurals as singulars."""
    return [word.removesuffix("s") or "s" for word in words(text)]


def _relevance(wanted: set[str], documents: Mapping[str, list[str]]) -> dict[str, float]:
    """Score documents by the terms they contain, weighted by inverse document frequency."""
    counts = Counter(term for terms in documents.values() for term in wanted.intersection(terms))
    weight = {term: log(1 + len(documents) / count) for term, count in counts.items()}
    return {
        path: sum(weight[term] * (1 + log(count)) for term, count in Counter(terms).items() if term in weight)
        for path, terms in documents.items()
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
