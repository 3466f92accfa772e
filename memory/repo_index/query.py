"""What a query asks for in full text."""

import re
from collections.abc import Callable, Sequence

from memory.chunks.words import words

_STOP = {
    "a", "about", "after", "all", "also", "an", "and", "any", "are", "as", "at", "be", "been", "but",
    "by", "can", "could", "do", "does", "for", "from", "had", "has", "have", "how", "i", "if", "in",
    "into", "is", "it", "its", "may", "me", "my", "no", "not", "of", "on", "or", "our", "should", "so",
    "some", "such", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this",
    "those", "to", "was", "we", "were", "what", "when", "where", "which", "while", "who", "why", "will",
    "with", "would", "you", "your",
}  # fmt: skip
_MOST = 32
_CHUNKS = 12_000
_ABOUT_TESTS = re.compile(r"\b(tests?|testing|pytest|unittest|specs?)\b", re.IGNORECASE)
_TEST_PATH = re.compile(
    r"(^|/)(tests?|__tests__|testing|testdata|spec|specs|e2e|benchmarks?|examples?)/"
    r"|(^|/)(test_[^/]*|conftest)\.py$|(_test|_spec|[.-](test|spec|bench))\.\w+$|Tests?\.(java|kt|cs)$"
)


def terms(query: str) -> list[str]:
    """List the words that are looked for, each once; common English ones only where there are no others."""
    found = list(dict.fromkeys(words(query)))
    return ([word for word in found if word not in _STOP and len(word) > 1] or found)[:_MOST]


def matching(asked: Sequence[str], holding: Callable[[str], int]) -> str:
    """Write a full-text query for any of these words; `holding` tells how many chunks hold one.

    Scoring takes time with every chunk that holds a word. When there are very many, the commonest words,
    which tell least, count only where they name something.
    """
    found, said = 0, []
    for number, word in sorted((holding(word), word) for word in asked):
        found += number
        said.append(f'"{word}"' if found <= _CHUNKS else f'{{path symbol}} : "{word}"')
    return " OR ".join(said)


def is_about_tests(query: str) -> bool:
    """Tell whether tests are looked for, rather than what they test."""
    return bool(_ABOUT_TESTS.search(query))


def is_test(path: str) -> bool:
    """Tell by its path whether a file tests or shows others."""
    return bool(_TEST_PATH.search(path))
