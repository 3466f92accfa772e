"""Outcomes of one execution of a suite, small enough to be cached for the next check."""

from collections.abc import Collection
from typing import Literal

from pydantic import BaseModel

from nodes.proof import CaseOutcome
from sandbox.base import ReportOutcome, Result

FAILED = ("failed", "error")
_SEVERITY = ("passed", "skipped", "failed", "error")
_USAGE_ERRORS = (
    "unrecognized arguments",
    "Unknown config option",
    "Missing required plugins",
    "Error importing plugin",
    "invalid choice",
    "PytestConfigWarning",
)


class Outcomes(BaseModel, frozen=True):
    """Exit code and cases of one execution. `cases` is None if there was no report."""

    exit_code: int
    seconds: float = 0.0
    stopped: Literal["", "timed out", "out of memory", "killed"] = ""
    cases: dict[str, ReportOutcome] | None = None
    usage: bool = False
    """True if pytest refused options of the configuration. It does so if a plugin is not installed."""

    @classmethod
    def of(cls, result: Result) -> "Outcomes":
        """Read a Result. If a case is reported twice, the worse outcome counts."""
        cases: dict[str, ReportOutcome] = {}
        for case in result.report or ():
            cases[case.id] = max(cases.get(case.id, "passed"), case.outcome, key=_SEVERITY.index)
        output = result.stderr + result.stdout
        return cls(
            exit_code=result.exit_code,
            seconds=result.seconds,
            stopped=stop_of(result),
            cases=None if result.report is None else cases,
            usage=result.exit_code in (3, 4) and any(phrase in output for phrase in _USAGE_ERRORS),
        )

    @property
    def known(self) -> bool:
        """True if the suite ran to its end, whatever its cases did."""
        return not self.stopped and self.cases is not None and self.exit_code in (0, 1, 5)  # 5: no tests

    def of_case(self, case: str) -> CaseOutcome:
        """Return what a case did: `error` if its file could not be collected, else `absent` without it."""
        if not self.known or self.cases is None:
            return "unknown"
        outcome = self.cases.get(case)
        return outcome or ("error" if self._uncollected(case) else "absent")

    def _uncollected(self, case: str) -> bool:
        # pytest reports a file, folder or class that it cannot collect under its own dotted name, in one of
        # two spellings.
        parts = case.rpartition("::")[0].split(".")
        owners = (parts[:count] for count in range(1, len(parts) + 1))
        names = (
            name
            for owner in owners
            for name in (f"::{'.'.join(owner)}", f"{'.'.join(owner[:-1])}::{owner[-1]}")
        )
        return any((self.cases or {}).get(name) in FAILED for name in names)


def stop_of(result: Result) -> Literal["", "timed out", "out of memory", "killed"]:
    """Return why a program was stopped before its end, empty if it was not."""
    if result.timed_out:
        return "timed out"
    if result.out_of_memory:
        return "out of memory"
    return "killed" if result.exit_code >= 128 or result.exit_code < 0 else ""


def is_case_of(case: str, path: str) -> bool:
    """Return whether the case with this JUnit id comes from the file at `path`."""
    module = path.removesuffix(".py").replace("/", ".")
    return f"{case.rpartition('::')[0]}.".startswith(f"{module}.") or case == f"::{module}"


def list_cases(cases: Collection[str], most: int = 10) -> str:
    """Return the first case ids in order, and the number of the rest."""
    shown = sorted(cases)[:most]
    more = len(cases) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
