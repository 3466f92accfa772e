"""The large folders in which pytest found no test on the base, so that it need not walk them on the change.

pytest asks all of its plugins about each file, which takes a second of processor time for 20,000 files.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache

from nodes.check.change import CheckedChange
from nodes.check.outcomes import Outcomes
from nodes.check.suites.pytest_config import is_config
from tools.workspace import Workspace

_LEAST_FILES = 500
_MOST_FOLDERS = 8  # pytest compares each path with each of them


def folders_without_tests(workspace: Workspace, change: CheckedChange, base: Outcomes) -> tuple[str, ...]:
    """Return the topmost folders that have no test, and that get none by the change. Blocks.

    The run of the base has seen them, with whatever its plugins collect. None of their files differs on the
    change, and none has the name of a test or of a conftest.py. A change that may alter what pytest collects
    has no such folders. A case of the base that is lost all the same makes the check red.
    """
    if not base.known or any(_may_collect(workspace, change, path) for path in change.changed):
        return ()
    files = change.base_files | change.head_files
    walked = set[str]()
    for path in (*change.changed, *filter(change.suite.is_test, files), *filter(_is_conftest, files)):
        walked.update(_folders_above(path, "/"))
    for case in base.cases or ():
        walked.update(_folders_above(f"{case.replace('::', '.').strip('.')}.", "."))

    @cache
    def topmost(folder: str) -> str:
        """Return the highest folder above the files of `folder` that holds no test, empty without one."""
        above = _folders_above(f"{folder}/", "/")
        return next((each for each in above if walked.isdisjoint((each, each.replace("/", ".")))), "")

    counts = Counter(filter(None, (topmost(path.rpartition("/")[0]) for path in files)))
    largest = counts.most_common(_MOST_FOLDERS)
    return tuple(sorted(folder for folder, count in largest if count >= _LEAST_FILES))


def _may_collect(workspace: Workspace, change: CheckedChange, path: str) -> bool:
    """Return whether a changed file may decide what pytest collects: a configuration, or code of a plugin."""
    if _is_conftest(path) or is_config(path.rpartition("/")[2]):
        return True
    # Tests import pytest, and define no hooks. Other sources that name it may be a plugin.
    word = "pytest_" if change.suite.is_test(path) else "pytest"
    return any(word in (workspace.text(side, path) or "") for side in (change.base, change.head))


def _is_conftest(path: str) -> bool:
    return path.rpartition("/")[2] == "conftest.py"


def _folders_above(path: str, separator: str) -> Iterator[str]:
    """Yield the folders above a file, the outermost first."""
    return (path[:end] for end, char in enumerate(path) if char == separator)
