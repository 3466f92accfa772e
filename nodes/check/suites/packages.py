"""The packages of a repository that a change concerns, each with declarations and tests of its own."""

import re
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from nodes.check.runners.test_names import CODE
from nodes.check.suites.config import CONFIG, NoSuite
from nodes.check.suites.suite import Suite, recognise
from tools.workspace import Workspace
from tools.workspace.package import open_package

DECLARATIONS = frozenset((
    CONFIG, "pyproject.toml", "setup.py", "setup.cfg", "pytest.ini", "tox.ini", "requirements.txt",
    "package.json", "go.mod", "Cargo.toml", "pom.xml", "build.gradle", "build.gradle.kts", "Gemfile",
    "composer.json",
))  # fmt: skip
"""Files that make a folder a package."""

MOST = 8

_DATA = re.compile(
    r"(?:^|/)(?:tests?|testing|testdata|fixtures|vendor|third_party|node_modules|site-packages)/"
)


class Packages:
    """The packages of two snapshots. The root is the empty folder."""

    def __init__(self, workspace: Workspace, base: str, head: str) -> None:
        self._path = workspace.path
        self._base = base
        self._files = {*workspace.files(base), *workspace.files(head)}
        found = (PurePosixPath(path) for path in self._files if PurePosixPath(path).name in DECLARATIONS)
        folders = {str(path.parent) for path in found if not _DATA.search(f"{path.parent}/")}
        self.at_root = "." in folders
        self._folders = folders - {"."}
        self._known: dict[str, bool] = {}
        self._decided = self.at_root and _names_command(workspace, base)

    def of(self, paths: Iterable[str]) -> list[str]:
        """Return the folders of the packages that hold `paths`, the root alone where nothing else does."""
        paths = list(paths)
        if self._decided or not self._folders:
            return [""]
        folders = {self.nearest(path) for path in paths if CODE.search(path)}
        folders |= {self.nearest(path) for path in paths if PurePosixPath(path).name in DECLARATIONS}
        if not self.at_root and folders - {""}:
            folders.discard("")  # nothing there says how its tests would run
        return sorted(folders)[:MOST] or [""]

    def suites(self, paths: Iterable[str]) -> dict[str, Suite]:
        """Return the suite of each package that holds one of `paths`, by folder. Raises NoSuite."""
        return {folder: self.suite(folder) for folder in self.of(paths)}

    def suite(self, folder: str) -> Suite:
        """Return the suite of a package. Raises NoSuite."""
        return recognise(open_package(self._path, folder), self._base)

    def all(self) -> list[str]:
        """Return the root if it declares anything or has tests, and every package otherwise."""
        if self.at_root or not self._folders:
            return [""]
        return [folder for folder in sorted(self._folders) if self._has_tests(folder)] or [""]

    def nearest(self, path: str) -> str:
        """Return the folder of the package that holds a path, the root's if no other does."""
        if self._decided:
            return ""
        for above in PurePosixPath(path).parents:
            if str(above) in self._folders and self._has_tests(str(above)):
                return str(above)
        return ""

    def _has_tests(self, folder: str) -> bool:
        if folder not in self._known:
            self._known[folder] = self._find_tests(folder)
        return self._known[folder]

    def _find_tests(self, folder: str) -> bool:
        if f"{folder}/{CONFIG}" in self._files:
            return True
        try:
            suite = self.suite(folder)
        except NoSuite:
            return False
        below = _below(folder, self._files)
        return suite.grade == "exit code" or any(map(suite.is_test, below))


def _names_command(workspace: Workspace, base: str) -> bool:
    """Return whether the root's configuration says what runs the tests of the whole repository."""
    return bool(re.search(r"(?m)^\s*(?:command|report)\s*=", workspace.text(base, CONFIG) or ""))


def _below(folder: str, files: Collection[str]) -> list[str]:
    return [path.removeprefix(f"{folder}/") for path in files if path.startswith(f"{folder}/")]
