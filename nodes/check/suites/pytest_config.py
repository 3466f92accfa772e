"""pytest's configuration in a repository, and the files that may change how pytest runs or reports."""

import fnmatch
import re
import shlex
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

from memory.validation import read_ini, read_toml
from nodes.check.suites.config import NoSuite
from tools.workspace import Workspace

_MOST_PATTERNS, _LONGEST_PATTERN = 200, 200
_MOST_KNOWN = 100_000  # paths whose matches are kept, because a run asks some ten times for each file
_CONFIGS = (
    ("pytest.toml", ("pytest",)),
    (".pytest.toml", ("pytest",)),
    ("pytest.ini", ("pytest",)),
    (".pytest.ini", ("pytest",)),
    ("pyproject.toml", ("tool", "pytest")),
    ("tox.ini", ("pytest",)),
    ("setup.cfg", ("tool:pytest",)),
)
"""The files that pytest reads its options from, in its own order, each with its table or section."""


@dataclass(frozen=True)
class PytestOptions:
    """The options that matter to a check. `source` is the file that they come from."""

    source: str = ""
    files: tuple[str, ...] = ("test_*.py", "*_test.py")
    addopts: tuple[str, ...] = ()
    testpaths: tuple[str, ...] = ()
    pythonpath: tuple[str, ...] = ()
    norecursedirs: tuple[str, ...] = ("*.egg", ".*", "_darcs", "build", "CVS", "dist", "node_modules", "venv")

    def is_test(self, path: str) -> bool:
        """Return whether pytest takes the file for a test module by its name."""
        return path.endswith(".py") and _matches(self.files, path)

    def skips(self, path: str) -> bool:
        """Return whether pytest looks into no folder of the file, unless a command names the file."""
        folders = [str(folder) for folder in PurePosixPath(path).parents][:-1]
        return any(_matches(self.norecursedirs, folder) for folder in folders)


@lru_cache(maxsize=_MOST_KNOWN)
def _matches(patterns: tuple[str, ...], path: str) -> bool:
    names, paths = _compiled(patterns)
    return bool(names.match(path, path.rfind("/") + 1) or (paths and paths.match(f"/{path}")))


@lru_cache(maxsize=64)
def _compiled(patterns: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str] | None]:
    """Return one expression for the patterns of names, and one for those of paths."""
    names = [fnmatch.translate(pattern) for pattern in patterns if "/" not in pattern]
    paths = [fnmatch.translate(f"*/{pattern.removeprefix('/')}") for pattern in patterns if "/" in pattern]
    return re.compile("|".join(names) or r"(?!)"), re.compile("|".join(paths)) if paths else None


def read_options(workspace: Workspace, snapshot: str) -> PytestOptions:
    """Return the options of the first configuration that pytest would use. Raises NoSuite."""
    for path, keys in _CONFIGS:
        table = _table(workspace.text(snapshot, path), path, keys)
        if table is not None:
            return PytestOptions(
                source=path,
                files=_patterns(table.get("python_files"), path) or PytestOptions.files,
                addopts=_words(table.get("addopts")),
                testpaths=_patterns(table.get("testpaths"), path),
                pythonpath=_words(table.get("pythonpath")),
                norecursedirs=_patterns(table.get("norecursedirs"), path) or PytestOptions.norecursedirs,
            )
    return PytestOptions()


def _table(text: str | None, path: str, keys: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the options in one file, None if it has none."""
    if text is None:
        return None
    try:
        table = _toml(text, keys) if path.endswith(".toml") else _ini(text, keys[0])
    except ValueError:
        table = None  # pytest itself reports a file that does not parse
    return {} if table is None and "pytest." in path else table  # pytest's own file counts even if empty


def _toml(text: str, keys: tuple[str, ...]) -> dict[str, Any] | None:
    table: Any = read_toml(text)
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        return None
    ini = table.get("ini_options")
    return ini if isinstance(ini, dict) else table


def _ini(text: str, section: str) -> dict[str, Any] | None:
    parser = read_ini(text)
    return dict(parser[section]) if parser.has_section(section) else None


def _patterns(value: object, path: str) -> tuple[str, ...]:
    """Return patterns that can be compared with each path. Raises NoSuite for too many or too long ones."""
    words = _words(value)
    if len(words) > _MOST_PATTERNS or any(len(word) > _LONGEST_PATTERN for word in words):
        raise NoSuite(
            f"{path}: pytest's options hold more than {_MOST_PATTERNS} patterns, or one of over "
            f"{_LONGEST_PATTERN} characters; write fewer and shorter ones"
        )
    return words


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(str(word) for word in value)
    if not isinstance(value, str):
        return ()
    try:
        return tuple(shlex.split(value, comments=True))
    except ValueError:
        return tuple(value.split())


def is_config(name: str) -> bool:
    """Return whether pytest may read its options from a file of this name."""
    return any(name == path for path, _ in _CONFIGS)


def options_table(name: str, data: bytes | None) -> dict[str, Any] | None:
    """Return pytest's own options in a configuration file, None if it has none."""
    text = None if data is None else data.decode("utf-8", "replace")
    return next((_table(text, path, keys) for path, keys in _CONFIGS if path == name), None)
