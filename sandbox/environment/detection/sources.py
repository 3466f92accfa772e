"""Bounded reading of a repository's declarations. Every file may be hostile."""

import ast
import configparser
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from sandbox.environment.recipe import Fault, FaultName

MAX_CHARACTERS = 512_000
"""The longest file that is parsed. Lock files are hashed but not parsed."""

# The bounds of memory/validation.py, which this folder may not import. tomllib's work grows with the square
# of a dotted key's length.
_MAX_TOML_CHARACTERS = _MAX_INI_CHARACTERS = 256_000
_MAX_DOTS = 500
_MAX_INI_WORK = 50_000_000  # configparser's work grows with the square of a line's length
_MAX_LOCK_CHARACTERS = 20_000_000
_MAX_PYTHON_CHARACTERS = 100_000


class Sources:
    """The files of one snapshot, parsed on demand, and the faults that were found on the way.

    `files` may be a lazy mapping: a file is only read when a declaration names it.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        self.paths = frozenset(files)
        self.faults: list[Fault] = []
        self._files = files
        self._sections: dict[str, dict[str, dict[str, str]]] = {}

    def __contains__(self, path: str) -> bool:
        return path in self.paths

    def fault(self, name: FaultName, message: str, fatal: bool = True) -> None:
        """Record a problem once."""
        if (fault := Fault(name, message, fatal)) not in self.faults:
            self.faults.append(fault)

    def text(self, path: str, limit: int = MAX_CHARACTERS) -> str:
        """Return a file's text, or nothing when it is absent or too large."""
        if path not in self.paths:
            return ""
        text = self._files[path]
        if len(text) > limit:
            self.fault("too large", f"{path} has {len(text):,} characters. At most {limit:,} are read.")
            return ""
        return text

    def lock(self, path: str) -> str:
        """Return the text of a lock file, which is only hashed."""
        return self.text(path, _MAX_LOCK_CHARACTERS)

    def toml(self, path: str) -> dict[str, Any]:
        """Return a parsed TOML file, or an empty table and a fault."""
        text = self.text(path, _MAX_TOML_CHARACTERS)
        if any(part.count(".") > _MAX_DOTS for line in text.splitlines() for part in line.split("=")):
            self.fault("too large", f"{path} has a line with more than {_MAX_DOTS} dots and is not read.")
            return {}
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            place = re.search(r"\(at line (\d+), column \d+\)", str(error))
            line = place[1] if place else text.count("\n") + 1
            reason = str(error).partition(" (at ")[0]
            self.fault("syntax", f"{path}, line {line}: {reason}. Correct the TOML.")
        except (RecursionError, ValueError) as error:
            self.fault("syntax", f"{path} is not usable TOML: {_short(error)}.")
        return {}

    def json(self, path: str) -> dict[str, Any]:
        """Return a parsed JSON object, or an empty one and a fault."""
        if path not in self.paths or not (text := self.text(path)):
            return {}
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            self.fault("syntax", f"{path}, line {error.lineno}: {error.msg}. Correct the JSON.")
            return {}
        except (RecursionError, ValueError) as error:
            self.fault("syntax", f"{path} is not usable JSON: {_short(error)}.")
            return {}
        if not isinstance(found, dict):
            self.fault("syntax", f"{path} holds no JSON object.")
            return {}
        return found

    def ini(self, path: str) -> dict[str, dict[str, str]]:
        """Return the sections of an INI file, without interpolation."""
        if path not in self._sections:
            self._sections[path] = self._ini(path)
        return {name: dict(values) for name, values in self._sections[path].items()}

    def _ini(self, path: str) -> dict[str, dict[str, str]]:
        parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
        text = self.text(path, _MAX_INI_CHARACTERS)
        if sum(len(line) ** 2 for line in text.splitlines()) > _MAX_INI_WORK:
            self.fault("too large", f"{path} has lines that are too long and is not read.")
            return {}
        try:
            parser.read_string(text, path)
        except configparser.Error as error:
            lines = getattr(error, "errors", None)
            line = lines[0][0] if lines else getattr(error, "lineno", "?")
            self.fault("syntax", f"{path}, line {line}: not an INI file that can be read.")
            return {}
        return {name: {key: value or "" for key, value in parser.items(name)} for name in parser.sections()}

    def python(self, path: str) -> ast.Module | None:
        """Return the syntax tree of a Python file that is never executed. None when it cannot be parsed."""
        text = self.text(path, _MAX_PYTHON_CHARACTERS)
        if not text:
            return None
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None) or "?"
            self.fault(
                "syntax", f"{path}, line {line}: not Python that can be read ({_short(error)}).", False
            )
            return None


def table(value: object, *names: str) -> dict[str, Any]:
    """Return the table that the keys lead to, or an empty one."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def strings(value: object) -> tuple[str, ...]:
    """Return the strings of a list, ignoring everything else."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def join(folder: str, name: str) -> str:
    """Return the path of a file in a folder of the repository. The root folder is the empty string."""
    return f"{folder}/{name}" if folder else name


def folders_above(path: str) -> Iterable[str]:
    """Return the folder of a path and every folder above it, nearest first, down to the root."""
    for parent in PurePosixPath(path).parents:
        yield "" if str(parent) == "." else str(parent)


def resolve(folder: str, name: str) -> str | None:
    """Return a path relative to the repository, or None when it leaves the repository."""
    parts: list[str] = []
    for part in (*folder.split("/"), *name.split("/")):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return None if name.startswith("/") else "/".join(parts)


def _short(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:120]
