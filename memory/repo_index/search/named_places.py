"""Places of what a query names: definitions, uses, tests, documents and changelogs, in this order."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from memory.chunks import has_grammar
from memory.chunks.words import words
from memory.repo_index.index_store import IndexStore, StoredChunk
from memory.repo_index.search.query import FileKind, Query, is_code, kind_of

_CONSIDERED = 400
"""Chunks of one name that are looked at, the best first."""
_DEFINITIONS = 2
"""Definitions of one name that are shown before its uses."""
_AMBIGUOUS = 3
"""Definitions from which a name within a sentence says little."""
_ORDER: tuple[FileKind, ...] = ("code", "test", "docs", "changelog")

_MODULES = (".py", "/__init__.py", ".js", ".ts", ".go")

Scored = Callable[[str], float]
"""Returns the score that a file has for the whole query."""


@dataclass(frozen=True)
class NamedPlace:
    """A chunk that has to do with a name, and the words that say how."""

    chunk: StoredChunk
    why: str


@dataclass
class NamedPlaces:
    """Finds the chunks of names and paths among the visible versions of files (ids by path)."""

    store: IndexStore
    visible: Mapping[str, int]
    score: Scored
    files: set[str] = field(default_factory=set)
    """Files that the query names."""

    def of(self, query: Query) -> list[NamedPlace]:
        """Return the places of all that a query names, each kind after the other."""
        self.files = {path for token in query.paths for path in self._matching_paths(token)}
        definitions, uses = list[NamedPlace](), list[NamedPlace]()
        for name in [*query.names, *query.capitalised]:
            chunks = self._defining(name)
            if not chunks and (module := self._module(name)):
                self.files.add(module)
                continue
            if len(chunks) > _AMBIGUOUS and not query.is_bare:
                chunks = [chunk for chunk in chunks if chunk.path in self.files]
            definitions += [NamedPlace(chunk, f"defines {name}") for chunk in chunks[:_DEFINITIONS]]
            # Uses of what may be a word of English, or a built-in type, would be noise.
            if name in query.names and (chunks or is_code(name) or query.is_bare):
                shown = {(place.chunk.path, place.chunk.chunk.symbol) for place in definitions}
                uses += self._using(name, shown)
        whole = [self._file(path, query) for path in sorted(self.files - {d.chunk.path for d in definitions})]
        order = sorted(_ORDER, key=lambda kind: (kind not in query.asked, _ORDER.index(kind)))
        return [
            *definitions,
            *filter(None, whole),
            *(use for kind in order for use in uses if kind_of(use.chunk.path) == kind),
        ]

    def _matching_paths(self, token: str) -> list[str]:
        """Return the files that a word of the query means, none if there are many."""
        if token in self.visible:
            return [token]
        ending = [path for path in self.visible if path.endswith("/" + token)]
        # `__init__.py` alone means no file.
        return ending if len(ending) <= _DEFINITIONS else []

    def _module(self, name: str) -> str | None:
        """Return the file of a dotted module."""
        if "." not in name:
            return None
        stem = name.replace(".", "/")
        ends = tuple(f"/{stem}{suffix}" for suffix in _MODULES)
        return next((path for path in sorted(self.visible) if f"/{path}".endswith(ends)), None)

    def _defining(self, name: str) -> list[StoredChunk]:
        """Return the chunks that define a name, those in named files and in likely files first."""
        parts = name.split(".")
        for start in range(len(parts)):
            tail = ".".join(parts[start:])
            firsts = dict[tuple[str, str], StoredChunk]()
            for found in self._phrase("symbol", tail):
                symbol = found.chunk.symbol
                if has_grammar(found.path) and (symbol == tail or symbol.endswith("." + tail)):
                    # A long definition has several chunks.
                    key = found.path, symbol
                    firsts[key] = min(found, firsts.get(key, found), key=lambda chunk: chunk.chunk.first)
            if firsts and start and len(firsts) > 1:
                firsts = {key: chunk for key, chunk in firsts.items() if _is_in(key[0], parts[:start])}
            if firsts:
                return sorted(firsts.values(), key=lambda chunk: self._likelihood(chunk, parts[:start]))
        return [chunk for chunk in self._phrase("body", parts[-1]) if _assigns(chunk, parts[-1])][:1]

    def _likelihood(self, chunk: StoredChunk, above: Iterable[str]) -> tuple[bool, bool, bool, float, str]:
        return (
            chunk.path not in self.files,
            kind_of(chunk.path) != "code",
            not _is_in(chunk.path, above),
            -self.score(chunk.path),
            chunk.path,
        )

    def _using(self, name: str, shown: set[tuple[str, str]]) -> list[NamedPlace]:
        """Return the best use of a name in each file, calls before other mentions."""
        tail = name.rpartition(".")[2]
        word = re.compile(rf"(?<![\w$]){re.escape(tail)}(?![\w$])(\s*\()?")
        best = dict[str, tuple[bool, StoredChunk]]()
        for found in self._phrase("body", tail):
            if found.chunk.outline or (found.path, found.chunk.symbol) in shown:
                continue
            matches = list(word.finditer(found.chunk.text))
            if found.chunk.symbol.rpartition(".")[2] == tail:
                matches = matches[1:]  # another definition of the name is no use of it
            calls = any(match[1] for match in matches)
            if matches and (found.path not in best or (calls and not best[found.path][0])):
                best[found.path] = calls, found
        defined = {path for path, _ in shown}
        ranked = sorted(
            best.values(), key=lambda pair: (pair[1].path in defined, not pair[0], -self.score(pair[1].path))
        )
        return [NamedPlace(chunk, f"{'calls' if calls else 'mentions'} {tail}") for calls, chunk in ranked]

    def _phrase(self, column: str, name: str) -> list[StoredChunk]:
        """Return the visible chunks that hold the words of a name one after the other, best first."""
        phrase = f'{column} : "{" ".join(words(name))}"'
        ids = [id for id, _ in self.store.matching(phrase, _CONSIDERED)]
        chunks = {chunk.id: chunk for chunk in self.store.chunks("chunks.id", ids)}
        return [
            chunks[id] for id in ids if id in chunks and self.visible.get(chunks[id].path) == chunks[id].doc
        ]

    def _file(self, path: str, query: Query) -> NamedPlace | None:
        """Return the outline of a named file, or its beginning if it has none."""
        chunks = sorted(
            self.store.chunks("docs.id", [self.visible[path]]),
            key=lambda chunk: (not chunk.chunk.outline, chunk.chunk.first),
        )
        return (
            NamedPlace(chunks[0], "outline" if chunks[0].chunk.outline else "beginning") if chunks else None
        )


def _is_in(path: str, above: Iterable[str]) -> bool:
    """Return True if a path holds all these names of modules."""
    return set(re.split(r"[/.]", path)).issuperset(above)


def _assigns(chunk: StoredChunk, name: str) -> bool:
    """Return True if a module's own lines give a name a value."""
    assigned = rf"^(?:export\s+)?(?:const\s+|let\s+|var\s+|type\s+)?{re.escape(name)}\s*(?::[^=\n]*)?=(?!=)"
    return not chunk.chunk.symbol and bool(re.search(assigned, chunk.chunk.text, re.MULTILINE))
