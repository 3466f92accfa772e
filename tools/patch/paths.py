"""Which file of the tree a diff means, and whether it may be written."""

import re
from collections.abc import Collection

from tools.patch.errors import PatchError


def find(name: str, files: Collection[str]) -> str | None:
    """The file that a header names: exactly, without its prefix, or by a suffix that only one file has."""
    if name in files:
        return name
    bare = _bare(name)
    if bare in files:
        return bare
    shorter = [file for file in files if ("/" + bare).endswith("/" + file)]
    longer = [file for file in files if ("/" + file).endswith("/" + bare)]
    if shorter:
        return max(shorter, key=len)
    if len(longer) > 1:
        raise PatchError(
            f"the path fits several files: {', '.join(sorted(longer)[:5])}; give the whole path", name
        )
    return longer[0] if longer else None


def _bare(name: str) -> str:
    name = re.sub(r"^(?:\./)+", "", name.replace("\\", "/"))
    name = re.sub(r"^[abciow]/", "", name)
    return re.sub(r"^(?:\./|/)+", "", name)


def new(name: str) -> str:
    """The path for a file that the diff creates, refused when it is not plainly inside the tree."""
    path = re.sub(r"^(?:\./)+", "", re.sub(r"^[abciow]/", "", name))
    parts = path.split("/")
    unsafe = (
        name.startswith(("/", "~", "\\"))
        or "\\" in path
        or re.match(r"[A-Za-z]:", path)
        or any(part in ("", ".", "..") or part.lower() == ".git" for part in parts)
        or any(ord(char) < 32 for char in path)
        or path.startswith(("/", "~"))
    )
    if unsafe:
        raise PatchError(
            "this path is not allowed: give a path inside the repository, relative to its root", name
        )
    return path
