"""Cases of the change that follow cases of the base whose ids are gone.

Nothing is lost with such an id: the base's tests, which run on the change, tell whether the old case passes.
"""

from collections import defaultdict
from difflib import SequenceMatcher

from nodes.check.execution.evidence import Evidence
from nodes.check.outcomes import Outcomes, module_of
from nodes.check.parameters import by_function

_ALIKE = 0.6  # of 1: functions whose names are as alike as these may be one that was renamed


def edited_cases(evidence: Evidence, head: Outcomes) -> dict[str, str]:
    """Return the case that follows each parametrised case whose id is gone, in the order of the listing.

    An edited expectation is often a part of the id. The base's tests, which then run on the change, tell
    whether the old case still passes.
    """
    old_on_head = head if evidence.tests_untouched else evidence.old_on_head
    if old_on_head is None or not old_on_head.known or not head.known:
        return {}
    before, after = evidence.base.cases or {}, head.cases or {}
    passed = (case for case, outcome in before.items() if "[" in case and outcome == "passed")
    gone = by_function(case for case in passed if case not in after)
    new = by_function(case for case in after if "[" in case and case not in before)
    pairs: dict[str, str] = {}
    for function, old_cases in gone.items():
        if len(old_cases) <= len(new[function]):  # the rest are cases that the change adds
            pairs |= zip(old_cases, new[function], strict=False)
    return pairs


def moved_cases(evidence: Evidence, head: Outcomes) -> dict[str, str]:
    """Return the case of an added test file that follows each case of a deleted one, by class and function.

    The base's version of the deleted file, which ran on the change, judges what the old case demands.
    """
    old_on_head = evidence.old_on_head
    if not evidence.deleted or old_on_head is None or not old_on_head.known or not head.known:
        return {}
    new: dict[str, list[str]] = defaultdict(list)
    for case in head.cases or {}:
        if path := next((path for path in evidence.added if evidence.is_case_of(case, path)), None):
            new[_within(case, path)].append(case)
    moved: dict[str, str] = {}
    for case, outcome in (evidence.base.cases or {}).items():
        path = next((path for path in evidence.deleted if evidence.is_case_of(case, path)), None)
        if path and outcome == "passed" and new[_within(case, path)]:
            moved[case] = new[_within(case, path)].pop()
    return moved


def _within(case: str, path: str) -> str:
    """Return what is left of a case's id without its file: classes, function and parameters."""
    if case.startswith(f"{path}::"):
        return case[len(path) :]
    return case.removeprefix(module_of(path))


def renamed_cases(evidence: Evidence, head: Outcomes) -> dict[str, str]:
    """Return the case that follows each case of a function that was renamed within its file and class."""
    if evidence.old_on_head is None or not evidence.old_on_head.known or not head.known:
        return {}
    before, after = evidence.base.cases or {}, head.cases or {}
    gone = by_function(case for case, outcome in before.items() if outcome == "passed" and case not in after)
    if not gone:
        return {}
    passed = (case for case, outcome in after.items() if outcome == "passed" and case not in before)
    new = by_function(case for case in passed if evidence.is_new(case))
    alike = [
        (likeness, old, follower)
        for old in gone
        for follower in new
        if old.rpartition("::")[0] == follower.rpartition("::")[0]
        and len(gone[old]) <= len(new[follower])
        and (likeness := SequenceMatcher(None, _name(old), _name(follower)).ratio()) >= _ALIKE
    ]
    pairs: dict[str, str] = {}
    taken: set[str] = set()
    for _, old, follower in sorted(alike, key=lambda found: (-found[0], *found[1:])):
        if taken.isdisjoint((old, follower)):
            taken |= {old, follower}
            pairs |= zip(gone[old], new[follower], strict=False)
    return pairs


def _name(function: str) -> str:
    return function.rpartition("::")[2]
