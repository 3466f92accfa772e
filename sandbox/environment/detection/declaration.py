"""The `[environment]` table of `.autocode.toml`, where a repository states its own environment."""

import re
from dataclasses import dataclass
from typing import Any

from sandbox.environment.detection.sources import Sources, join, resolve

DECLARATION = ".autocode.toml"

_KEYS = ("python", "image", "setup", "packages", "env", "files", "venv", "memory_mb", "cpus")
_MAX_ITEMS = 100
_MAX_CHARACTERS = 4000
_PYTHON = re.compile(r"\d{1,9}(\.\d{1,9}){1,2}")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.:=~-]*", re.IGNORECASE)
_IMAGE = re.compile(r"[\w][\w./:@-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A repository's variables must not replace what the sandbox itself relies on.
_RESERVED = re.compile(r"PATH|HOME|TMPDIR|USER|LD_.*|UV_.*|VIRTUAL_ENV|AUTOCODE_.*")


@dataclass(frozen=True)
class Declaration:
    """The values that a repository states. Everything that is absent is detected."""

    path: str = ""
    python: str = ""
    image: str = ""
    setup: tuple[str, ...] | None = None
    packages: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    files: tuple[str, ...] = ()
    venv: str = ""
    memory_mb: int | None = None
    cpus: float | None = None

    @classmethod
    def read(cls, sources: Sources, folder: str) -> "Declaration | None":
        """Read the declaration of a folder. Wrong values become faults that name the file and the key."""
        path = join(folder, DECLARATION)
        if path not in sources:
            return None
        values = sources.toml(path).get("environment")
        if values is None:
            return None
        reader = _DeclarationReader(sources, path, values)
        return cls(
            path=path,
            python=reader.matching("python", _PYTHON, 'a version such as "3.12"'),
            image=reader.matching("image", _IMAGE, 'an image such as "python:3.12-slim"'),
            setup=reader.lines("setup") if "setup" in reader.values else None,
            packages=reader.packages(),
            env=reader.env(),
            files=reader.paths("files", folder),
            venv=(reader.paths("venv", folder) or ("",))[0],
            memory_mb=reader.memory(),
            cpus=reader.cpus(),
        )


class _DeclarationReader:
    def __init__(self, sources: Sources, path: str, values: object) -> None:
        self.sources = sources
        self.path = path
        self.values: dict[str, Any] = values if isinstance(values, dict) else {}
        if not isinstance(values, dict):
            self._wrong("[environment]", "a table")
        for key in self.values:
            if key not in _KEYS:
                message = f"{path}: [environment] has no key {key[:50]!r}. Known keys: {', '.join(_KEYS)}."
                sources.fault("value", message)

    def _wrong(self, key: str, expected: str) -> None:
        line = self._line(key)
        place = f"{self.path}, line {line}" if line else self.path
        self.sources.fault("value", f"{place}: {key} must be {expected}.")

    def _line(self, key: str) -> int | None:
        text = self.sources.text(self.path)
        start = re.search(r"(?m)^[ \t]*\[environment", text)
        if key == "[environment]":
            return text.count("\n", 0, start.start()) + 1 if start else None
        found = re.compile(rf"(?m)^[ \t]*\"?{re.escape(key)}\"?[ \t]*=").search(
            text, start.start() if start else 0
        )
        return text.count("\n", 0, found.start()) + 1 if found else None

    def matching(self, key: str, pattern: re.Pattern[str], expected: str) -> str:
        value = self.values.get(key, "")
        if value == "" and key not in self.values:
            return ""
        if isinstance(value, str) and len(value) <= _MAX_CHARACTERS and pattern.fullmatch(value):
            return value
        self._wrong(key, expected)
        return ""

    def lines(self, key: str) -> tuple[str, ...]:
        value = self.values.get(key, [])
        items = [value] if isinstance(value, str) else value
        if isinstance(items, list) and len(items) <= _MAX_ITEMS and all(map(_is_plain, items)):
            return tuple(items)
        self._wrong(key, f"a list of at most {_MAX_ITEMS} printable lines")
        return ()

    def packages(self) -> tuple[str, ...]:
        names = self.lines("packages")
        if all(_PACKAGE.fullmatch(name) for name in names):
            return names
        self._wrong("packages", "a list of package names")
        return ()

    def paths(self, key: str, folder: str) -> tuple[str, ...]:
        found = []
        for name in self.lines(key):
            path = resolve(folder, name)
            if not path or path.split("/")[0] == ".git":
                self._wrong(key, "relative to the file's folder and inside the repository")
                return ()
            found.append(path)
        return tuple(found)

    def env(self) -> tuple[tuple[str, str], ...]:
        value = self.values.get("env", {})
        items = value.items() if isinstance(value, dict) else ()
        texts = {key: _text(item) for key, item in items}
        if not isinstance(value, dict) or len(texts) > _MAX_ITEMS or None in texts.values():
            self._wrong("env", "a table of names and short values")
            return ()
        for name in texts:
            if not _VARIABLE.fullmatch(name) or _RESERVED.fullmatch(name):
                self._wrong(
                    "env", f"without {name[:50]!r}, which the sandbox sets itself or which is no name"
                )
                return ()
        return tuple(sorted((name, text) for name, text in texts.items() if text is not None))

    def memory(self) -> int | None:
        value = self.values.get("memory_mb")
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and 16 <= value <= 2**20):
            return value
        self._wrong("memory_mb", "a whole number of mebibytes, at least 16")
        return None

    def cpus(self) -> float | None:
        value = self.values.get("cpus")
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool) and 0.05 <= value <= 1024:
            return float(value)
        self._wrong("cpus", "a number of processors, at least 0.05")
        return None


def _is_plain(value: object) -> bool:
    # Control characters could hide a command on the terminal that approves it.
    return isinstance(value, str) and 0 < len(value) <= _MAX_CHARACTERS and value.isprintable()


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int | float):
        value = str(value) if not isinstance(value, int) or abs(value) < 10**18 else ""
    return value if isinstance(value, str) and len(value) <= _MAX_CHARACTERS and "\0" not in value else None
