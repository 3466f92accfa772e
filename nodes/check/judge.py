"""What the executions on base and change mean together: every case's fate, and why a check is red."""

from dataclasses import dataclass, field

from nodes.check.outcomes import Outcomes, belongs, named
from nodes.check.output_text import CASE_CHARACTERS, TOTAL_CHARACTERS, cut, last_lines, normalise
from nodes.check.report_check import distrust
from nodes.proof import CaseOutcome, CaseProof, Failure
from sandbox.base import Limits, Result

_BAD = ("failed", "error")


@dataclass(frozen=True)
class Evidence:
    """The executions of one check.

    `fresh` ran the change's new and edited tests on the base, `old` the base's text of edited tests on the
    change; each is None when there is no such test. `added` are test files that the base does not have.
    """

    base: Outcomes
    head: Result
    listing: Result
    fresh: Outcomes | None = None
    old: Outcomes | None = None
    touched: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()
    deleted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """What goes into the proof; green when there is no problem."""

    cases: list[CaseProof] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    vacuous: list[str] = field(default_factory=list)
    contradicted: list[str] = field(default_factory=list)


def judge(evidence: Evidence, limits: Limits) -> Judgement:
    """Compare base and change case by case."""
    head = Outcomes.of(evidence.head)
    broken = stopped(evidence.head, limits) or _unusable(head, evidence)
    cases = _cases(evidence, head, believed=not broken)
    problems = [broken] if broken else _problems(cases)
    problems += [f"the test file {path} was deleted" for path in evidence.deleted]
    failures = _failures(evidence.head, cases)
    if broken and not failures:
        failures = [Failure(id="pytest", text=output(evidence.head))]
    return Judgement(
        cases=cases,
        problems=problems,
        failures=failures,
        vacuous=[case.id for case in cases if case.new and case.base == "passed"],
        contradicted=_contradicted(evidence),
    )


def stopped(result: Result, limits: Limits) -> str:
    """Why a program did not come to its end, in words; empty when it did."""
    if result.timed_out:
        return f"timed out after {limits.seconds:g} s{_told(result)}"
    if result.out_of_memory:
        return f"ran out of memory ({limits.memory_mb} MB){_told(result)}"
    if result.exit_code >= 128 or result.exit_code < 0:
        signal = result.exit_code - 128 if result.exit_code >= 128 else -result.exit_code
        return f"killed by signal {signal}{_told(result)}"
    return ""


def _told(result: Result) -> str:
    last = last_lines(result.stdout + result.stderr)
    return f"; last output: {last}" if last else ""


def output(result: Result) -> str:
    """All that a program wrote, as a prompt may hold it."""
    return cut(normalise(f"{result.stdout}\n{result.stderr}"))


def _unusable(head: Outcomes, evidence: Evidence) -> str:
    if head.exit_code not in (0, 1, 5):
        return f"pytest ended with exit code {head.exit_code}{_told(evidence.head)}"
    if head.exit_code == 5 or head.cases == {}:
        return "no test was collected"
    reason = distrust(head, evidence.listing)
    return f"report not trusted: {reason}" if reason else ""


def _cases(evidence: Evidence, head: Outcomes, believed: bool) -> list[CaseProof]:
    """Every case of either side. A report that is not believed counts where it admits a failure."""
    ids = {*(head.cases or {}), *((evidence.base.cases or {}) if evidence.base.known else {})}
    cases = []
    for case in sorted(ids):
        after: CaseOutcome = head.on(case) if believed else _admitted(head, case)
        before = evidence.base.on(case)
        # What could not be collected on the base has no case of its own once it can be.
        if case.startswith("::") and after == "absent":
            continue
        cases.append(_case(evidence, case, before, after))
    return cases


def _admitted(head: Outcomes, case: str) -> CaseOutcome:
    outcome = (head.cases or {}).get(case)
    return outcome if outcome == "failed" or outcome == "error" else "unknown"


def _case(evidence: Evidence, case: str, before: CaseOutcome, after: CaseOutcome) -> CaseProof:
    """A case of a touched file that the base's own suite lacks is new, and was run on the base apart."""
    own = case in (evidence.base.cases or {}) if evidence.base.known else False
    files = evidence.touched if evidence.base.known else evidence.added
    new = not own and any(belongs(case, path) for path in files)
    if new:
        before = evidence.fresh.on(case) if evidence.fresh else "unknown"
        # These files run on the change: that pytest cannot even start on the base is an error of each.
        if evidence.fresh and not evidence.fresh.stopped and evidence.fresh.exit_code in (2, 3, 4):
            before = "error"
    return CaseProof(id=case, base=before, head=after, new=new)


def _blamed(case: CaseProof) -> bool:
    """True when a failing case counts against the change: unless the base's own suite failed it as well."""
    return case.head in _BAD and (case.new or case.base not in _BAD)


def _problems(cases: list[CaseProof]) -> list[str]:
    held = [case for case in cases if case.base == "passed" and not case.new]
    fates = {
        "failed that passed on the base": [case.id for case in held if case.head in _BAD],
        "failed": [case.id for case in cases if _blamed(case) and (case.new or case.base != "passed")],
        "passed on the base and vanished": [case.id for case in held if case.head == "absent"],
        "passed on the base and got skipped": [case.id for case in held if case.head == "skipped"],
    }
    problems = [
        f"{len(ids)} {'case' if len(ids) == 1 else 'cases'} {fate}: {named(ids)}"
        for fate, ids in fates.items()
        if ids
    ]
    if not any(case.head in ("passed", *_BAD) for case in cases):
        problems.append("every case was skipped")
    return problems


def _failures(head: Result, cases: list[CaseProof]) -> list[Failure]:
    """The output of the cases that count, until there is enough to read."""
    blamed = {case.id for case in cases if _blamed(case)}
    failures: list[Failure] = []
    left = TOTAL_CHARACTERS
    for case in sorted(head.report or (), key=lambda case: case.id):
        if case.id not in blamed or case.outcome not in _BAD:
            continue
        text = cut(normalise(case.message), min(CASE_CHARACTERS, left))
        failures.append(Failure(id=case.id, text=text))
        left -= len(text)
        if left < CASE_CHARACTERS // 4:
            break
    return failures


def _contradicted(evidence: Evidence) -> list[str]:
    if evidence.old is None or not evidence.old.known or not evidence.base.known:
        return []
    passed = [case for case, outcome in (evidence.base.cases or {}).items() if outcome == "passed"]
    return sorted(case for case in passed if evidence.old.on(case) in _BAD)
