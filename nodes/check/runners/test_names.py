"""Names of tests in any language."""

import re
from pathlib import PurePosixPath

TEST_FOLDERS = ("test", "tests", "__tests__", "testdata")
CODE = re.compile(
    r"\.(?:py|[cm]?[jt]sx?|go|rs|java|kt|c|cc|cpp|rb|php|cs|swift|scala|exs?|lua|sh|bats|pl|t)$"
)
_TEST_NAME = re.compile(
    r"^(?:tests?|specs?)\.\w+$|^test[_-].*\.\w+$|[._-](?:test|tests|spec|specs)\.\w+$|[a-z]Tests?\.\w+$"
)


def is_test_name(path: str) -> bool:
    """Return whether a file is code that holds tests, judged by its name and its folders."""
    pure = PurePosixPath(path)
    in_folder = any(above.name in TEST_FOLDERS for above in pure.parents)
    return bool(CODE.search(path)) and (in_folder or bool(_TEST_NAME.search(pure.name)))
