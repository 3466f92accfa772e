"""The rules of all `.gitignore` files of a repository, read as text that may be hostile."""

import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import AnyStr

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

_LONGEST = 256 * 1024
_LINES = 2_000
_FOLDERS = 2
"""Parts `**/` of a pattern. Regular expressions with more can take forever on a chosen path."""

_STAR = re.compile(r"\[\^/\]\*((?:\\.|\[\^/\](?!\*)|\[[^\]/]+\]|[^\\/()\[\]])*)(?=\[\^/\]\*)")
"""A star and what stands before the next star of the same part."""


class _LinearPattern(GitIgnoreSpecPattern):
    """A pattern whose stars do not backtrack: the first place of what follows a star is as good as others."""

    @classmethod
    def pattern_to_regex(cls, pattern: AnyStr) -> tuple[AnyStr | None, bool | None]:
        regex, include = super().pattern_to_regex(pattern)
        if isinstance(regex, str):
            regex = _STAR.sub(r"(?>[^/]*?\1)", regex)
        return regex, include


class Ignore:
    """The rules of one tree of files. Each file of rules is read on first use.

    `read` returns the content of the file at a relative path, None without one.
    """

    def __init__(self, read: Callable[[str], bytes | None]) -> None:
        self._read = read
        self._rules: dict[str, GitIgnoreSpec | None] = {}
        self._own = _spec(read(".git/info/exclude"))

    @classmethod
    def of_folder(cls, root: Path) -> "Ignore":
        """Return the rules of a folder on disk."""
        return cls(partial(_read_below, root))

    def leaves_out(self, path: str) -> bool:
        """Return True if a file or any of its folders is ignored."""
        parents = [str(parent) for parent in PurePosixPath(path).parents][-2::-1]
        return any(self.ignores(parent + "/") for parent in parents) or self.ignores(path)

    def ignores(self, path: str) -> bool:
        """Return True if a path is ignored whose parent folders are not. A folder's path ends in `/`."""
        folder = path.rstrip("/").rpartition("/")[0]
        while True:
            if spec := self._rules_of(folder):
                ignored = spec.check_file(path[len(folder) + 1 :] if folder else path).include
                if ignored is not None:
                    return ignored
            if not folder:
                break
            folder = folder.rpartition("/")[0]
        return bool(self._own and self._own.check_file(path).include)

    def _rules_of(self, folder: str) -> GitIgnoreSpec | None:
        if folder not in self._rules:
            self._rules[folder] = _spec(self._read(f"{folder}/.gitignore" if folder else ".gitignore"))
        return self._rules[folder]


def _read_below(root: Path, path: str) -> bytes | None:
    with suppress(OSError, ValueError):
        # A FIFO named .gitignore must not block, and a link must not lead out of the repository.
        place = os.open(root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(place, "rb") as opened:
            if stat.S_ISREG(os.fstat(place).st_mode):
                return opened.read(_LONGEST)
    return None


def _spec(rules: bytes | None) -> GitIgnoreSpec | None:
    if rules is None:
        return None
    lines = rules[:_LONGEST].decode("utf-8", "replace").splitlines()[:_LINES]
    with suppress(ValueError):
        spec = GitIgnoreSpec.from_lines([line for line in lines if _is_sane(line)], _LinearPattern)
        # git's own info/exclude holds comments alone, with which no file need be compared.
        return spec if any(pattern.include is not None for pattern in spec.patterns) else None
    return None


def _is_sane(line: str) -> bool:
    return len(line) < 500 and line.count("**/") <= _FOLDERS
