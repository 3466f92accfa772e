"""What steers pytest in a repository: configuration, conftest files, plugins, and names that shadow it."""

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
"""Where pytest looks for its options, in its own order, and the table or section that holds them."""

_PLUGIN = re.compile(r"^(?:async )?def pytest_\w+\(|^pytest_plugins\b|@(?:pytest\.)?hookimpl\b", re.MULTILINE)
_STARTUP = {
    "pytest",
    "_pytest",
    "pluggy",
    "iniconfig",
    "packaging",
    "pygments",
    "sitecustomize",
    "usercustomize",
}


@dataclass(frozen=True)
class Options:
    """The options of pytest that matter to a check, as one snapshot's configuration has them."""

    source: str = ""
    files: tuple[str, ...] = ("test_*.py", "*_test.py")
    addopts: tuple[str, ...] = ()
    testpaths: tuple[str, ...] = ()
    pythonpath: tuple[str, ...] = ()

    def is_test(self, path: str) -> bool:
        """True when pytest takes the file for a test module by its name."""
        return path.endswith(".py") and any(_matches(pattern, path) for pattern in self.files)


def _matches(pattern: str, path: str) -> bool:
    if "/" in pattern:
        return fnmatch.fnmatchcase(f"/{path}", f"*/{pattern.removeprefix('/')}")
    return fnmatch.fnmatchcase(PurePosixPath(path).name, pattern)


def options(workspace: Workspace, snapshot: str) -> Options:
    """Read the first configuration that pytest would use; pytest itself names what cannot be parsed."""
    for path, keys in _CONFIGS:
        table = _table(workspace.text(snapshot, path), path, keys)
        if table is not None:
            return Options(
                source=path,
                files=_words(table.get("python_files")) or Options.files,
                addopts=_words(table.get("addopts")),
                testpaths=_words(table.get("testpaths")),
                pythonpath=_words(table.get("pythonpath")),
            )
    return Options()


def _table(text: str | None, path: str, keys: tuple[str, ...]) -> dict[str, Any] | None:
    """The options in one file; None when it has none. A file for pytest alone counts even when empty."""
    if text is None:
        return None
    try:
        found = _toml(text, keys) if path.endswith(".toml") else _ini(text, keys[0])
    except (tomllib.TOMLDecodeError, configparser.Error, RecursionError):
        found = None
    return {} if found is None and "pytest." in path else found


def _toml(text: str, keys: tuple[str, ...]) -> dict[str, Any] | None:
    table: Any = tomllib.loads(text)
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        return None
    ini = table.get("ini_options")
    return ini if isinstance(ini, dict) else table


def _ini(text: str, section: str) -> dict[str, Any] | None:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
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


def sensitive(workspace: Workspace, base: str, head: str, changed: Iterable[str]) -> list[str]:
    """Those of the changed files that may alter how pytest runs or reports, beside what it tests."""
    return [path for path in changed if _steers(workspace, base, head, path)]


def _steers(workspace: Workspace, base: str, head: str, path: str) -> bool:
    name = PurePosixPath(path).name
    if name in ("conftest.py", ".autocode.toml") or name.endswith(".pth") or _shadows(path):
        return True
    before, after = workspace.text(base, path), workspace.text(head, path)
    for config, keys in _CONFIGS:
        if path == config and _table(before, path, keys) != _table(after, path, keys):
            return True
    if name in ("pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml"):
        return True
    return name.endswith(".py") and any(_PLUGIN.search(text) for text in (before, after) if text)


def _shadows(path: str) -> bool:
    """True for a top-level module that Python or pytest would import in place of its own."""
    parts = PurePosixPath(path.removeprefix("src/")).parts
    name = parts[0].removesuffix(".py")
    importable = len(parts) > 1 or path.endswith(".py")
    return importable and (name in _STARTUP or name in sys.stdlib_module_names)
