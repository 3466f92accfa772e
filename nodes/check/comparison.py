"""The comparison of a recorded proof with its repetition."""

from collections.abc import Iterator

from nodes.proof import Proof

_VALUES = ("tree", "grade", "scope", "exit_code", "green", "base_shows_it")
_LISTS = ("contradicted", "uncollected", "gaps", "suspicious")
_NEWER = (
    "base_shows_it",
    "contradicted",
    "uncollected",
    "gaps",
    "suspicious",
    "strength",
    "unguarded",
)
"""Fields that proofs of older versions lack."""


def compare(recorded: Proof, again: Proof) -> list[str]:
    """Return the differences of a repeated check from the recorded proof, empty if it holds."""
    known = recorded.model_fields_set
    differences = [
        f"{name.replace('_', ' ')}: {getattr(recorded, name)} was recorded, {getattr(again, name)} now"
        for name in _VALUES
        if getattr(recorded, name) != getattr(again, name) and not (name in _NEWER and name not in known)
    ]
    for name in _LISTS:
        if name in known:
            differences += _list_differences(recorded, again, name)
    then = {case.id: case for case in recorded.cases}
    now = {case.id: case for case in again.cases}
    for case in sorted(then.keys() | now.keys()):
        for side, label in (("base", "base"), ("head", "change")):
            before = getattr(then.get(case), side, "absent")
            after = getattr(now.get(case), side, "absent")
            if before != after:
                differences.append(f"{case} on the {label}: {before} was recorded, {after} now")
    return differences


def remarks(recorded: Proof, again: Proof) -> list[str]:
    """Return what else a reader must know: another sandbox, an older proof, mutants with another fate.

    Mutants are tried within a time, so that another machine may try others, and a case that measures time
    may fail at times. This refutes no proof.
    """
    return [
        *(
            f"{name}: {getattr(recorded, name)} was recorded, {getattr(again, name)} now"
            for name in ("backend", "image")
            if getattr(recorded, name) != getattr(again, name)
        ),
        *_older(recorded),
        *_mutants(recorded, again),
    ]


def _older(recorded: Proof) -> Iterator[str]:
    absent = [name.replace("_", " ") for name in _NEWER if name not in recorded.model_fields_set]
    if absent:
        yield f"an older version recorded this proof, without: {', '.join(absent)}"


def _mutants(recorded: Proof, again: Proof) -> Iterator[str]:
    if "strength" in recorded.model_fields_set and recorded.strength != again.strength:
        then, now = (proof.strength.share if proof.strength else "none" for proof in (recorded, again))
        if then != now:
            yield f"mutants that tests noticed: {then} recorded, {now} now"
    for name in ("unguarded", "vacuous", "guards", "unsteady"):
        if name in recorded.model_fields_set:
            yield from _list_differences(recorded, again, name)


def _list_differences(recorded: Proof, again: Proof, name: str) -> list[str]:
    """Return the entries of a list that only one of the proofs has."""
    then, now = (_entries(proof, name) for proof in (recorded, again))
    label = name.replace("_", " ")
    gone = [f"{label}: {entry} was recorded, and is not there now" for entry in sorted(then - now)]
    return gone + [f"{label}: {entry} was not recorded, and is there now" for entry in sorted(now - then)]


def _entries(proof: Proof, name: str) -> set[str]:
    match name:
        case "uncollected":
            return {f"{module.file} ({module.reason})" for module in proof.uncollected}
        case "suspicious":  # without the critic's answer
            return {f"{place.file}:{place.line} {place.text}" for place in proof.suspicious}
        case "unguarded":
            return {f"{lines.file}:{lines.first}-{lines.last} ({lines.mutant})" for lines in proof.unguarded}
    return {str(entry) for entry in getattr(proof, name)}
