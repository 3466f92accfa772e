"""Checks of paths that a model wants to write."""

import re
import unicodedata

from tools.workspace.errors import PathError


def is_git_folder(name: str) -> bool:
    """Return whether some file system would take `name` for `.git`."""
    # NTFS ignores final dots and spaces, has streams (`:`) and short names. HFS+ ignores invisible
    # characters.
    visible = "".join(char for char in name if unicodedata.category(char) != "Cf")
    plain = visible.lower().partition(":")[0].rstrip(" .")
    return plain == ".git" or re.fullmatch(r"git~\d+", plain) is not None


def check_path(path: str) -> None:
    """Raise PathError unless `path` is a plain relative path inside the repository."""
    if problem := _problem(path):
        raise PathError(f"{path[:200]!r}: {problem}")


def _problem(path: str) -> str | None:
    parts = path.split("/")
    if not path:
        return "the path is empty; name a file such as src/app.py"
    if not path.isprintable():
        return "the path contains a character that cannot be printed; use plain text"
    if "\\" in path:
        return "put / between folders, not a backslash"
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return "the path is absolute; write it relative to the repository's root, such as src/app.py"
    if any(part in ("", ".", "..") for part in parts):
        return "write the path from the repository's root, without empty parts, `.` or `..`"
    if any(is_git_folder(part) for part in parts):
        return "git's own files cannot be written"
    if len(path.encode()) > 4000 or any(len(part.encode()) > 255 for part in parts):
        return "the path is too long"
    return None
