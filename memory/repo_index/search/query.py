"""A query, read for what it asks: words, names in code, paths, and kinds of files."""

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

from memory.chunks import SUFFIXES
from memory.chunks.words import words

FileKind = Literal["code", "test", "docs", "changelog"]

_LONGEST = 4_000
"""Characters of a query that are read."""
_MOST_TERMS = 32
_MOST_NAMES = 8

STOP_WORDS = {
    "a", "about", "after", "all", "also", "an", "and", "any", "are", "as", "at", "be", "been", "but",
    "by", "can", "could", "do", "does", "for", "from", "had", "has", "have", "how", "i", "if", "in",
    "into", "is", "it", "its", "may", "me", "my", "no", "not", "of", "on", "or", "our", "should", "so",
    "some", "such", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this",
    "those", "to", "was", "we", "were", "what", "when", "where", "which", "while", "who", "why", "will",
    "with", "would", "you", "your",
}  # fmt: skip
_TASK_WORDS = {
    "add", "added", "adding", "adds", "allow", "allowed", "allows", "always", "better", "doesn", "don",
    "fix", "fixed", "fixes", "fixing", "implement", "implements", "improve", "improved", "improves",
    "instead", "issue", "issues", "just", "make", "makes", "making", "missing", "more", "move", "moved",
    "moves", "need", "needed", "needs", "new", "now", "only", "other", "refactor", "refactored", "remove",
    "removed", "removes", "removing", "simplify", "support", "supported", "supporting", "supports",
    "update", "updated", "updates", "up", "use", "used", "uses", "using", "via", "without", "work",
    "working", "works",
}  # fmt: skip
"""Words that say what to do, not where.

A file that a commit changes holds such a word about as often if the subject has it as if not. Counted in 34
repositories, of which none is in HELD_OUT of `bench/commit_queries.py`.
"""
_NAME = re.compile(r"[A-Za-z_$][\w$]*(?:(?:\.|::|#)[A-Za-z_$][\w$]*)*")
_PATH = re.compile(r"(?<![\w.@+-])[\w.@+-]+(?:/[\w.@+-]+)+|(?<![\w.-])\.*[\w-][\w.-]*\.[A-Za-z]{1,4}\b")
_ABOUT: dict[FileKind, re.Pattern[str]] = {
    "test": re.compile(r"\b(tests?|testing|tested|pytest|unittest|specs?)\b", re.IGNORECASE),
    "docs": re.compile(r"\b(docs?|documentation|documented|readme|guide|manual|tutorial)\b", re.IGNORECASE),
    "changelog": re.compile(r"\b(changelog|changes file|release notes|history\.md)\b", re.IGNORECASE),
}
_TEST_PATH = re.compile(
    r"(^|/)(tests?|__tests__|testing|testdata|spec|specs|e2e|benchmarks?|examples?)/"
    r"|(^|/)(test_[^/]*|conftest)\.py$|(_test|_spec|[.-](test|spec|bench))\.\w+$|Tests?\.(java|kt|cs)$"
)
_CHANGELOG = re.compile(r"(^|/)(change(s|log)|history|news|releases?)[^/]*\.\w+$", re.IGNORECASE)


def kind_of(path: str) -> FileKind:
    """Return the kind of a file, judged by its path. Examples count as tests."""
    if path.endswith(".md"):
        return "changelog" if _CHANGELOG.search(path) else "docs"
    return "test" if _TEST_PATH.search(path) else "code"


def terms(text: str) -> list[str]:
    """List the distinct words of a text. Common English words count only if there are no others."""
    distinct = list(dict.fromkeys(words(text)))
    rare = [word for word in distinct if word not in STOP_WORDS and len(word) > 1]
    return (rare or distinct)[:_MOST_TERMS]


def stem(word: str) -> str:
    """Remove the commonest English endings from a word of some length."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) >= len(ending) + 4:
            return word[: -len(ending)]
    return word


@dataclass(frozen=True)
class Query:
    """A query, read once."""

    text: str

    @classmethod
    def of(cls, text: str) -> "Query":
        """Read the beginning of a text."""
        return cls(text[:_LONGEST].strip())

    @cached_property
    def terms(self) -> list[str]:
        """The words to search for."""
        return [word for word in self.spoken if word not in _TASK_WORDS] or self.spoken

    @cached_property
    def spoken(self) -> list[str]:
        """The words of the query, with those that say little of a place."""
        return terms(self.text)

    @cached_property
    def phrases(self) -> list[tuple[str, str]]:
        """Words to search for that follow one another, as they may in a name in code."""
        known = set(self.terms)
        pairs = dict.fromkeys(pairwise(words(self.text)))
        return [pair for pair in pairs if known.issuperset(pair) and len(set(pair)) > 1][:_MOST_TERMS]

    @cached_property
    def asked(self) -> frozenset[FileKind]:
        """The kinds of files that the query asks for by name, without code."""
        return frozenset(kind for kind, pattern in _ABOUT.items() if pattern.search(self.text))

    @cached_property
    def paths(self) -> list[str]:
        """Words that may be paths of files, in their order."""
        return list(dict.fromkeys(match.strip(".") for match in _PATH.findall(self.text)))[:_MOST_NAMES]

    @cached_property
    def names(self) -> list[str]:
        """Names in code, in their order: quoted, called, dotted or spelled as no English word is."""
        spelled = []
        bare = self.text.strip("`()")
        for match in _NAME.finditer(self.text):
            name, start, end = match[0], *match.span()
            before, after = self.text[start - 1 : start], self.text[end : end + 1]
            alone = name == bare
            # A part of a path or of a number is no name.
            if before not in {"/", "."} and (alone or before == "`" or after == "(" or is_code(name)):
                spelled.append(re.sub(r"::|#", ".", name).strip("."))
        files = {path.rpartition("/")[2] for path in self.paths}
        # Names such as `__call__` are in every class, and name nothing.
        known = (name for name in dict.fromkeys(spelled) if name not in files and words(name))
        return [name for name in known if name == self.text or not name.startswith("__")][:_MOST_NAMES]

    @cached_property
    def capitalised(self) -> list[str]:
        """Words within a sentence that begin as the names of classes do. They may be English."""
        found = re.findall(r"(?<=[\w,`] )[A-Z][a-z]\w+\b", self.text)
        known = {part for name in self.names for part in name.split(".")}
        return [word for word in dict.fromkeys(found) if word not in known][:_MOST_NAMES]

    @cached_property
    def is_bare(self) -> bool:
        """True if the query is names and paths, and says nothing else."""
        rest = self.text
        for piece in sorted([*self.paths, *self.names], key=len, reverse=True):
            rest = rest.replace(piece, " ")
        return not [word for word in terms(rest) if word not in STOP_WORDS]


def is_code(name: str) -> bool:
    """Return True if a word looks like a name in code rather than one of a language."""
    first, *rest = re.split(r"\.|::|#", name)
    if rest:
        return len(first) > 1 and f".{rest[-1]}" not in SUFFIXES
    return "_" in name.strip("_") or bool(re.search(r"[a-z0-9][A-Z]", name))
