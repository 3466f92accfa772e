"""The data files of tests that a change adds or edits, and the test files that read them."""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import PurePosixPath

from nodes.check.base_tests.test_side import TestSide
from nodes.check.selection import ImportGraph
from tools.workspace import Workspace

_LONGEST = 300_000
_MOST_TEXT = 20_000_000  # characters of sources that are searched for a file's name
_MOST_FILES = 50  # of data that are searched for
_LEAST_STEM = 3
_FOLDERS = ("test", "tests", "")


@dataclass(frozen=True)
class TestData:
    """Finds data of tests by its name in the sources of the change `head`.

    `graph` returns the imports of the change's sources.
    """

    __test__ = False  # pytest would take the class for tests

    workspace: Workspace
    head: str
    base_files: Collection[str]
    head_files: Collection[str]
    side: TestSide
    graph: Callable[[], ImportGraph]

    def beside(self, changed: Iterable[str]) -> list[str]:
        """Return the added files beside tests that tests name and no source of the product does."""
        added = [path for path in changed if path in self.head_files and path not in self.base_files]
        data = [path for path in added if self.side.lies_beside_tests(path)][:_MOST_FILES]
        if not data:
            return []
        product = [path for path in self.head_files if path.endswith(".py") and path not in self.side]
        sources = self._texts(product)
        return [
            path
            for path in data
            if any(map(_file_name(path).search, self._tests.values()))
            and not any(map(_file_name(path).search, sources.values()))
        ]

    def readers(self, data: Iterable[str]) -> set[str]:
        """Return the test files that read one of the data files, judged by the names in their text.

        Tests name a file, or the folder or pattern that it is found by, or import a helper that does.
        """
        readers: set[str] = set()
        for path in islice(data, _MOST_FILES):
            near = self.side.tests_near([path])
            tests = {test: text for test, text in self._tests.items() if test in near}
            named = _matching(_file_name(path), tests)
            if not named or self.side.lies_far_from_tests(path):  # a name such as `hostname` may be chance
                helpers = _matching(_place(path), self._helpers)
                named |= _matching(_place(path), tests)
                named |= self.graph().importers(helpers) & near if helpers else set()
            readers |= named
        return readers

    @cached_property
    def _tests(self) -> dict[str, str]:
        return self._texts(path for path in self.head_files if self.side.is_test(path))

    @cached_property
    def _helpers(self) -> dict[str, str]:
        sources = (path for path in self.head_files if path.endswith(".py") and path in self.side)
        return self._texts(path for path in sources if not self.side.is_test(path))

    def _texts(self, paths: Iterable[str]) -> dict[str, str]:
        texts: dict[str, str] = {}
        left = _MOST_TEXT
        for path in sorted(paths):
            text = self.workspace.text(self.head, path) or ""
            left -= len(text)
            if left <= 0:
                break
            texts[path] = text if len(text) <= _LONGEST else ""
        return texts


def _matching(pattern: re.Pattern[str], texts: dict[str, str]) -> set[str]:
    return {path for path, text in texts.items() if pattern.search(text)}


def _file_name(path: str) -> re.Pattern[str]:
    """Return a pattern for the name of a file, also without its suffix if it stands in quotes alone."""
    pure = PurePosixPath(path)
    stem = rf"|[\"'/]{re.escape(pure.stem)}[\"']" if len(pure.stem) >= _LEAST_STEM else ""
    return re.compile(rf"(?<![\w-]){re.escape(pure.name)}(?![\w-]){stem}")


def _place(path: str) -> re.Pattern[str]:
    """Return a pattern for the folders of a file, or for all files with its suffix."""
    pure = PurePosixPath(path)
    names = [re.escape(name) for name in pure.parent.parts if name not in _FOLDERS]
    folders = [rf"(?<![\w-])(?:{'|'.join(names)})(?![\w-])"] if names else []
    suffixes = [rf"\*{re.escape(pure.suffix)}\b|[\"']{re.escape(pure.suffix)}[\"']"] if pure.suffix else []
    return re.compile("|".join([*folders, *suffixes]) or r"(?!)")
