"""What one execution of a suite said, case by case; small enough to be kept for the next check."""

from collections.abc import Collection
from typing import Literal

from pydantic import BaseModel, ConfigDict

from nodes.proof import CaseOutcome
from sandbox.base import Outcome, Result

_WORST: dict[str, int] = {"passed": 0, "skipped": 1, "failed": 2, "error": 3}
_BAD = ("failed", "error")
_USAGE = (
    "unrecognized arguments",
    "Unknown config option",
    "Missing required plugins",
    "Error importing plugin",
    "invalid choice",
    "PytestConfigWarning",
)


class Outcomes(BaseModel):
    """Exit code and cases of one execution; no `cases` when it left no report."""

    model_config = ConfigDict(frozen=True)

    exit_code: int
    seconds: float = 0.0
    stopped: Literal["", "timed out", "out of memory", "killed"] = ""
    cases: dict[str, Outcome] | None = None
    usage: bool = False
    """True when pytest refused the configuration's options, as it does when a plugin is not installed."""

    @classmethod
    def of(cls, result: Result) -> "Outcomes":
        """Read a Result; of two reports of one case the worse one counts."""
        cases: dict[str, Outcome] | None = None if result.report is None else {}
        for case in result.report or ():
            known = cases.get(case.id, "passed") if cases else "passed"
            if cases is not None:
                cases[case.id] = max(known, case.outcome, key=_WORST.__getitem__)
        output = result.stderr + result.stdout
        usage = result.exit_code in (3, 4) and any(phrase in output for phrase in _USAGE)
        return cls(
            exit_code=result.exit_code,
            seconds=result.seconds,
            stopped=_stopped(result),
            cases=cases,
            usage=usage,
        )

    @property
    def known(self) -> bool:
        """True when the suite ran to its end, whatever its cases did."""
        return not self.stopped and self.cases is not None and self.exit_code in (0, 1, 5)

    def on(self, case: str) -> CaseOutcome:
        """What `case` did here: `error` when its file could not be collected, else `absent` without it."""
        if not self.known or self.cases is None:
            return "unknown"
        outcome = self.cases.get(case)
        return outcome or ("error" if self._uncollected(case) else "absent")

    def _uncollected(self, case: str) -> bool:
        """A file, folder or class that cannot be collected is an error under its own dotted name."""
        parts = case.rpartition("::")[0].split(".")
        owners = (parts[:count] for count in range(1, len(parts) + 1))
        spelled = (name for owner in owners for name in _spellings(owner))
        return any((self.cases or {}).get(name) in _BAD for name in spelled)


def _spellings(owner: list[str]) -> tuple[str, str]:
    return f"::{'.'.join(owner)}", f"{'.'.join(owner[:-1])}::{owner[-1]}"


def _stopped(result: Result) -> Literal["", "timed out", "out of memory", "killed"]:
    if result.timed_out:
        return "timed out"
    if result.out_of_memory:
        return "out of memory"
    return "killed" if result.exit_code >= 128 or result.exit_code < 0 else ""


def belongs(case: str, path: str) -> bool:
    """True when the case with this JUnit id comes from the file at `path`."""
    module = path.removesuffix(".py").replace("/", ".")
    return f"{case.rpartition('::')[0]}.".startswith(f"{module}.") or case == f"::{module}"


def named(cases: Collection[str], most: int = 10) -> str:
    """Some names in a sentence, sorted, the rest counted."""
    shown = sorted(cases)[:most]
    more = len(cases) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
