"""Suites of unittest and doctest, which pytest runs too if it is told where they are."""

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import PurePosixPath

from nodes.check.runners.runner import Read
from nodes.check.suites.pytest_config import PytestOptions

_UNITTEST_NAME = re.compile(r"^tests?\w*\.py$")
_UNITTEST = re.compile(r"^[ \t]*(?:import|from)[ \t]+(?:unittest|django\.test)\b", re.MULTILINE)
_COMMANDS = ("tox.ini", "Makefile", "noxfile.py", "justfile")
_DOCUMENTS = ("README.md", "README.rst", "README.txt", "CONTRIBUTING.md")
_MODULES = re.compile(
    r"\b(?:pytest|py\.test)\b[^\n#]{0,200}--doctest-modules\b|\bpython[\d.]{0,9}\b[^\n#]{0,200} -m doctest\b"
)
_DOCTEST_FILE = re.compile(r"^[\w./-]+\.(?:md|rst|txt)\b")
_MOST_READ = 200


def python_suite(
    files: Collection[str], options: PytestOptions, read: Read
) -> tuple[list[str], PytestOptions]:
    """Return arguments for pytest by which it finds all that the project calls its tests, and the options.

    A repository whose tests pytest finds by itself gets no argument, unless its own commands run doctests.
    """
    found = any(map(options.is_test, files))
    arguments: list[str] = []
    if not found and not options.source and _holds_unittest(files, read):
        options = replace(options, files=(*options.files, "test*.py"))
        arguments += ["-o", f"python_files={' '.join(options.files)}"]
    if any("doctest" in word for word in options.addopts):
        return arguments, options
    texts = [read(path) or "" for path in (*_COMMANDS, *(() if found else _DOCUMENTS)) if path in files]
    lines = [line for text in texts for line in text.splitlines() if not line.lstrip().startswith("#")]
    if any(map(_MODULES.search, lines)):
        arguments += ["--doctest-modules", "--doctest-ignore-import-errors"]
        words = (line.partition(" -m doctest ")[2].partition("#")[0].split() for line in lines)
        named = {
            match[0] for line in words if (match := next(filter(None, map(_DOCTEST_FILE.match, line)), None))
        }
        arguments += [f"--doctest-glob={PurePosixPath(path).name}" for path in sorted(named) if path in files]
    return arguments, options


def _holds_unittest(files: Collection[str], read: Read) -> bool:
    named = [path for path in sorted(files) if _UNITTEST_NAME.match(PurePosixPath(path).name)]
    return any(_UNITTEST.search(read(path) or "") for path in named[:_MOST_READ])
