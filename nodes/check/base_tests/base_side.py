"""The files that run in the base's version when the base's tests judge a change."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from nodes.check.base_tests.doctests import with_base_examples
from nodes.check.base_tests.test_side import TestSide
from nodes.check.selection import ImportGraph
from nodes.check.suites.pytest_config import is_config, options_table
from nodes.check.suites.suite import Suite
from tools.workspace import Workspace

Contents = dict[str, str | bytes | None]
"""By path, the content that a file gets, None to delete it."""

_MOST_TEXT = 20_000_000  # characters of sources that are searched for a file's name
_LONGEST = 300_000
_STARTUP = re.compile(r"(?:^|/)(?:sitecustomize|usercustomize)\.py$|\.pth$")
_HELPER = re.compile(
    r"(?:^|_)(?:tests?|testing|testutils?|helpers?|fixtures?|assert\w*|fakes?|stubs?|mocks?)(?:_|$)"
)
_TEST_TOOLS = re.compile(r"^[ \t]*(?:import|from)[ \t]+(?:pytest|unittest)\b|^pytest_plugins\b", re.MULTILINE)
_PLUGIN = re.compile(r"^(?:async )?def pytest_\w+\(|@(?:pytest\.)?hookimpl\b", re.MULTILINE)
_DOCUMENT = re.compile(r"\.(?:md|rst|txt)$")
_NO_DATA = re.compile(
    r"\.(?:py|[cm]?[jt]sx?|go|rs|java|kt|c|cc|cpp|h|hh|hpp|rb|php|cs|swift|scala|exs?|lua|sh|css|vue|sql|proto)$"
    r"|(?:^|/)(?:pyproject\.toml|setup\.cfg|tox\.ini|package(?:-lock)?\.json|Cargo\.\w+|go\.\w+|pom\.xml"
    r"|\w*[Mm]akefile|(?:CHANGE|HISTORY|NEWS|VERSION)[^/]*)$",
)
"""Sources, and files that name a version, which tests read beside the product's own."""
_GOLDEN = re.compile(r"golden|expect|snapshot|approved|baseline|cassette|fixture|testdata", re.IGNORECASE)
_DESCRIPTION = re.compile(r"\.(?:md|rst|txt|toml|cfg|ini|ya?ml|in|lock)$|^LICENSE$")


@dataclass(frozen=True)
class BaseSide:
    """Finds, among the changed files, those that the base's tests consist of."""

    workspace: Workspace
    suite: Suite
    base: str
    head: str
    base_files: Collection[str]
    head_files: Collection[str]
    side: TestSide
    graph: Callable[[], ImportGraph]
    """Returns the imports of the change's sources."""

    def contents(self, changed: Collection[str], deleted: Collection[str]) -> Contents:
        """Return the base's version of these files. Files that the change added are deleted."""
        paths = {path for path in changed if path in self.side}
        if self.suite.is_pytest:
            paths |= {path for path in changed if self._steers(path)}
            sources = [path for path in changed if path.endswith(".py") and path not in paths]
            paths |= {path for path in sources if self._is_helper(path)}
        paths |= self._golden([path for path in changed if path not in paths])
        contents: Contents = {}
        for path in sorted(paths):
            content = self.workspace.read(self.base, path)
            if content is not None or path not in deleted:
                contents[path] = content
        return contents | self._doctests([path for path in changed if path not in paths])

    def helpers(self, changed: Collection[str]) -> list[str]:
        """Return the edited modules outside the test folders that are taken for helpers of the tests."""
        paths = [path for path in changed if path.endswith(".py") and path not in self.side]
        return [path for path in paths if path in self.base_files and self._is_helper(path)]

    def _steers(self, path: str) -> bool:
        if _STARTUP.search(path):
            return True
        name = PurePosixPath(path).name
        base, head = (self.workspace.read(snapshot, path) for snapshot in (self.base, self.head))
        return is_config(name) and options_table(name, base) != options_table(name, head)

    def _is_helper(self, path: str) -> bool:
        """Return whether only tests use the module, and it looks like a part of them."""
        texts = [self.workspace.text(snapshot, path) or "" for snapshot in (self.base, self.head)]
        stem = PurePosixPath(path).stem
        if not _HELPER.search(stem) and not any(_TEST_TOOLS.search(t) or _PLUGIN.search(t) for t in texts):
            return False
        importers = self.graph().direct_importers(path)
        return all(importer in self.side for importer in importers)

    def _golden(self, changed: Collection[str]) -> set[str]:
        """Return the files that the base's tests name and that no source of the base's product names.

        Tests also name a folder, and compute the names of its files. A change adds files to such a folder.
        """
        known = {path: PurePosixPath(path).name for path in changed if self._may_be_golden(path)}
        folders = {path: folder for path in changed if (folder := self._data_folder(path))}
        return self._named_by_tests_alone(known) | self._named_by_tests_alone(folders)

    def _may_be_golden(self, path: str) -> bool:
        parents = PurePosixPath(path).parent.parts
        return path in self.base_files and (not _NO_DATA.search(path) or any(map(_GOLDEN.search, parents)))

    def _data_folder(self, path: str) -> str:
        """Return the name of the folder that holds a file and no code, empty if it holds code."""
        folder = PurePosixPath(path).parent
        code = self._folders.get(str(folder))
        return folder.name if code is False or (code and _GOLDEN.search(folder.name)) else ""

    @cached_property
    def _folders(self) -> dict[str, bool]:
        """The folders of the base, with whether they hold code."""
        folders: dict[str, bool] = {}
        for path in self.base_files:
            folder = path.rpartition("/")[0] or "."
            folders[folder] = folders.get(folder, False) or bool(_NO_DATA.search(path))
        return folders

    def _named_by_tests_alone(self, names: Mapping[str, str]) -> set[str]:
        """Return those paths whose name stands in a test of the base and in no source of its product.

        A path that the change adds may not be named in a source of the change either.
        """
        if not names:
            return set()
        named = self._named(self.base, [path for path in self.base_files if path in self.side], names)
        for snapshot, files in ((self.base, self.base_files), (self.head, self.head_files)):
            product = [path for path in files if path not in self.side and not _DESCRIPTION.search(path)]
            asked = {
                path: names[path] for path in named if snapshot == self.base or path not in self.base_files
            }
            named -= self._named(snapshot, [path for path in product if path not in names], asked)
        return named

    def _named(self, snapshot: str, sources: Collection[str], paths: Mapping[str, str]) -> set[str]:
        """Return those of `paths` whose name stands in one of the `sources`."""
        named: set[str] = set()
        left = _MOST_TEXT
        for source in sources:
            if len(named) == len(paths) or left <= 0:
                break
            text = self.workspace.text(snapshot, source) or ""
            left -= len(text)
            if len(text) <= _LONGEST:
                named |= {path for path, name in paths.items() if _mentions(text, name)}
        return named

    def _doctests(self, changed: Collection[str]) -> Contents:
        """Return changed documents and modules with the base's examples, if pytest runs examples."""
        if not any("doctest" in word for word in (*self.suite.options.addopts, *self.suite.command)):
            return {}
        contents: Contents = {}
        for path in changed:
            base, head = self.workspace.text(self.base, path), self.workspace.text(self.head, path)
            if base is None or head is None or ">>>" not in base:
                continue
            if _DOCUMENT.search(path):
                contents[path] = base
            elif path.endswith(".py") and (text := with_base_examples(base, head)) != head:
                contents[path] = text
        return contents


def _mentions(text: str, name: str) -> bool:
    at = text.find(name)
    while at >= 0:
        around = text[at - 1 : at] + text[at + len(name) : at + len(name) + 1]
        if not re.search(r"[\w-]", around):
            return True
        at = text.find(name, at + 1)
    return False
