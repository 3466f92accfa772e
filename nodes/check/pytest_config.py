"""pytest's configuration in a repository, and the files that may change how pytest runs or reports."""

import configparser
import fnmatch
import re
import shlex
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from tools.workspace import Workspace

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

_PLUGIN = re.compile(r"^(?:async )?def pytest_\w+\(|^pytest_plugins\b|@(?:pytest\.)?hookimpl\b", re.MULTILINE)
_ALWAYS_SENSITIVE = {"conftest.py", ".autocode.toml", *(path for path, _ in _CONFIGS if "pytest." in path)}
_STARTUP_MODULES = {
    *("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments"),
    *("sitecustomize", "usercustomize"),
}


@dataclass(frozen=True)
class PytestOptions:
    """The options that matter to a check. `source` is the file that they come from."""

    source: str = ""
    files: tuple[str, ...] = ("test_*.py", "*_test.py")
    addopts: tuple[str, ...] = ()
    testpaths: tuple[str, ...] = ()
    pythonpath: tuple[str, ...] = ()

    def is_test(self, path: str) -> bool:
        """Return whether pytest takes the file for a test module by its name."""
        return path.endswith(".py") and any(_matches(pattern, path) for pattern in self.files)


def _matches(pattern: str, path: str) -> bool:
    if "/" in pattern:
        return fnmatch.fnmatchcase(f"/{path}", f"*/{pattern.removeprefix('/')}")
    return fnmatch.fnmatchcase(PurePosixPath(path).name, pattern)


def read_options(workspace: Workspace, snapshot: str) -> PytestOptions:
    """Return the options of the first configuration that pytest would use."""
    for path, keys in _CONFIGS:
        table = _table(workspace.text(snapshot, path), path, keys)
        if table is not None:
            return PytestOptions(
                source=path,
                files=_words(table.get("python_files")) or PytestOptions.files,
                addopts=_words(table.get("addopts")),
                testpaths=_words(table.get("testpaths")),
                pythonpath=_words(table.get("pythonpath")),
            )
    return PytestOptions()


def _table(text: str | None, path: str, keys: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the options in one file, None if it has none."""
    if text is None:
        return None
    try:
        table = _toml(text, keys) if path.endswith(".toml") else _ini(text, keys[0])
    except (tomllib.TOMLDecodeError, configparser.Error, RecursionError):
        table = None  # pytest itself reports a file that does not parse
    return {} if table is None and "pytest." in path else table  # pytest's own file counts even if empty


def _toml(text: str, keys: tuple[str, ...]) -> dict[str, Any] | None:
    table: Any = tomllib.loads(text)
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        return None
    ini = table.get("ini_options")
    return ini if isinstance(ini, dict) else table


def _ini(text: str, section: str) -> dict[str, Any] | None:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)  # pytest itself reports mistakes
    parser.read_string(text)
    return dict(parser[section]) if parser.has_section(section) else None


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(str(word) for word in value)
    if not isinstance(value, str):
        return ()
    try:
        return tuple(shlex.split(value, comments=True))
    except ValueError:
        return tuple(value.split())


def sensitive_files(workspace: Workspace, base: str, head: str, changed: Iterable[str]) -> list[str]:
    """Return the changed files that may alter how pytest runs or reports."""
    return [path for path in changed if _is_sensitive(workspace, base, head, path)]


def _is_sensitive(workspace: Workspace, base: str, head: str, path: str) -> bool:
    name = PurePosixPath(path).name
    # Python runs the import lines of .pth files at its start.
    if name in _ALWAYS_SENSITIVE or name.endswith(".pth") or _shadows(path):
        return True
    before, after = workspace.text(base, path), workspace.text(head, path)
    for config, keys in _CONFIGS:
        if path == config and _table(before, path, keys) != _table(after, path, keys):
            return True
    return name.endswith(".py") and any(_PLUGIN.search(text) for text in (before, after) if text)


def _shadows(path: str) -> bool:
    """Return whether Python or pytest would import this file in place of a module of their own."""
    parts = PurePosixPath(path.removeprefix("src/")).parts
    name = parts[0].removesuffix(".py")
    importable = len(parts) > 1 or path.endswith(".py")
    return importable and (name in _STARTUP_MODULES or name in sys.stdlib_module_names)
