"""A file as lines, and the forms in which they are compared with a diff's lines."""

import re
import sys
import unicodedata
from collections.abc import Callable
from functools import lru_cache

_TYPOGRAPHY = str.maketrans(
    dict.fromkeys('"\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u2032\u2033', "'")
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | dict.fromkeys("\u200b\u200c\u200d\ufeff\u00ad")
    | {"\u2026": "..."}
)


def _exact(text: str) -> str:
    return text


def _rstrip(text: str) -> str:
    return text.rstrip()


def _strip(text: str) -> str:
    return text.strip()


def _squeeze(text: str) -> str:
    return "".join(text.split())


@lru_cache(maxsize=65536)
def _plain(text: str) -> str:
    """Reduce a line to its tokens: no white space, one kind of quote, no typographic characters."""
    if text.isascii():
        return "".join(text.split()).replace('"', "'")
    text = unicodedata.normalize("NFKC", text.translate(_TYPOGRAPHY))
    # The normal form can contain typographic characters again.
    return "".join(text.translate(_TYPOGRAPHY).split())


TIERS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("exact", _exact),
    ("trailing white space", _rstrip),
    ("indentation", _strip),
    ("white space", _squeeze),
    ("quotes or typography", _plain),
)
"""Comparisons of lines, the strictest first: the tier's name, and a function to the compared form."""

plain = _plain
_INDENT = re.compile(r"[ \t]*")


_MISSPELT = 3  # in lines with more unknown words, the search for misspelt words says nothing
_WORDS = re.compile(r"\w+")


def words(text: str) -> set[str]:
    """Return the words of a line."""
    return set(_WORDS.findall(text))


def bigrams(text: str) -> set[str]:
    """Return the pairs of adjacent characters in a line's tokens."""
    text = plain(text)
    return {text[i : i + 2] for i in range(len(text) - 1)}


def dice(first: set[str], second: set[str]) -> float:
    """Return Dice's coefficient of two sets: the share that they have in common, from 0 to 1."""
    return 2 * len(first & second) / (len(first) + len(second)) if first and second else 0.0


def likeness(first: set[str], second: set[str]) -> float:
    """Return the share of words that two lines have in common, from 0 to 1. A few may be misspelt."""
    mine, theirs = first - second, second - first
    shared = len(first) - len(mine)
    if (shared or len(first) == 1) and 0 < len(mine) <= _MISSPELT and 0 < len(theirs) <= _MISSPELT:
        shared += sum(any(_misspelt(word, wrong) for wrong in theirs) for word in mine)
    return 2 * shared / (len(first) + len(second)) if shared else 0.0


def _misspelt(word: str, other: str) -> bool:
    """Return whether two words differ by one letter, or by two swapped letters."""
    if min(len(word), len(other)) < 3 or abs(len(word) - len(other)) > 1:
        return False
    start = next((i for i, (mine, its) in enumerate(zip(word, other, strict=False)) if mine != its), -1)
    rest, others = word[start:], other[start:]
    if start < 0:
        return True
    if len(rest) == len(others):
        return rest[1:] == others[1:] or (rest[1::-1] == others[:2] and rest[2:] == others[2:])
    return rest[1:] == others or rest == others[1:]


def indent_of(text: str) -> str:
    """Return the blanks and tabs at the start of a line."""
    match = _INDENT.match(text)
    return match[0] if match else ""


class LineSearch:
    """A search for adjacent lines. Each line becomes a character, because `str.find` takes linear time."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._codes = {line: chr(k % sys.maxunicode) for k, line in enumerate(dict.fromkeys(lines))}
        self._is_exact = len(self._codes) <= sys.maxunicode  # else two lines may share a character
        self._text = "".join([self._codes[line] for line in lines])

    def find(self, wanted: list[str], limit: int) -> list[int]:
        """Return the places of `wanted`, which is not empty, at most `limit` of them."""
        if not all(line in self._codes for line in wanted):
            return []
        sought, starts = "".join([self._codes[line] for line in wanted]), list[int]()
        at = self._text.find(sought)
        while at >= 0 and len(starts) < limit:
            if self._is_exact or self._lines[at : at + len(wanted)] == wanted:
                starts.append(at)
            at = self._text.find(sought, at + 1)
        return starts


class Source:
    """A file's text as lines without line feeds, with an index of its lines."""

    def __init__(self, text: str, bom_is_text: bool = False) -> None:
        self.bom = "\ufeff" if text.startswith("\ufeff") and not bom_is_text else ""
        self.lines = text.removeprefix(self.bom).split("\n")
        self.newline = not self.lines[-1]
        if self.newline:
            self.lines.pop()
        self._forms: dict[int, list[str]] = {}
        self._searches: dict[int, LineSearch] = {}
        self._index: dict[str, list[int]] = {}
        self._words: dict[int, set[str]] = {}
        self._bigrams: dict[int, set[str]] = {}

    def form(self, tier: int) -> list[str]:
        """Return the lines in the form that a tier compares. -1 is the last tier, which compares tokens."""
        tier %= len(TIERS)
        if tier not in self._forms:
            # A long file repeats its lines, so each is reduced once.
            distinct = {line: TIERS[tier][1](line) for line in dict.fromkeys(self.lines)} if tier else {}
            self._forms[tier] = [distinct[line] for line in self.lines] if tier else self.lines
        return self._forms[tier]

    def index(self) -> dict[str, list[int]]:
        """Map the tokens of each line to its places."""
        if not self._index:
            for i, line in enumerate(self.form(-1)):
                self._index.setdefault(line, []).append(i)
        return self._index

    def words(self, line: int) -> set[str]:
        """Return the words of a line of the file."""
        if line not in self._words:
            self._words[line] = words(self.lines[line])
        return self._words[line]

    def bigrams(self, line: int) -> set[str]:
        """Return the pairs of adjacent characters of a line of the file."""
        if line not in self._bigrams:
            self._bigrams[line] = bigrams(self.lines[line])
        return self._bigrams[line]

    def line_end(self, at: int) -> str:
        """Return a carriage return if the lines around a place end in one, else an empty text."""
        if at == len(self.lines) and not self.newline:
            at -= 1
        near = self.lines[at - 1 : at] if at > 0 else self.lines[:1]
        return "\r" if near and near[0].endswith("\r") else ""

    def find(self, wanted: list[str], tier: int, limit: int = 2000) -> list[int]:
        """Find every place where `wanted`, in that tier's form, stands line after line."""
        if not wanted:
            return [] if self.lines else [0]
        if tier not in self._searches:
            self._searches[tier] = LineSearch(self.form(tier))
        return self._searches[tier].find(wanted, limit)
