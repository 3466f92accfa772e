"""The packages of a repository that a change concerns, each with declarations and tests of its own."""

import re
from collections.abc import Collection, Iterable
from functools import cached_property
from pathlib import PurePosixPath

from nodes.check.runners.test_names import CODE, TEST_FOLDERS, is_test_name
from nodes.check.suites.config import CONFIG, NoSuite
from nodes.check.suites.suite import Suite, recognise
from tools.workspace import Workspace
from tools.workspace.package import open_package

DECLARATIONS = frozenset((
    CONFIG, "pyproject.toml", "setup.py", "setup.cfg", "tox.ini", "requirements.txt",
    "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml",
    "package.json", "go.mod", "Cargo.toml", "pom.xml", "build.gradle", "build.gradle.kts", "Gemfile",
    "composer.json",
))  # fmt: skip
"""Files that make a folder a package."""

_DATA = re.compile(
    r"(?:^|/)(?:tests?|testing|testdata|fixtures|vendor|third_party|node_modules|site-packages)/"
)
_PROSE = re.compile(r"\.(?:md|rst|adoc)$|(?:^|/)(?:docs?|\.github)/|(?:^|/)(?:LICEN[CS]E|CHANGE\w*)[^/]*$")


class Packages:
    """The packages of two snapshots. The root is the empty folder.

    A change may declare new packages. The base's own packages count all the same, so that a declaration
    beside the changed code does not keep the tests from it that judged this code before.
    """

    def __init__(self, workspace: Workspace, base: str, head: str) -> None:
        self._path, self._base = workspace.path, base
        old = set(workspace.files(base))
        self._old = _Side(workspace, base, old)
        self._new = _Side(workspace, base, old | set(workspace.files(head)))
        self.at_root = "." in self._new.declared
        self._decided = self.at_root and _names_command(workspace, base)

    def of(self, paths: Iterable[str]) -> list[str]:
        """Return the folders of the packages that hold `paths`, the root alone where nothing else does."""
        if self._decided or not self._new.folders:
            return [""]
        folders: set[str] = set()
        for path in paths:
            found = self._new.nearest(path)
            if CODE.search(path) or PurePosixPath(path).name in DECLARATIONS:
                folders.add(found)
            elif _PROSE.search(path):
                continue
            old = self._old.nearest(path)  # for data as well, which the tests beside it may read
            if old != found and self._is_added(found):
                continue
            folders |= {old} if self._old.has_own_tests(old) else set()
        if not self.at_root and folders - {""} and not self._old.has_own_tests(""):
            folders.discard("")  # nothing there says how its tests would run
        return sorted(folders) or [""]

    def _is_added(self, folder: str) -> bool:
        """Return whether the change adds a whole package beside those of the base."""
        beside = {PurePosixPath(old).parent for old in self._old.folders if self._old.has_tests(old)}
        return PurePosixPath(folder).parent in beside and not any(
            path.startswith(f"{folder}/") for path in self._old.files
        )

    def suites(self, paths: Iterable[str]) -> dict[str, Suite]:
        """Return the suite of each package that holds one of `paths`, by folder. Raises NoSuite."""
        return {folder: self.suite(folder) for folder in self.of(paths)}

    def suite(self, folder: str) -> Suite:
        """Return the suite of a package. Raises NoSuite."""
        return recognise(open_package(self._path, folder), self._base)

    def all(self) -> list[str]:
        """Return the root if it declares anything or has tests, and every package otherwise."""
        if self.at_root or not self._new.folders:
            return [""]
        return [folder for folder in sorted(self._new.folders) if self._new.has_tests(folder)] or [""]

    def nearest(self, path: str) -> str:
        """Return the folder of the package that holds a path, the root's if no other does."""
        return "" if self._decided else self._new.nearest(path)

    def main(self, paths: Iterable[str]) -> str:
        """Return the package of the first path that tests judge. A changelog decides only if it is alone."""
        paths = list(paths)
        judged = self.of(paths)
        return next((folder for folder in map(self.nearest, paths) if folder in judged), judged[0])

    @property
    def declared(self) -> Collection[str]:
        """The folders of the base below the root that declare something, tests or not."""
        return () if self._decided else self._old.folders

    def runs_tests(self, folder: str) -> bool:
        """Return whether a package of the base has tests. The root's must lie outside of the others."""
        return self._old.holds_tests(folder) if folder else self._old.has_own_tests("")

    @staticmethod
    def reaches_others(path: str) -> bool:
        """Return whether other packages may notice a change of this file: it is no test and no prose."""
        among_tests = any(part in TEST_FOLDERS for part in PurePosixPath(path).parts[:-1])
        return not among_tests and not is_test_name(path) and not _PROSE.search(path)


class _Side:
    """The packages among some files. `declared` are the folders with a declaration, the root as a dot."""

    def __init__(self, workspace: Workspace, base: str, files: Collection[str]) -> None:
        self._path = workspace.path
        self._base = base
        self.files = files
        found = (path.rpartition("/") for path in files if path.rpartition("/")[2] in DECLARATIONS)
        self.declared = {folder or "." for folder, _, _ in found if not _DATA.search(f"{folder or '.'}/")}
        self.folders = self.declared - {"."}
        self._known: dict[str, bool] = {}

    def nearest(self, path: str) -> str:
        """Return the nearest package above a path that has tests, or the root."""
        for above in PurePosixPath(path).parents:
            if str(above) in self.folders and self.has_tests(str(above)):
                return str(above)
        return ""

    def has_own_tests(self, folder: str) -> bool:
        """Return whether a package has tests. The root's must lie outside of the other packages."""
        return self.has_tests(folder) if folder else self._root_has_tests

    @cached_property
    def _root_has_tests(self) -> bool:
        try:
            suite = recognise(open_package(self._path, ""), self._base)
        except NoSuite:
            return False
        return any(suite.is_test(path) and not self.nearest(path) for path in self.files)

    def has_tests(self, folder: str) -> bool:
        """Return whether a package counts as one with tests."""
        # Whoever writes a configuration for a folder wants it to count, even before there is a test.
        return f"{folder}/{CONFIG}" in self.files or self.holds_tests(folder)

    def holds_tests(self, folder: str) -> bool:
        """Return whether there is a test in a package, or a command that runs some."""
        if folder not in self._known:
            self._known[folder] = self._find_tests(folder)
        return self._known[folder]

    def _find_tests(self, folder: str) -> bool:
        try:
            suite = recognise(open_package(self._path, folder), self._base)
        except NoSuite:
            return False
        below = _below(folder, self.files)
        return suite.grade == "exit code" or any(map(suite.is_test, below))


def _names_command(workspace: Workspace, base: str) -> bool:
    """Return whether the root's configuration says what runs the tests of the whole repository."""
    return bool(re.search(r"(?m)^[ \t]*(?:command|report)[ \t]*=", workspace.text(base, CONFIG) or ""))


def _below(folder: str, files: Collection[str]) -> list[str]:
    return [path.removeprefix(f"{folder}/") for path in files if path.startswith(f"{folder}/")]
