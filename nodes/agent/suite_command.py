"""The commands that run a repository's tests, in the words that people use."""

import shlex
from collections.abc import Iterable, Mapping

from nodes.check.suites.config import NoSuite
from nodes.check.suites.packages import Packages
from nodes.check.suites.suite import Suite
from nodes.dialogue.prompts import section
from sandbox.base import REPORT
from tools.workspace import Workspace


def suite_commands(suites: Mapping[str, Suite]) -> str:
    """Return the section that says how the tests of each package are run."""
    lines = [f"In {folder}: {_of(suite)}" if folder else _of(suite) for folder, suite in suites.items()]
    return section("How the tests are run", "\n".join(lines))


def commands_near(workspace: Workspace, base: str, head: str, paths: Iterable[str]) -> str:
    """Return the same for the packages that hold some files, empty without a suite. Blocks."""
    try:
        return suite_commands(Packages(workspace, base, head).suites(paths))
    except NoSuite:
        return ""


def _of(suite: Suite) -> str:
    if suite.is_pytest:
        command = [word for word in suite.whole() if REPORT not in word]
        return shlex.join(command).replace("-o junit_family=xunit2 ", "")
    judged = f"with {suite.title}" if suite.runner else "judged by its exit code alone"
    return f"{shlex.join(suite.command)} ({judged})"
