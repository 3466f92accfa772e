"""The part of a proof that a dependent package gives, which the change does not edit.

It counts against the change only if its tests ran on the base.
"""

from typing import Any

_ELSEWHERE = "it depends on what the change edits, but {fault}"
_SKIPPED = "it depends on what the change edits, but its tests are all skipped here"
_NOT_RUNNING = (
    "not verified: it depends on what the change edits, and its tests do not run on the base either: {reason}"
)


def settled(part: dict[str, Any], elsewhere: str) -> dict[str, Any]:
    """Return the part with those problems alone that the change may have caused.

    `elsewhere` says which changed modules its tests took from another place.
    """
    if elsewhere:
        limited = {"scope": "affected", "scope_reason": _ELSEWHERE.format(fault=elsewhere)}
    elif part.get("cases") and all(case.base == "skipped" for case in part["cases"]):
        limited = {"scope": "affected", "scope_reason": _SKIPPED}
    else:
        limited = {}
    part = part | limited
    if part["base_passed"]:
        return part
    # Nobody is asked to mend what did not run before the change.
    cleared = {"problems": [], "failures": [], "base_shows_it": False}
    found_none = part["grade"] == "tests" and not part["cases"] and part["baseline"] == "known"
    if part.get("scope") == "affected" or part["missing_environment"] or found_none:
        return part | cleared
    reasons = [part.get("baseline_reason"), *(each.reason for each in part.get("uncollected", ()))]
    reason = next(filter(None, [*part["problems"], *reasons]), "no case passes")
    return part | cleared | {"gaps": [*part["gaps"], _NOT_RUNNING.format(reason=reason)]}
