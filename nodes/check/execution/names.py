"""Test files whose names are not UTF-8, which pytest's JUnit report cannot hold."""

from collections.abc import Sequence
from itertools import pairwise

from sandbox.base import REPORT

# Runs in the place of `python -m pytest`. The ids are those that we read from the output of a collection.
_PROGRAM = """\
import os, sys
import pytest
class Names:
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report):
        report.nodeid = os.fsencode(report.nodeid).decode("utf-8", "replace")
    pytest_collectreport = pytest_runtest_logreport
sys.exit(pytest.main(sys.argv[1:], plugins=[Names()]))
"""


def readable_report(command: Sequence[str]) -> Sequence[str]:
    """Return a command of pytest that leaves a report whatever the names of the test files are."""
    pair = ("-m", "pytest")
    if any(REPORT in word for word in command) and pair in (words := [*pairwise(command)]):
        at = words.index(pair)
        return (*command[:at], "-c", _PROGRAM, *command[at + 2 :])
    return command
