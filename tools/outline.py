"""What source files define, and a map of a repository cut to a token limit by relevance."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from math import log
from os.path import basename, splitext
from threading import Lock

from memory.chunks import Parser, has_grammar

_MAY_BREAK = 3
_SECONDS = 60.0
_REMEMBERED = 5_000
_SEEN: dict[str, list[str]] = {}
"""Outlines by the hash of their text, for many maps are made of the same files."""
_LOCK = Lock()

MAX_FILE_BYTES = 200_000
MAX_CANDIDATES = 400
MAX_CANDIDATE_BYTES = 3_000_000


def outline(path: str, text: str) -> list[str]:
    """List a file's top-level definitions: signatures, and for classes the names of their methods.

    Knows Python, JavaScript, TypeScript, Go, Rust and Java by the path's suffix; empty for anything else.
    Broken code gives what can be recognised.
    """
    return outlines({path: text})[path]


def outlines(files: Mapping[str, str]) -> dict[str, list[str]]:
    """Outline many files at once, in a process that text made to break grammars may break."""
    keys = {path: _key(path, text) for path, text in files.items() if has_grammar(path)}
    with _LOCK:  # parallel steps ask for the same files
        if len(_SEEN) > _REMEMBERED:
            _SEEN.clear()
        _SEEN.update(_outlines({key: files[path] for path, key in keys.items() if key not in _SEEN}))
        return {path: list(_SEEN[keys[path]]) if path in keys else [] for path in files}


def _key(path: str, text: str) -> str:
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return digest + splitext(path)[1].lower()


def _outlines(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Parse texts by key; once several have broken the parser, or time is up, the rest has no outline."""
    found: dict[str, list[str]] = {key: [] for key in texts}
    late = time.monotonic() + _SECONDS
    with Parser() as parser:
        for key, text in texts.items():
            if parser.broken == _MAY_BREAK or time.monotonic() > late:
                break
            parsed = parser.parse(key, text)
            found[key] = parsed.outline if parsed else []
    return found


def repository_map(
    files: Mapping[str, int], read: Callable[[str], str | None], query: str, token_limit: int
) -> str:
    """Show paths and top-level definitions, as much as `token_limit` (4 characters each) holds.

    `files` maps paths to sizes in bytes, `read` gives a file's text. The files most relevant to `query` show
    their definitions, others their path, then a last line says how many are not shown. No line is cut.
    """
    paths = sorted(path for path in files if path.isprintable())
    asked = set(_terms(query))
    by_path = _relevance(asked, {path: _terms(path) + _terms(basename(path)) for path in paths})
    ranked = sorted(paths, key=lambda path: (-by_path[path], not has_grammar(path), path.count("/"), path))
    defined = outlines(_texts(ranked, files, read))
    by_definition = _relevance(asked, {path: _terms(" ".join(defined.get(path, ()))) for path in defined})
    ranked.sort(key=lambda path: -by_path[path] - by_definition.get(path, 0.0))
    return _fit(ranked, defined, len(files), token_limit * 4)


def _texts(
    ranked: Iterable[str], files: Mapping[str, int], read: Callable[[str], str | None]
) -> dict[str, str]:
    texts: dict[str, str] = {}
    left = MAX_CANDIDATE_BYTES
    for path in ranked:
        if not has_grammar(path) or files[path] > min(MAX_FILE_BYTES, left):
            continue
        text = read(path)
        if text is not None:
            texts[path] = text
            left -= files[path]
        if len(texts) == MAX_CANDIDATES:
            break
    return texts


@lru_cache(maxsize=1 << 16)
def _split(word: str) -> tuple[str, ...]:
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+", word)
    return tuple(part.lower().removesuffix("s") or "s" for part in parts)


def _terms(text: str) -> list[str]:
    return [term for word in re.findall(r"\w+", text) for term in _split(word)]


def _relevance(asked: set[str], documents: Mapping[str, list[str]]) -> dict[str, float]:
    """Score documents by the asked terms they hold, rare ones weighing more (inverse document frequency)."""
    holding = Counter(term for terms in documents.values() for term in asked.intersection(terms))
    weight = {term: log(1 + len(documents) / count) for term, count in holding.items()}
    return {
        path: sum(weight[term] * (1 + log(count)) for term, count in Counter(terms).items() if term in weight)
        for path, terms in documents.items()
    }


@dataclass
class _Page:
    """Lines under their path, as long as there is room (in characters)."""

    room: int
    lines: dict[str, list[str]] = field(default_factory=dict)

    def add(self, path: str, line: str, keep: int = 0) -> bool:
        """Add a line unless less than `keep` would be left; tell whether it was added."""
        cost = len(line) + 1
        if cost > self.room - keep:
            return False
        self.room -= cost
        self.lines.setdefault(path, []).append(line)
        return True


def _fit(ranked: Sequence[str], defined: Mapping[str, list[str]], total: int, limit: int) -> str:
    """Fill half of the room with paths, the rest with definitions, and what is left with more paths."""
    page = _Page(limit - len(_missing(total)))
    half = page.room // 2
    for path in ranked:
        if not page.add(path, f"- {path}", half):
            break
    for path in list(page.lines):
        for line in defined.get(path, ()):
            page.add(path, f"    {line}")
    for path in ranked[len(page.lines) :]:
        if not page.add(path, f"- {path}"):
            break
    lines = [line for path in sorted(page.lines) for line in page.lines[path]]
    hidden = total - len(page.lines)
    if hidden and page.room >= 0:
        lines.append(_missing(hidden))
    return "\n".join(lines)


def _missing(count: int) -> str:
    return f"({count} files are not shown)"
