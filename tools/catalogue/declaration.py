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
_OTHERWISE = f"{PYPROJECT} is written in a way that cannot be edited here; edit it in a step"
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
        raise DeclarationError(_OTHERWISE)
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
    if not text.startswith("]", place):  # a string of several lines
        raise DeclarationError(_OTHERWISE)
    body = _without(pieces, gone)
    body = _with_lines(body, quoted) if "\n" in body else _with_words(body, quoted)
    return f"{text[: found.end()]}{body}{text[place:]}"


def _without(pieces: Sequence[str], gone: Collection[str]) -> str:
    """Join the pieces of a list, without entries that go. Lines that held nothing else go as well."""
    kept, was_dropped = "", False
    for piece in pieces:
        if piece[0] in "\"'" and _declared(piece[1:-1]) in gone:
            was_dropped = True
            continue
        if was_dropped and piece[0] not in "#\"'":
            piece = piece.replace(",", "", 1)
            if piece.lstrip(" \t").startswith("\n"):
                kept = kept.rstrip(" \t").removesuffix("\n")
        was_dropped = False
        kept += piece
    return kept


def _with_lines(body: str, quoted: Sequence[str]) -> str:
    """Add entries to a list of several lines, each on a line of its own."""
    if not quoted:
        return body
    end, is_open = 0, False
    for piece in _PIECE.finditer(body):
        if piece[0][0] in "\"'":
            end, is_open = piece.end(), True
        elif piece[0][0] != "#" and "," in piece[0]:
            is_open = False
    if is_open:
        body = f"{body[:end]},{body[end:]}"
    lines = body.rstrip(" \t").removesuffix("\n")
    entries = re.findall(r"\n([ \t]+)[\"']", lines)
    indent = entries[-1] if entries else "    "
    return lines + "".join(f"\n{indent}{each}," for each in quoted) + "\n"


def _with_words(body: str, quoted: Sequence[str]) -> str:
    """Add entries to a list in a single line."""
    return ", ".join(filter(None, [body.strip(" \t,"), *quoted]))


def _declared(line: str) -> str:
    """Return the normalised name of the package that a line declares, empty if it declares none."""
    match = _NAME.match(line)
    return package_name(match[1]) if match else ""
