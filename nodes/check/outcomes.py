"""Outcomes of one execution of a suite, small enough to be cached for the next check."""

import re
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Literal

from pydantic import BaseModel, Field

from nodes.check.mutation.missing_names import lacks_name
from nodes.check.output_text import normalise
from nodes.check.refused_options import refusal_of
from nodes.check.unrun.causes import Cause, cause_of, skipped_import, start_cause
from nodes.proof import CaseOutcome
from sandbox.base import ReportOutcome, Result

FAILED = ("failed", "error")
_SEVERITY = ("passed", "skipped", "failed", "error")
_MOST_FAULTS = 1_000
_MOST_ERRORS = 200
_ERROR_LENGTH = 160
_ERROR_LINE = re.compile(r"^E +(\S.*)", re.MULTILINE)


class Outcomes(BaseModel, frozen=True):
    """Exit code and cases of one execution. `cases` is None if there was no report."""

    exit_code: int
    seconds: float = 0.0
    stopped: Literal["", "timed out", "out of memory", "killed"] = ""
    cases: dict[str, ReportOutcome] | None = None
    nameless: tuple[str, ...] = ()
    """Cases and modules that failed because a name or module is missing. An empty id is the whole run's."""
    refusal: str = ""
    """The lines with which pytest refused options. It does so if a plugin is not installed."""
    reason: str = ""
    """The last error line of an execution without cases, empty with cases."""
    file: str = ""
    """The conftest.py that kept the suite from starting."""
    faults: dict[str, str] = Field(default_factory=dict)
    """By its name in the report, why a module or folder was not collected, or skipped itself."""
    errors: dict[str, str] = Field(default_factory=dict)
    """By case, the first line of its error."""

    @classmethod
    def of(cls, result: Result) -> "Outcomes":
        """Read a Result. If a case is reported twice, the worse outcome counts."""
        cases: dict[str, ReportOutcome] = {}
        for case in result.report or ():
            cases[case.id] = max(cases.get(case.id, "passed"), case.outcome, key=_SEVERITY.index)
        output = result.stderr + result.stdout
        ended = result.exit_code in (0, 1, 5) and result.report is not None
        start = Cause("") if ended else start_cause(result)
        nameless = [case.id for case in result.report or () if lacks_name(case.message)]
        if result.exit_code not in (0, 1, 5) and lacks_name(output):
            nameless.append("")
        return cls(
            exit_code=result.exit_code,
            seconds=result.seconds,
            stopped=stop_of(result),
            cases=None if result.report is None else cases,
            nameless=tuple(nameless),
            refusal=refusal_of(result),
            reason=start.reason,
            file=start.file,
            faults=dict(islice(_faults(result), _MOST_FAULTS)),
            errors=dict(islice(_errors(result), _MOST_ERRORS)),
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

    def is_nameless(self, case: str) -> bool:
        """Return whether a case failed, or was not collected, because a name or module is missing."""
        return not {"", case, *_modules(case)}.isdisjoint(self.nameless)

    def _uncollected(self, case: str) -> bool:
        return any((self.cases or {}).get(name) in FAILED for name in _modules(case))


def _modules(case: str) -> Iterator[str]:
    """Yield the names under which pytest reports a file, folder or class of a case that it cannot collect."""
    parts = case.rpartition("::")[0].split(".")
    for count in range(1, len(parts) + 1):
        yield from spellings(".".join(parts[:count]))


def spellings(module: str) -> tuple[str, str]:
    """Return the two names under which pytest reports a module or folder that it cannot collect."""
    package, _, name = module.rpartition(".")
    return f"::{module}", f"{package}::{name}"


def _errors(result: Result) -> Iterator[tuple[str, str]]:
    """Yield each failed case whose output marks an error line as pytest does, with that line."""
    for case in result.report or ():
        if case.outcome in FAILED and (match := _ERROR_LINE.search(case.message)):
            yield case.id, normalise(match[1])[:_ERROR_LENGTH].strip()


def _faults(result: Result) -> Iterator[tuple[str, str]]:
    """Yield each module or folder that was not collected, with the reason."""
    for case in result.report or ():
        if case.id.startswith("::") and case.outcome != "passed":
            skipped = case.outcome == "skipped"
            if reason := skipped_import(case.message) if skipped else cause_of(case.message).reason:
                yield case.id, reason


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
