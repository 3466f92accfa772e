"""Names of tests in any language."""

import re
from collections.abc import Iterable

TEST_FOLDERS = ("test", "tests", "__tests__", "testdata")
CODE = re.compile(
    r"\.(?:py|[cm]?[jt]sx?|go|rs|java|kt|c|cc|cpp|rb|php|cs|swift|scala|exs?|lua|sh|bats|pl|t)$"
)
_TEST_NAME = re.compile(
    r"^(?:tests?|specs?)\.\w+$|^test[_-].*\.\w+$|[._-](?:test|tests|spec|specs)\.\w+$|[a-z]Tests?\.\w+$"
)


LONGEST_CASE = 120
"""Characters up to which the id of a case is shown whole."""

_KEPT = 24


def shown_case(case: str) -> str:
    """Return a case's id as people and models read it. Long parameters are cut in their middle."""
    if len(case) <= LONGEST_CASE:
        return case
    name, bracket, values = case.partition("[")
    parts = (
        part if len(part) <= LONGEST_CASE else f"{part[:_KEPT]}…{part[-_KEPT:]}" for part in (name, values)
    )
    return bracket.join(parts)


def by_function(cases: Iterable[str]) -> list[str]:
    """Return cases as they are read, those of one parametrised function as one, with their number."""
    functions: dict[str, list[str]] = {}
    for case in cases:
        functions.setdefault(case.partition("[")[0], []).append(case)
    return [
        shown_case(same[0]) if len(same) == 1 else f"{shown_case(function)} ({len(same)} cases)"
        for function, same in functions.items()
    ]


def is_test_name(path: str) -> bool:
    """Return whether a file is code that holds tests, judged by its name and its folders."""
    *folders, name = path.split("/")
    in_folder = any(folder in TEST_FOLDERS for folder in folders)
    return bool(CODE.search(path)) and (in_folder or bool(_TEST_NAME.search(name)))
