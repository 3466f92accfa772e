"""The proof of a change that concerns several packages, joined from the parts that each of them gives."""

from collections.abc import Sequence
from typing import Any

from nodes.environment.need import missing
from nodes.proof import Strength

_FILES = ("suspicious", "unguarded", "uncollected")
_SENTENCES = ("problems", "gaps")
_CASES = ("vacuous", "guards", "contradicted", "unsteady", "sensitive")
_BY_CASE = ("old_errors",)
_REASONS = ("baseline_reason", "scope_reason", "missing_environment")


def joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the fields of one proof. Cases, paths and reasons get the folder of their package."""
    parts = [_placed(part) for part in parts]
    fields = parts[0] if len(parts) == 1 else _sum_of_parts(parts)
    lacking = [missing(part["missing_environment"]) for part in parts if part["missing_environment"]]
    return fields | {"gaps": [*lacking, *fields["gaps"]]}


def _sum_of_parts(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    edited = [part for part in parts if not part["is_dependent"]]
    # A package that is judged by its cases says more than one that is judged by an exit code.
    first = next((part for part in edited if part["grade"] == "tests"), edited[0])
    lists = ("cases", "failures", "environments", *_FILES, *_SENTENCES, *_CASES)
    red = [part for part in parts if not part["green"]]
    strengths = [part["strength"] for part in parts if part.get("strength")]
    known = all(part.get("baseline") == "known" for part in parts)
    whole = all(part.get("scope", "all") == "all" for part in parts)
    return (
        first
        | {name: [item for part in parts for item in part.get(name, ())] for name in lists}
        | {name: {k: v for part in parts for k, v in part.get(name, {}).items()} for name in _BY_CASE}
        | {name: "; ".join(filter(None, (part.get(name) for part in parts))) for name in _REASONS}
        | {
            "green": not red,
            # Any code but 0 tells that something failed.
            "exit_code": max((part["exit_code"] for part in (*edited, *red)), key=abs),
            "base_shows_it": bool(red) and all(part.get("base_shows_it") for part in red),
            "baseline": "known" if known else "unknown",
            "scope": "all" if whole else "affected",
            "strength": _sum(strengths) if strengths else None,
        }
    )


def _placed(part: dict[str, Any]) -> dict[str, Any]:
    """Return a part without its folder, which stands before its cases and paths instead."""
    folder = part["folder"]
    rest = {name: value for name, value in part.items() if name != "folder"}
    if not folder:
        return rest
    for name in _FILES:
        rest[name] = [
            each.model_copy(update={"file": f"{folder}/{each.file}"}) for each in rest.get(name, ())
        ]
    for name in ("cases", "failures"):
        rest[name] = [each.model_copy(update={"id": f"{folder}: {each.id}"}) for each in rest.get(name, ())]
    for name in (*_SENTENCES, *_CASES):
        rest[name] = [f"{folder}: {text}" for text in rest.get(name, ())]
    for name in _BY_CASE:
        rest[name] = {f"{folder}: {key}": value for key, value in rest.get(name, {}).items()}
    for name in _REASONS:
        rest[name] = f"{folder}: {reason}" if (reason := rest.get(name)) else ""
    return rest


def _sum(strengths: Sequence[Strength]) -> Strength:
    return Strength(
        killed=sum(each.killed for each in strengths),
        tried=sum(each.tried for each in strengths),
        untried=sum(each.untried for each in strengths),
    )
