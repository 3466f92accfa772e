"""The judgement on a change: each case on base and change, and why a check is red."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from nodes.check.base_tests.old_tests import contradictions
from nodes.check.execution.evidence import Evidence
from nodes.check.mutation.missing_names import misses_name
from nodes.check.outcomes import Outcomes, list_cases, stop_of
from nodes.check.output_text import CASE_CHARACTERS, TOTAL_CHARACTERS, cut_output, last_lines, normalise
from nodes.check.report_check import foreign_report_fault, report_fault
from nodes.check.successors import edited_cases, moved_cases, renamed_cases
from nodes.check.unrun.shared_causes import MORE_MEMORY, shared_cause
from nodes.proof import FAILED, CaseOutcome, CaseProof, Failure
from sandbox.base import Limits, Result

MOST_BY_CHANCE = 20
"""Failing cases that are run once more."""


@dataclass(frozen=True)
class Judgement:
    """The parts of a proof that follow from the evidence. It is green if there is no problem."""

    cases: list[CaseProof] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    vacuous: list[str] = field(default_factory=list)
    contradicted: list[str] = field(default_factory=list)
    old_errors: dict[str, str] = field(default_factory=dict)
    base_shows_it: bool = False
    unsteady: list[str] = field(default_factory=list)


def judge(evidence: Evidence, limits: Limits) -> Judgement:
    """Compare base and change case by case."""
    head = evidence.head_outcomes
    old = evidence.old_on_head
    broken = stop_reason(evidence.head, limits) or _unusable(head, evidence)
    cases = _cases(evidence, head, trusted=not broken)
    failures = _failures(evidence.head, cases)
    blamed = {case.id for case in cases if _counts_against(case)}
    shared = shared_cause(evidence.base, head, evidence.head, limits, evidence.files, blamed)
    followed = edited_cases(evidence, head)
    successors = followed | moved_cases(evidence, head) | renamed_cases(evidence, head)
    contradicted = [case for case in contradictions(evidence.base, old) if head.of_case(case) not in FAILED]
    if evidence.tests_untouched:  # ids come from the product's data: what is gone is what the base demanded
        contradicted = sorted({*contradicted, *followed})
    lost = _lost(cases, successors)
    deleted = [path for path in evidence.deleted if not _is_moved(path, evidence, head, successors)]
    problems = [broken] if broken else _problems(cases, lost)
    if shared:
        problems = [shared, *([] if broken else problems)]
    problems += [f"the test file {path} was deleted" for path in deleted]
    if broken and not failures:
        title = evidence.runner.name if evidence.runner else "pytest"
        failures = [Failure(id=title, text=output_of(evidence.head))]
    return Judgement(
        cases=cases,
        problems=problems,
        failures=failures,
        vacuous=[
            case.id
            for case in cases
            if case.new and case.base == "passed" and case.id not in successors.values()
        ],
        contradicted=contradicted,
        old_errors={case: old.errors[case] for case in contradicted if old and case in old.errors},
        unsteady=list(evidence.unsteady),
        base_shows_it=bool(shared) and (bool(broken) or not lost) and not deleted,
    )


def stop_reason(result: Result, limits: Limits) -> str:
    """Return why a program was stopped, with its limit and last output, empty if it was not."""
    stopped = stop_of(result)
    if not stopped:
        return ""
    code = result.exit_code  # a shell adds 128 to a signal, Python negates it
    reasons = {
        "timed out": f"timed out after {limits.seconds:g} s",
        "out of memory": f"ran out of memory ({limits.memory_mb} MB; {MORE_MEMORY})",
        "killed": f"killed by signal {code - 128 if code >= 128 else -code}",
    }
    return reasons[stopped] + _last_output(result)


def _last_output(result: Result) -> str:
    last = last_lines(result.stdout + result.stderr)
    return f"; last output: {last}" if last else ""


def output_of(result: Result) -> str:
    """Return a program's output as a prompt may hold it."""
    return cut_output(normalise(f"{result.stdout}\n{result.stderr}"))


def chance_failures(evidence: Evidence) -> list[str]:
    """Return the cases that make the check red, if they are few and may all have failed by chance."""
    head = evidence.head_outcomes
    if head.stopped or head.exit_code != 1 or _unusable(head, evidence):
        return []
    cases = _cases(evidence, head, trusted=True)
    blamed = [case.id for case in cases if _counts_against(case)]
    # A name that is missing is missing always.
    nameless = {case.id for case in evidence.head.report or () if misses_name(case.message)}
    certain = any(case.startswith("::") or case in nameless or head.is_nameless(case) for case in blamed)
    return [] if certain or len(blamed) > MOST_BY_CHANCE else blamed


def _unusable(head: Outcomes, evidence: Evidence) -> str:
    if evidence.runner:
        fault = foreign_report_fault(head, evidence.runner.name)
        return fault + (_last_output(evidence.head) if fault and not head.known else "")
    if head.exit_code not in (0, 1, 5):
        return f"pytest ended with exit code {head.exit_code}{_last_output(evidence.head)}"
    if head.exit_code == 5 or head.cases == {}:
        return "no test was collected"
    fault = report_fault(head, evidence.listing)
    return f"report not trusted: {fault}" if fault else ""


def _cases(evidence: Evidence, head: Outcomes, trusted: bool) -> list[CaseProof]:
    """Return the cases of base and change. If the report is not trusted, only its failures are kept."""
    ids = {*(head.cases or {}), *((evidence.base.cases or {}) if evidence.base.known else {})}
    cases = []
    for case in sorted(ids):
        after: CaseOutcome = head.of_case(case)
        if not trusted:
            reported = (head.cases or {}).get(case)
            after = reported if reported == "failed" or reported == "error" else "unknown"
        # A file that could not be collected on the base is a case there, but not once it can be collected.
        if case.startswith("::") and after == "absent" and not _has_vanished(evidence, head, case):
            continue
        new = evidence.is_new(case)
        before = _new_case_on_base(evidence, case) if new else evidence.base.of_case(case)
        sharpened = not new and before == "passed" and _is_sharpened(evidence, case)
        cases.append(CaseProof(id=case, base=before, head=after, new=new, sharpened=sharpened))
    return cases


def _has_vanished(evidence: Evidence, head: Outcomes, case: str) -> bool:
    """Return whether a file that was one case, and passed, has no case any more. No file is, with pytest."""
    if evidence.runner is None or (evidence.base.cases or {}).get(case) != "passed":
        return False
    return not any(id.startswith(f"{case[2:]}::") for id in head.cases or {})


def _is_sharpened(evidence: Evidence, case: str) -> bool:
    """Return whether a case of the base fails there with the text that the change gave it.

    It must have run. An edited file that cannot be imported on the base says nothing about its old cases. If
    it failed for want of a name alone, the mutants decide, as they do on new cases.
    """
    run = evidence.new_on_base
    return run is not None and run.known and (run.cases or {}).get(case) == "failed"


def _new_case_on_base(evidence: Evidence, case: str) -> CaseOutcome:
    run = evidence.new_on_base
    if run is None:
        return "unknown"
    # These files run on the change. If the runner cannot start with them on the base, each case fails there.
    if evidence.runner:
        unable = evidence.base.known and run.exit_code != 0 and not run.cases
    else:
        unable = run.exit_code in (2, 3, 4)
    return "error" if not run.stopped and unable else run.of_case(case)


def _counts_against(case: CaseProof) -> bool:
    """Return whether a failing case is the change's fault, not one that the base's suite has as well."""
    return case.head in FAILED and (case.new or case.base not in FAILED)


def _lost(cases: list[CaseProof], successors: Collection[str]) -> dict[str, list[str]]:
    """Return the cases that passed on the base and did not run on the change, by what became of them."""
    held = [case for case in cases if case.base == "passed" and not case.new and case.id not in successors]
    fates: dict[str, list[str]] = {
        "passed on the base and vanished": [case.id for case in held if case.head == "absent"],
        "passed on the base and got skipped": [case.id for case in held if case.head == "skipped"],
    }
    return {fate: ids for fate, ids in fates.items() if ids}


def _is_moved(path: str, evidence: Evidence, head: Outcomes, successors: Collection[str]) -> bool:
    """Return whether each case of a deleted test file that passed on the base goes on elsewhere."""
    base = evidence.base
    own = {case: outcome for case, outcome in (base.cases or {}).items() if evidence.is_case_of(case, path)}
    held = [case for case, outcome in own.items() if outcome == "passed"]
    if evidence.runner and base.known and head.known:
        if not own and evidence.runner.names_files:
            return True  # a helper of tests
        # The ids of some runners do not name the file, so that a case keeps its id.
        held = [case for case in held if head.of_case(case) == "absent"] if held else [path]
        return all(case in successors for case in held)
    return base.known and bool(held) and all(case in successors for case in held)


def _problems(cases: list[CaseProof], lost: Mapping[str, list[str]]) -> list[str]:
    held = [case for case in cases if case.base == "passed" and not case.new]
    fates = {
        "failed that passed on the base": [case.id for case in held if case.head in FAILED],
        "failed": [c.id for c in cases if _counts_against(c) and (c.new or c.base != "passed")],
        **lost,
    }
    problems = [
        f"{len(ids)} {'case' if len(ids) == 1 else 'cases'} {fate}: {list_cases(ids)}"
        for fate, ids in fates.items()
        if ids
    ]
    if not any(case.head in ("passed", *FAILED) for case in cases):
        problems.append("every case was skipped")
    return problems


def _failures(head: Result, cases: list[CaseProof]) -> list[Failure]:
    """Return the output of the cases that count against the change, within TOTAL_CHARACTERS."""
    blamed = {case.id for case in cases if _counts_against(case)}
    failures: list[Failure] = []
    left = TOTAL_CHARACTERS
    for case in sorted(head.report or (), key=lambda case: case.id):
        if case.id not in blamed or case.outcome not in FAILED:
            continue
        text = cut_output(normalise(case.message), min(CASE_CHARACTERS, left))
        failures.append(Failure(id=case.id, text=text))
        left -= len(text)
        if left < CASE_CHARACTERS // 4:
            break
    return failures
