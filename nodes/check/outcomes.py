"""Outcomes of one execution of a suite, small enough to be cached for the next check."""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from nodes.check.mutation.missing_names import lacks_name
from nodes.check.output_text import normalise
from nodes.check.runners.test_names import shown_case
from nodes.check.suites.refused_options import refusal_of
from nodes.check.unrun.causes import Cause, cause_of, skipped_import, start_cause
from nodes.proof import FAILED, CaseOutcome
from sandbox.base import ReportOutcome, Result

NO_TESTS = 5
"""pytest's exit code for a suite without tests, and ours where nothing is run."""

_SEVERITY = ("passed", "skipped", "failed", "error")
_MOST_FAULTS = 1_000
_MOST_ERRORS = 200
_ERROR_LENGTH = 160
_READ = 1_000  # characters of a line that are normalised
_ERROR_LINE = re.compile(r"^E +(\S.*)", re.MULTILINE)
_FIRST_LINE = re.compile(r"(\S.*)")
_FAULT_LINE = re.compile(
    r"^[ \t]*((?:\w[\w ]{0,200})?(?:Error|error)\b.*|Cannot find .*|\S+:\d+:\d+: .*)", re.MULTILINE
)


class Outcomes(BaseModel, frozen=True):
    """Exit code and cases of one execution. `cases` is None if there was no report."""

    exit_code: int
    runner: str = ""
    """The runner's name, empty for pytest."""
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
    def of(cls, result: Result, runner: str = "") -> "Outcomes":
        """Read a Result of pytest or another runner. If a case comes twice, the worse outcome counts."""
        cases: dict[str, ReportOutcome] = {}
        for case in result.report or ():
            cases[case.id] = max(cases.get(case.id, "passed"), case.outcome, key=_SEVERITY.index)
        output = result.stderr + result.stdout
        ended = result.report is not None and _has_ended(result.exit_code, cases, runner)
        start = Cause("") if ended else start_cause(result)
        nameless = [case.id for case in result.report or () if lacks_name(case.message)]
        if not runner and result.exit_code not in (0, 1, 5) and lacks_name(output):
            nameless.append("")
        return cls(
            exit_code=result.exit_code,
            runner=runner,
            seconds=result.seconds,
            stopped=stop_of(result),
            cases=None if result.report is None else cases,
            nameless=tuple(nameless),
            refusal="" if runner else refusal_of(result),
            reason=start.reason,
            file=start.file,
            faults=dict(islice(_faults(result, runner), _MOST_FAULTS)),
            errors=dict(islice(_errors(result, runner), _MOST_ERRORS)),
        )

    @classmethod
    def joined(cls, cases: Mapping[str, ReportOutcome], runner: str = "") -> "Outcomes":
        """Join the cases of several runs to those of one that came to its end."""
        fails = not runner or any(outcome in FAILED for outcome in cases.values())
        return cls(exit_code=int(fails), runner=runner, cases=dict(cases))

    @cached_property  # each case asks, and a suite may have 100,000
    def known(self) -> bool:
        """True if the suite ran to its end, whatever its cases did."""
        if self.stopped or self.cases is None:
            return False
        return _has_ended(self.exit_code, self.cases, self.runner)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, which knows nothing of what was computed from the fields before their update."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("known", None)
        return copied

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
        if self.runner:
            return (self.cases or {}).get(f"::{case.partition('::')[0]}") in FAILED
        return any((self.cases or {}).get(name) in FAILED for name in _modules(case))


def module_of(path: str) -> str:
    """Return the dotted name under which pytest reports the file at `path`."""
    return path.removesuffix(".py").replace("/", ".")


def owners_of(case: str) -> Iterator[str]:
    """Yield the dotted names of the classes, the file and the folders of a case, the innermost first."""
    name = case.rpartition("::")[0]
    while name:
        yield name
        name = name.rpartition(".")[0]


def _has_ended(exit_code: int, cases: Mapping[str, ReportOutcome], runner: str) -> bool:
    """Return whether an exit code tells that all cases are in the report."""
    if not runner:
        return exit_code in (0, 1, 5)  # 5: no tests
    if not cases and exit_code == NO_TESTS:
        return True
    return bool(exit_code) == any(outcome in FAILED for outcome in cases.values())


def _modules(case: str) -> Iterator[str]:
    """Yield the names under which pytest reports a file, folder or class of a case that it cannot collect."""
    for owner in owners_of(case):
        yield from spellings(owner)


def spellings(module: str) -> tuple[str, str]:
    """Return the two names under which pytest reports a module or folder that it cannot collect."""
    package, _, name = module.rpartition(".")
    return f"::{module}", f"{package}::{name}"


def _errors(result: Result, runner: str) -> Iterator[tuple[str, str]]:
    """Yield each failed case with its error line: the one that pytest marks, a runner's first one."""
    line = _FIRST_LINE if runner else _ERROR_LINE
    for case in result.report or ():
        if case.outcome in FAILED and (match := line.search(case.message)):
            yield case.id, normalise(match[1][:_READ])[:_ERROR_LENGTH].strip()


def _faults(result: Result, runner: str) -> Iterator[tuple[str, str]]:
    """Yield each file or folder that was not collected, with the reason."""
    for case in result.report or ():
        if case.id.startswith("::") and case.outcome != "passed" and runner:
            line = _FAULT_LINE.search(case.message) or _FIRST_LINE.search(case.message)
            yield case.id, normalise(line[1][:_READ])[:_ERROR_LENGTH].strip() if line else "it does not load"
        elif case.id.startswith("::") and case.outcome != "passed":
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
    module = module_of(path)
    return f"{case.rpartition('::')[0]}.".startswith(f"{module}.") or case == f"::{module}"


def list_cases(cases: Collection[str], most: int = 10) -> str:
    """Return the first case ids in order, and the number of the rest."""
    shown = sorted(cases)[:most]
    more = len(cases) - len(shown)
    return ", ".join(map(shown_case, shown)) + (f" and {more} more" if more else "")
