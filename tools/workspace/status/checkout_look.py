"""The files of ignored paths and attributes in a checkout, which libgit2 reads while it compares files."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import comb
from pathlib import PurePosixPath

from tools.workspace.errors import WorkspaceError
from tools.workspace.opening.config_files import LIST_BYTES
from tools.workspace.opening.regular import read_file

LISTS = (".gitignore", ".gitattributes")
QUICK_STEPS, MOST_STEPS = 10**8, 10**9
"""Steps of comparison that take half a second and several. libgit2 holds the interpreter meanwhile."""

_EACH = 10  # the steps to begin with a pattern
_FOLDER_STEPS = 8  # going through folders costs more than going through letters

_MOST_ENTRIES = 3_000_000


@dataclass
class CheckoutLook:
    """The numbers that bound how long a checkout's names take to match its patterns."""

    names: int = 0
    longest: int = 1
    deepest: int = 1
    patterns: Counter[tuple[int, int]] = field(default_factory=Counter)
    """The number of patterns by how many parts are `**`, and by the most stars in another part."""

    @property
    def steps(self) -> int:
        """The most steps that the matching takes: libgit2 tries every way to divide a path at stars."""
        return self.names * sum(count * self._steps(*stars) for stars, count in self.patterns.items())

    def _steps(self, folders: int, stars: int) -> int:
        deep = comb(self.deepest + folders, folders) * (_FOLDER_STEPS if folders else 1)
        return _EACH + deep * comb(self.longest + stars, stars)

    def add(self, path: str) -> None:
        """Read a file of patterns, if there is one. Raises WorkspaceError if it is no regular file."""
        if not os.path.isdir(path):
            for line in (read_file(path, LIST_BYTES) or b"").removeprefix(b"\xef\xbb\xbf").splitlines():
                if line.lstrip(b" \t").startswith((b"\v", b"\f")):  # libgit2 would read it for ever
                    raise WorkspaceError(f"{path} has a line that begins with a form feed; remove it")
                parts = line.split()[0].split(b"/") if line.strip() else []
                folders = sum(b"**" in part for part in parts)
                self.patterns[folders, max([0, *(part.count(b"*") for part in parts)])] += 1


def look_at_checkout(root: str, git_folders: Iterable[str]) -> CheckoutLook:
    """Look at every list in a checkout. Raises WorkspaceError if one of them is no regular file."""
    look = CheckoutLook()
    for folder in git_folders:
        look.add(f"{folder}/info/exclude")
        look.add(f"{folder}/info/attributes")
    waiting = [(root, 1)]
    while waiting:
        place, depth = waiting.pop()
        look.deepest = max(look.deepest, depth)
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    look.names += 1
                    look.longest = max(look.longest, len(entry.name))
                    if entry.name in LISTS:
                        look.add(entry.path)
                    if entry.is_dir(follow_symlinks=False) and entry.name != ".git":
                        waiting.append((entry.path, depth + 1))
        except OSError:
            continue  # libgit2 reads it no more than we do
        if look.names > _MOST_ENTRIES:
            raise WorkspaceError(f"{root} has more than {_MOST_ENTRIES:,} files; option from_head helps")
    return look


def look_along(root: str, git_folders: Iterable[str], paths: Iterable[str]) -> CheckoutLook:
    """Look at the lists that concern `paths`."""
    look = CheckoutLook()
    for folder in git_folders:
        look.add(f"{folder}/info/attributes")
    folders = set[PurePosixPath]()
    for path in paths:
        look.names += 1
        look.longest = max(look.longest, *map(len, path.split("/")))
        look.deepest = max(look.deepest, path.count("/") + 1)
        folders.update(PurePosixPath(path).parents)
    for place in folders:
        look.add(os.path.join(root, place, ".gitattributes"))
    return look
