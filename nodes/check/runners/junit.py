"""Any command that leaves JUnit files, named by `[test] report`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from nodes.check.runners.runner import Command
from nodes.check.runners.test_names import is_test_name
from sandbox.collect import collect_files


@dataclass(frozen=True)
class JUnitRunner:
    """A command with the patterns of its report files. `folder` is the suite's, in front of ids."""

    command: Command
    reports: tuple[str, ...]
    folder: str = ""
    names_files: bool = False
    chooses_files: bool = False
    place: str = "where the project's test command looks for tests"

    @property
    def name(self) -> str:
        """The program of the command, without assignments in front of it."""
        words = [word for word in self.command if "=" not in word and word != "env"]
        return PurePosixPath(words[0]).name if words else "the test command"

    def is_test(self, path: str) -> bool:
        """Return whether a file is named as tests are in any language, or lies in a folder of specs."""
        return is_test_name(path) or bool(re.search(r"_spec\.rb$|(?:^|/)\w+IT\.(?:java|kt)$", path))

    def is_case_of(self, case: str, path: str) -> bool:
        """Return whether a case's file, class or suite is the file at `path`."""
        owner = case.partition("::")[0]
        if owner in (path, f"{self.folder}/{path}"):
            return True
        stem = path.rpartition(".")[0]
        words = re.split(r"[.$:\\/ ]+", owner)
        return PurePosixPath(stem).name in words or f"/{stem}".endswith("/" + "/".join(words))

    def whole(self, tests: Iterable[str]) -> Command:
        """Return the command, which runs what it runs."""
        return collect_files(self.command, self.reports)

    def only(self, tests: Iterable[str]) -> Command:
        """Return the whole command. Nothing is known of how it chooses files."""
        return self.whole(tests)

    def steers(self, path: str) -> bool:
        """Return False. The files that define the command are known by its words."""
        return False

    def defines(self, path: str) -> bool:
        """Return False, as above."""
        return False
