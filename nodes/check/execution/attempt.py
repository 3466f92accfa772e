"""One attempt to run a suite: its commands and limits."""

from dataclasses import dataclass, field, replace
from typing import Self

from nodes.check.change import CheckedChange
from nodes.check.outcomes import Outcomes
from nodes.check.suites.suite import Suite
from nodes.proof import Scope
from sandbox.base import Limits


@dataclass(frozen=True)
class Attempt:
    """The commands of one attempt to run the suite, empty for a side without tests.

    `plain` is true for a suite without any option of its configuration.
    """

    suite: Suite
    scope: Scope
    plain: bool
    base_command: tuple[str, ...] = ()
    head_command: tuple[str, ...] = ()
    scope_reason: str = ""
    refusals: int = 0
    limits: Limits = field(default_factory=Limits)
    """The limits of the runs on the change, once the base's time is known."""

    def of_whole(self, suite: Suite, change: CheckedChange) -> Self:
        """Return the attempt with the commands of a whole suite."""
        base, head = suite.whole(change.edited), suite.whole(change.new_tests)
        return replace(self, suite=suite, base_command=base, head_command=head)

    def fails_on(self, base: Outcomes) -> bool:
        """Return whether the base's outcomes ask for another attempt, with fewer options or fewer files."""
        if not self.suite.is_pytest:
            return False
        if base.refusal:
            return not self.plain
        beyond_limits = base.stopped in ("timed out", "out of memory")
        return beyond_limits and self.suite.scope == "auto" and self.scope == "all"
