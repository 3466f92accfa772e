"""Test files whose names are not UTF-8, which pytest's JUnit report cannot hold."""

from collections.abc import Sequence
from itertools import pairwise

# Runs in the place of `python -m pytest`. Reports and lists of cases name each odd byte, such as \udce9.
_PROGRAM = """\
import sys
import pytest
class Names:
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report):
        report.nodeid = report.nodeid.encode(errors="backslashreplace").decode()
    pytest_collectreport = pytest_runtest_logreport
sys.stdout.reconfigure(errors="backslashreplace")
sys.exit(pytest.main(sys.argv[1:], plugins=[Names()]))
"""


def readable_report(command: Sequence[str]) -> Sequence[str]:
    """Return a command of pytest that leaves a report whatever the names of the test files are."""
    pair = ("-m", "pytest")
    if pair in (words := [*pairwise(command)]):
        at = words.index(pair)
        return (*command[:at], "-c", _PROGRAM, *command[at + 2 :])
    return command
