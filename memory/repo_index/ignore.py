"""What `.gitignore` files leave out, those of subfolders too, read as hostile text."""

import os
import re
import stat
from contextlib import suppress
from pathlib import Path, PurePosixPath

from pathspec import GitIgnoreSpec

_LONGEST = 256 * 1024
_LINES = 2_000
_STARS = 5
"""Wildcards that a pattern may have: regular expressions of more can take for ever on a chosen path."""


class Ignore:
    """The rules of one folder and all below it, each file of them read when first needed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._rules: dict[str, GitIgnoreSpec | None] = {}
        self._own = _spec(root / ".git" / "info" / "exclude")

    def leaves_out(self, path: str) -> bool:
        """Tell whether a file or any of its folders is ignored."""
        parents = [str(parent) for parent in PurePosixPath(path).parents][-2::-1]
        return any(self.ignores(parent + "/") for parent in parents) or self.ignores(path)

    def ignores(self, path: str) -> bool:
        """Tell whether a path is ignored (a folder's ends in `/`), given that its folders are not."""
        folder = path.rstrip("/").rpartition("/")[0]
        while True:
            if spec := self._rules_of(folder):
                decided = spec.check_file(path[len(folder) + 1 :] if folder else path).include
                if decided is not None:
                    return decided
            if not folder:
                break
            folder = folder.rpartition("/")[0]
        return bool(self._own and self._own.check_file(path).include)

    def _rules_of(self, folder: str) -> GitIgnoreSpec | None:
        if folder not in self._rules:
            self._rules[folder] = _spec(self._root / folder / ".gitignore")
        return self._rules[folder]


def _spec(file: Path) -> GitIgnoreSpec | None:
    with suppress(OSError, ValueError):
        place = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(place, "rb") as opened:
            if not stat.S_ISREG(os.fstat(place).st_mode):
                return None
            lines = opened.read(_LONGEST).decode("utf-8", "replace").splitlines()[:_LINES]
        return GitIgnoreSpec.from_lines([line for line in lines if _is_sane(line)])
    return None


def _is_sane(line: str) -> bool:
    return len(line) < 500 and len(re.findall(r"\*+", line)) <= _STARS
