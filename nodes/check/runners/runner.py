"""The interface of a runner that reports its cases."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

Command = tuple[str, ...]

Read = Callable[[str], str | None]
"""Returns the text of a file in a snapshot, None if there is none."""


class Runner(Protocol):
    """Runs a repository's tests so that they leave a report. Paths are those of the repository."""

    @property
    def name(self) -> str:
        """The tool's name, for messages."""

    @property
    def place(self) -> str:
        """A good place for a repository's first test."""

    @property
    def names_files(self) -> bool:
        """True if a case's id starts with the path of its file."""

    @property
    def chooses_files(self) -> bool:
        """True if single test files can be run."""

    def is_test(self, path: str) -> bool:
        """Return whether the runner takes a file for a test by its name."""

    def is_case_of(self, case: str, path: str) -> bool:
        """Return whether the case with this id comes from the file at `path`, or may come from it."""

    def whole(self, tests: Iterable[str]) -> Command:
        """Return the command for the whole suite and those of `tests` that it leaves out."""

    def only(self, tests: Iterable[str]) -> Command:
        """Return the command for these test files, for the whole suite where files cannot be chosen."""

    def steers(self, path: str) -> bool:
        """Return whether the runner loads a file before the tests, so that it can alter them."""

    def defines(self, path: str) -> bool:
        """Return whether a file, by its name, says what the runner runs."""


@dataclass(frozen=True)
class TestCommand:
    """A test command, with its runner. Without a runner, its exit code is all that it tells."""

    __test__ = False  # pytest would take the class for tests

    command: Command
    runner: Runner | None = None
