"""The test side of a repository, judged by names."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import PurePosixPath

from nodes.check.runners.test_names import CODE, TEST_FOLDERS, is_test_name
from nodes.check.suites.pytest_config import is_config
from nodes.check.suites.suite import Suite

_TEST_FOLDERS = ("test", "tests")
_SPEC_FOLDERS = ("spec", "specs")
_RUNNER_FOLDERS = ("__snapshots__", "__mocks__", "__fixtures__")


class TestSide:
    """The test files, the conftest.py files, and everything in test folders.

    With pytest, a test folder is named `test` or `tests` and holds tests, or data alone. With other code,
    such a folder ships test tools of a library, which are part of the product. With anything else, names
    alone decide.
    """

    __test__ = False  # pytest would take the class for tests

    def __init__(self, suite: Suite, files: Iterable[str]) -> None:
        self._suite = suite
        self._by_cases = suite.is_pytest
        paths = list(files)
        self._tests = [path for path in paths if self.is_test(path)]
        above = {parent for path in self._tests for parent in PurePosixPath(path).parents}
        names = _TEST_FOLDERS if self._by_cases else (*TEST_FOLDERS, *_SPEC_FOLDERS)
        self._folders = {str(folder) for folder in above if folder.name in names}
        self._data_folders = _without_code(paths, names)
        self._folders |= self._data_folders
        self._folders |= self._configured(paths) if self._by_cases else set()
        self._homes = {str(PurePosixPath(path).parent) for path in self._tests}

    def __contains__(self, path: str) -> bool:
        if self.is_test(path) or (self._by_cases and PurePosixPath(path).name == "conftest.py"):
            return True
        parents = PurePosixPath(path).parents
        runner = self._suite.runner
        if runner and (runner.steers(path) or any(above.name in _RUNNER_FOLDERS for above in parents)):
            return True
        if not self._by_cases and any(above.name in TEST_FOLDERS for above in parents):
            return True
        return any(str(above) in self._folders for above in parents)

    def is_test(self, path: str) -> bool:
        """Return whether the file holds tests, judged by its name."""
        if self._suite.grade == "tests":
            return self._suite.is_test(path)
        return is_test_name(path)

    def lies_beside_tests(self, path: str) -> bool:
        """Return whether the file is no code and lies in or below a folder that holds tests and product."""
        above = {str(folder) for folder in PurePosixPath(path).parents}
        roots = {*self._homes, *(str(PurePosixPath(root)) for root in self._suite.options.testpaths)}
        return path not in self and not CODE.search(path) and not above.isdisjoint(roots)

    def lies_far_from_tests(self, path: str) -> bool:
        """Return whether the file lies in a test folder that holds data alone."""
        return any(str(above) in self._data_folders for above in PurePosixPath(path).parents)

    def admits(self, path: str, is_new: bool) -> bool:
        """Return whether a tester may write the file. It leaves the product's files as they are.

        An existing conftest.py or configuration steers the tests that exist.
        """
        if self.is_test(path):
            return True
        if PurePosixPath(path).name == "conftest.py" or is_config(path):
            return is_new
        return path in self or (is_new and self.lies_beside_tests(path))

    def tests_near(self, paths: Iterable[str]) -> set[str]:
        """Return the tests below the nearest test folder of each data file. No import leads to such files.

        These are all tests if that folder holds data alone.
        """
        data = [path for path in paths if not path.endswith(".py")]
        nearest = {
            next((str(above) for above in PurePosixPath(path).parents if str(above) in self._folders), "")
            for path in data
        }
        if nearest & self._data_folders:
            return {*self._tests}
        return {test for test in self._tests for folder in nearest if test.startswith(f"{folder}/")}

    def _configured(self, paths: list[str]) -> set[str]:
        """Return the folders that `testpaths` names and that hold more tests than other code."""
        folders = set()
        for folder in (str(PurePosixPath(root)) for root in self._suite.options.testpaths):
            code = [path for path in paths if path.startswith(f"{folder}/") and path.endswith(".py")]
            if 2 * sum(self.is_test(path) for path in code) > len(code):
                folders.add(folder)
        return folders


def _without_code(paths: Iterable[str], names: Collection[str]) -> set[str]:
    """Return the folders with one of these names that hold files and no code."""
    holders: dict[bool, set[str]] = {True: set(), False: set()}
    for path in paths:
        holders[bool(CODE.search(path))].add(path.rpartition("/")[0])
    code, data = ({above for folder in holders[kind] for above in _upwards(folder)} for kind in (True, False))
    return {folder for folder in data - code if folder.rpartition("/")[2] in names}


def _upwards(folder: str) -> Iterator[str]:
    """Yield a folder and those above it, up to the root, which is empty."""
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]
    yield ""
