"""Dependencies in a pyproject.toml, edited as text so that comments and layout stay."""

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from sandbox.environment.detection.sources import Sources
from tools.declaration.declared import DeclarationError, declared_name

_OTHERWISE = "{path} is written in a way that cannot be edited here; edit it in a step"
_LIST = re.compile(r"^[ \t]*dependencies[ \t]*=[ \t]*\[", re.MULTILINE)
_PIECE = re.compile(r"#[^\n]*|\"[^\"\n]*\"|'[^'\n]*'|\]|[^\"'#\]]+")
_NEXT = re.compile(r"^[ \t]*\[", re.MULTILINE)
_KEY = re.compile(r"^[ \t]*[\"']?([A-Za-z0-9][A-Za-z0-9._-]*)[\"']?[ \t]*=")
_PARTS = re.compile(r"([^\[<>=!~]+)(?:\[([^\]\n]*)\])?(.*)")


def in_project(path: str, text: str, add: Sequence[str], gone: Collection[str]) -> str:
    """Return the text with another list of dependencies in `[project]`. Raises DeclarationError."""
    old = [str(each) for each in parsed(path, text)["project"].get("dependencies") or []]
    fresh = {declared_name(each): each for each in add}
    named = [(declared_name(each), each) for each in old]
    kept = [fresh.pop(name, each) for name, each in named if name in fresh or name not in gone]
    wanted = [*kept, *fresh.values()]

    def expect(tables: dict[str, Any]) -> None:
        tables["project"]["dependencies"] = wanted

    return _checked(path, text, _with_list(path, text, gone, add), expect)


def in_poetry(path: str, text: str, add: Sequence[str], gone: Collection[str]) -> str:
    """Return the text with other entries in `[tool.poetry.dependencies]`. Raises DeclarationError."""
    entries = dict(map(_poetry_entry, add))

    def expect(tables: dict[str, Any]) -> None:
        table = tables["tool"]["poetry"]["dependencies"]
        kept = {key: value for key, value in table.items() if not _goes(key, gone)}
        tables["tool"]["poetry"]["dependencies"] = kept | entries

    start, end = _table(path, text, "tool.poetry.dependencies")
    lines = text[start:end].splitlines(keepends=True)
    kept = [line for line in lines if not ((key := _KEY.match(line)) and _goes(key[1], gone))]
    body = "".join(kept).rstrip()
    rest = "".join(kept)[len(body) :].removeprefix("\n")
    new = "".join(f"\n{name} = {_as_toml(value)}" for name, value in entries.items())
    return _checked(path, text, f"{text[:start]}{body}{new}\n{rest}{text[end:]}", expect)


def parsed(path: str, text: str) -> dict[str, Any]:
    """Return the tables of a file. Raises DeclarationError."""
    sources = Sources({path: text})
    tables = sources.toml(path)
    if sources.faults:
        raise DeclarationError(sources.faults[0].message)
    return tables


def _checked(path: str, text: str, edited: str, expect: Callable[[dict[str, Any]], None]) -> str:
    """Return the edited text if nothing else has changed than `expect` does to the tables."""
    expected, after = parsed(path, text), Sources({path: edited})
    expect(expected)
    if after.toml(path) != expected or after.faults:
        raise DeclarationError(_OTHERWISE.format(path=path))
    return edited


def _goes(key: str, gone: Collection[str]) -> bool:
    return key != "python" and declared_name(key) in gone


def _poetry_entry(specifier: str) -> tuple[str, str | dict[str, Any]]:
    """Return the key and the value that declare a package such as `requests[socks]>=2`."""
    match = _PARTS.fullmatch(specifier)
    if match is None:
        raise DeclarationError(f"{specifier!r} names no package")
    name, extras, version = match[1], match[2], match[3] or "*"
    return name, {"version": version, "extras": extras.split(",")} if extras else version


def _as_toml(value: str | dict[str, Any]) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    extras = ", ".join(f'"{extra}"' for extra in value["extras"])
    return f'{{version = "{value["version"]}", extras = [{extras}]}}'


def _table(path: str, text: str, name: str) -> tuple[int, int]:
    """Return where the lines of a table begin and end."""
    pattern = rf"^[ \t]*\[{re.escape(name)}\][ \t]*(?:#.*)?$"
    table = re.search(pattern, text, re.MULTILINE)
    if table is None:
        raise DeclarationError(f"{path} has no line `[{name}]`; edit it in a step")
    end = _NEXT.search(text, table.end())
    return table.end(), end.start() if end else len(text)


def _with_list(path: str, text: str, gone: Collection[str], add: Sequence[str]) -> str:
    """Return the text with the list of dependencies rewritten. Comments stay, but those of what goes."""
    start, end = _table(path, text, "project")
    found = _LIST.search(text, start, end)
    fresh = {declared_name(each): f'"{each}"' for each in add}
    if found is None:
        body = "".join(f"    {each},\n" for each in fresh.values())
        return f"{text[:start]}\ndependencies = [\n{body}]{text[start:]}"
    pieces, place = list[str](), found.end()
    while (piece := _PIECE.match(text, place)) and piece[0] != "]":
        pieces.append(piece[0])
        place = piece.end()
    if not text.startswith("]", place):  # a string of several lines
        raise DeclarationError(_OTHERWISE.format(path=path))
    body, quoted = _without(pieces, gone, fresh), list(fresh.values())
    body = _with_lines(body, quoted) if "\n" in body else _with_words(body, quoted)
    return f"{text[: found.end()]}{body}{text[place:]}"


def _without(pieces: Sequence[str], gone: Collection[str], fresh: dict[str, str]) -> str:
    """Join the pieces of a list, without entries that go. Lines that held nothing else go as well.

    What is `fresh` takes the place of an entry of its name, and is not in the mapping afterwards.
    """
    kept, was_dropped = "", False
    for piece in pieces:
        if piece[0] in "\"'":
            name = declared_name(piece[1:-1])
            was_dropped = name in gone and name not in fresh
            kept += "" if was_dropped else fresh.pop(name, piece)
            continue
        if was_dropped:
            if piece[0] == "#":
                continue
            piece = piece.replace(",", "", 1)
            if piece.lstrip(" \t").startswith("\n"):
                kept = kept.rstrip(" \t").removesuffix("\n")
            was_dropped = "\n" not in piece
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
