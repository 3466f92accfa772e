"""What is done on a damaged index is done again on a new one."""

import sqlite3
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from memory.repo_index.base import RepoIndexError
from memory.repo_index.schema import is_broken


class Mendable(Protocol):
    """What reads and writes one file; `mend` begins a new one unless another thread has done so."""

    root: Path

    @property
    def kept(self) -> object: ...

    def mend(self, broken: object, cause: str) -> None: ...


Given = ParamSpec("Given")
Result = TypeVar("Result")
Mending = TypeVar("Mending", bound=Mendable)


def mended(
    method: Callable[Concatenate[Mending, Given], Result],
) -> Callable[Concatenate[Mending, Given], Result]:
    """Let a method set a damaged file aside and begin anew, once; raises RepoIndexError for the rest."""

    @wraps(method)
    def tried(self: Mending, /, *args: Given.args, **kwargs: Given.kwargs) -> Result:
        kept = self.kept
        try:
            return method(self, *args, **kwargs)
        except sqlite3.Error as error:
            if not is_broken(error) and self.kept is kept:
                raise _failed(self, error) from error
            self.mend(kept, str(error))
        try:
            return method(self, *args, **kwargs)
        except sqlite3.Error as error:
            raise _failed(self, error) from error

    return tried


def _failed(index: Mendable, error: sqlite3.Error) -> RepoIndexError:
    return RepoIndexError(f"the index of {index.root} failed: {error}")
