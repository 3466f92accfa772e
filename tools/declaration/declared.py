"""An edited declaration, and the command that renews its lock."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from tools.catalogue import InvalidCall
from tools.catalogue.parameters import package_name

_NAME = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


class DeclarationError(InvalidCall):
    """The declaration cannot be edited. The text says why, and what to do instead."""


@dataclass(frozen=True)
class Renewal:
    """The renewal of a lock. `command` is a shell line for a build, and rewrites the file at `path`.

    It runs in the folder of the declaration, and `{python}` stands for the option that names Python. A text
    `before` only gains the entries that it lacks.
    """

    path: str
    command: str
    before: str = ""

    def with_python(self, version: str) -> str:
        """Return the command for a version of Python, which may be empty."""
        return self.command.replace("{python}", f" --python {version}" if version else "")

    def result(self, text: str) -> str:
        """Return the text of the lock, from what the command has written."""
        if not self.before:
            return text
        known = {declared_name(line) for line in logical_lines(self.before)}
        new = (line for line in logical_lines(text) if declared_name(line) not in known)
        return self.before + "".join(new)


@dataclass(frozen=True)
class Declared:
    """A declaration with its new text, for the packages of a folder.

    It has a `renewal` if something pins what it declares.
    """

    folder: str
    path: str
    text: str
    renewal: Renewal | None = None


def declared_name(line: str) -> str:
    """Return the normalised name of the package that a line declares, empty if it declares none."""
    match = _NAME.match(line)
    return package_name(match[1]) if match else ""


def logical_lines(text: str) -> list[str]:
    """Return the lines of a requirement file, each with those that go on with it.

    A line that ends with a backslash goes on, and an indented comment belongs to the line before it.
    """
    lines, is_open = list[str](), False
    for line in text.splitlines(keepends=True):
        is_note = line[:1] in " \t" and line.lstrip().startswith("#")
        if is_open or (is_note and lines):
            lines[-1] += line
        else:
            lines.append(line)
        is_open = line.rstrip("\r\n").endswith("\\")
    return lines


def without(lines: Collection[str], gone: Collection[str]) -> list[str]:
    """Return the lines that declare none of the packages that go."""
    return [line for line in lines if declared_name(line) not in gone]
