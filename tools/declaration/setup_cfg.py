"""The list `install_requires` of a setup.cfg, edited as text so that comments and layout stay."""

import re
from collections.abc import Collection, Sequence

from sandbox.environment.detection.sources import Sources
from tools.declaration.declared import DeclarationError, without

_SECTION = re.compile(r"^\[options\][ \t]*$", re.MULTILINE)
_NEXT = re.compile(r"^\[", re.MULTILINE)
_KEY = re.compile(r"^install_requires[ \t]*[=:][ \t]*$", re.MULTILINE)
_KEY_NAME = re.compile(r"^install_requires\b", re.MULTILINE)


def in_setup_cfg(sources: Sources, path: str, add: Sequence[str], gone: Collection[str]) -> str:
    """Return the text with another list. It is to stand on lines of its own. Raises DeclarationError."""
    text = sources.text(path)
    before = sources.ini(path)
    old = before.get("options", {}).get("install_requires", "").splitlines()
    wanted = without([line for line in old if line.strip()], gone) + list(add)
    edited = _edited(path, text, add, gone)
    after = Sources({path: edited}).ini(path)
    listed = after.get("options", {}).pop("install_requires", "")
    before.get("options", {}).pop("install_requires", None)
    if before != after or [line for line in listed.splitlines() if line.strip()] != wanted:
        raise DeclarationError(f"{path} is written in a way that cannot be edited here; edit it in a step")
    return edited


def _edited(path: str, text: str, add: Sequence[str], gone: Collection[str]) -> str:
    section = _SECTION.search(text)
    if section is None:
        raise DeclarationError(f"{path} has no section [options]; edit it in a step")
    following = _NEXT.search(text, section.end())
    end = following.start() if following else len(text)
    key = _KEY.search(text, section.end(), end)
    if key is None and _KEY_NAME.search(text, section.end(), end):
        message = (
            f"{path} lists `install_requires` on the line of its name; give each package a line of its own"
        )
        raise DeclarationError(message)
    if key is None:
        listed = "".join(f"\n    {each}" for each in add)
        return f"{text[: section.end()]}\ninstall_requires ={listed}{text[section.end() :]}"
    lines, count = text[key.end() : end].splitlines(keepends=True), 0
    for number, line in enumerate(lines):
        if line.strip() and not line.lstrip().startswith("#") and number and line[0] not in " \t":
            break
        if line[:1] in " \t" and line.strip():
            count = number + 1
    entries = lines[:count]
    indents = re.findall(r"(?m)^([ \t]+)\S", "".join(entries))
    body = "".join(without(entries, gone)) or "\n"
    new = "".join(f"{indents[0] if indents else '    '}{each}\n" for each in add)
    joint = "" if body.endswith("\n") else "\n"
    return f"{text[: key.end()]}{body}{joint}{new}{''.join(lines[count:])}{text[end:]}"
