"""The executions of one check, which the judgement compares."""

from dataclasses import dataclass, field
from functools import cached_property

from nodes.check.outcomes import Outcomes, is_case_of
from nodes.check.runners.runner import Runner
from nodes.check.unrun.shared_causes import ChangedFiles
from sandbox.base import Result


@dataclass(frozen=True)
class Evidence:
    """The executions of one check.

    `new_on_base` ran the change's added and edited test files on the base, None without such files.
    `edited_on_base` ran the base's version of the edited ones, if the suite did not end on the base.
    `old_on_head` ran the base's tests on the change, None if the change touches nothing that they consist of.
    `listing` lists the change's cases. `files` are all files of the change, `tests` all test files of both
    sides. `runner` is None for pytest.
    """

    base: Outcomes
    head: Result
    listing: Result
    new_on_base: Outcomes | None = None
    edited_on_base: Outcomes | None = None
    old_on_head: Outcomes | None = None
    new_tests: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()
    deleted: tuple[str, ...] = ()
    tests_untouched: bool = False
    """True if the change touches nothing that the base's tests consist of, so that `head` ran them."""
    unsteady: tuple[str, ...] = ()
    """Cases that failed, and passed alone, as `head` has it, or failed on the base too, as `base` has it."""
    files: ChangedFiles = field(default_factory=ChangedFiles)
    tests: frozenset[str] = frozenset()
    runner: Runner | None = None

    def is_new(self, case: str) -> bool:
        """Return whether the base's own suite lacks a case of an added or edited test file."""
        # If the base's cases are unknown, those of an edited file may be old.
        listed = next((run for run in (self.base, self.edited_on_base) if run and run.known), None)
        if listed and case in (listed.cases or {}):
            return False
        new = self.new_tests if listed else self.added
        if any(self.is_case_of(case, path) for path in new):
            return True
        # A report may name no files. The case is the change's, as the base's own tests lack it.
        nowhere = self.runner is not None and not self.runner.names_files and bool(new)
        return nowhere and not any(self.is_case_of(case, path) for path in self.tests)

    def is_case_of(self, case: str, path: str) -> bool:
        """Return whether a case comes from the file at `path`."""
        return self.runner.is_case_of(case, path) if self.runner else is_case_of(case, path)

    @cached_property
    def head_outcomes(self) -> Outcomes:
        """The outcomes of the change's cases."""
        return Outcomes.of(self.head, self.runner.name if self.runner else "")
