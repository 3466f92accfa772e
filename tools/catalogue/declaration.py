"""The declaration of a repository's Python packages: add packages to it, and take them out."""

import re
import tomllib
from collections.abc import Callable, Collection, Sequence
from typing import Any

from tools.catalogue.parameters import package_name

PYPROJECT, REQUIREMENTS = "pyproject.toml", "requirements.txt"
OTHERS = ("setup.py", "setup.cfg", "Pipfile", "environment.yml", "poetry.lock", "uv.lock", "pdm.lock")
"""Files that declare packages, or pin them, and that only their own tools can write."""

_LARGEST = 500_000
_TABLE = re.compile(r"^[ \t]*\[project\][ \t]*(?:#.*)?$", re.MULTILINE)
_NEXT = re.compile(r"^[ \t]*\[", re.MULTILINE)
_LIST = re.compile(r"^[ \t]*dependencies[ \t]*=[ \t]*\[", re.MULTILINE)
_PIECE = re.compile(r"#[^\n]*|\"[^\"\n]*\"|'[^'\n]*'|\]|[^\"'#\]]+")
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


class DeclarationError(Exception):
    """The declaration cannot be edited. The text says why, and what to do instead."""


def declare(
    read: Callable[[str], str | None], add: Sequence[str] = (), remove: Collection[str] = ()
) -> tuple[str, str]:
    """Return the path of the declaration, and its text with packages added and removed.

    `read` returns the text of a file at the root of the repository, None if there is none. `remove` holds
    normalised names. Raises DeclarationError.
    """
    pyproject = read(PYPROJECT)
    for name in OTHERS:
        if read(name) is not None and not (name == "setup.cfg" and pyproject):
            raise DeclarationError(f"{name} declares or pins the packages; plan a step that edits it instead")
    gone = {*remove, *map(package_name, add)}
    if pyproject is not None and "project" in _parsed(pyproject):
        return PYPROJECT, _in_pyproject(pyproject, add, gone)
    requirements = read(REQUIREMENTS)
    if requirements is None and not add:
        raise DeclarationError(f"neither {PYPROJECT} nor {REQUIREMENTS} declares packages at the root")
    return REQUIREMENTS, _in_requirements(requirements or "", add, gone)


def _parsed(text: str) -> dict[str, Any]:
    if len(text) > _LARGEST:
        raise DeclarationError(f"{PYPROJECT} is too large")
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise DeclarationError(f"{PYPROJECT} is not usable TOML: {str(error)[:200]}") from error


def _in_requirements(text: str, add: Sequence[str], gone: Collection[str]) -> str:
    if len(text) > _LARGEST or "--hash" in text or "--require-hashes" in text:
        raise DeclarationError(f"{REQUIREMENTS} has hashes, which only its own tool can write")
    lines = [line for line in text.splitlines() if _declared(line) not in gone]
    return "".join(f"{line}\n" for line in [*lines, *add])


def _in_pyproject(text: str, add: Sequence[str], gone: Collection[str]) -> str:
    """Edit the list of dependencies, and check that this is all that has changed."""
    before = _parsed(text)
    project = before["project"]
    if not isinstance(project, dict) or "dependencies" in (project.get("dynamic") or ()):
        raise DeclarationError(f"the dependencies in {PYPROJECT} are dynamic; edit what declares them")
    old = list(project.get("dependencies") or [])
    wanted = [line for line in old if _declared(str(line)) not in gone] + list(add)
    edited = _with_list(text, gone, add)
    after = _parsed(edited)
    expected = before | {"project": project | {"dependencies": wanted}}
    if after != expected:
        raise DeclarationError(
            f"{PYPROJECT} is written in a way that cannot be edited here; edit it in a step"
        )
    return edited


def _with_list(text: str, gone: Collection[str], add: Sequence[str]) -> str:
    """Return the text with the list of dependencies rewritten. Comments in it stay."""
    table = _TABLE.search(text)
    if table is None:
        raise DeclarationError(f"{PYPROJECT} has no line `[project]`; edit it in a step")
    end = _NEXT.search(text, table.end())
    found = _LIST.search(text, table.end(), end.start() if end else len(text))
    quoted = [f'"{each}"' for each in add]
    if found is None:
        body = "".join(f"    {each},\n" for each in quoted)
        return f"{text[: table.end()]}\ndependencies = [\n{body}]{text[table.end() :]}"
    pieces, place = list[str](), found.end()
    while (piece := _PIECE.match(text, place)) and piece[0] != "]":
        pieces.append(piece[0])
        place = piece.end()
    entries = [each for each in pieces if each[0] in "\"'" and _declared(each[1:-1]) not in gone]
    comments = [each for each in pieces if each.startswith("#")]
    if "\n" in "".join(pieces) or comments:
        lines = "".join(f"    {each}\n" for each in [*comments, *(f"{e}," for e in [*entries, *quoted])])
        return f"{text[: found.end()]}\n{lines}{text[place:]}"
    return f"{text[: found.end()]}{', '.join([*entries, *quoted])}{text[place:]}"


def _declared(line: str) -> str:
    """Return the normalised name of the package that a line declares, empty if it declares none."""
    match = _NAME.match(line)
    return package_name(match[1]) if match else ""
