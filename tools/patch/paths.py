"""Paths in a diff: the files that they mean, and checks of new ones."""

import re
from collections.abc import Collection

from tools.patch.errors import PatchError


def exact(name: str, files: Collection[str]) -> str | None:
    """Return the file that a header names, as written or without its prefix."""
    bare = _bare(name)
    return name if name in files else bare if bare in files else None


def similar(name: str, files: Collection[str]) -> str | None:
    """Return the only file whose path ends with the name, or with whose path the name ends."""
    bare = _bare(name)
    longer = [file for file in files if file.endswith("/" + bare)]
    shorter = [file for file in files if bare.endswith("/" + file)]
    if len(longer) > 1:
        some = ", ".join(sorted(longer)[:5])
        raise PatchError(f"this path fits several files ({some}): write the whole path", name)
    return next(iter(longer or sorted(shorter, key=len, reverse=True)), None)


def alike(one: str, other: str) -> bool:
    """Return whether two names can mean one file: they are equal, or the shorter one ends the longer one."""
    short, long = sorted((_bare(one), _bare(other)), key=len)
    return f"/{long}".endswith(f"/{short}")


def _bare(name: str) -> str:
    name = re.sub(r"^(?:\./)+", "", name.replace("\\", "/"))
    name = re.sub(r"^[abciow]/", "", name)  # git's prefixes, those of diff.mnemonicPrefix included
    return re.sub(r"^(?:\./|/)+", "", name)


def new(name: str) -> str:
    """Return the path of a file that the diff creates. Raises PatchError if it could leave the tree."""
    path = re.sub(r"^(?:\./)+", "", name.removeprefix("b/"))
    parts = path.split("/")
    unsafe = (
        name.startswith(("/", "~", "\\"))
        or "\\" in path
        or re.match(r"[A-Za-z]:", path)  # a drive of Windows
        or any(part in ("", ".", "..") or part.lower() == ".git" for part in parts)
        or any(ord(char) < 32 for char in path)
        or path.startswith(("/", "~"))
    )
    if unsafe:
        raise PatchError(
            "this path is not allowed: give a path inside the repository, relative to its root", name
        )
    return path
