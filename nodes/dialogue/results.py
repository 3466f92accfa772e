"""The result of a run in sentences: its headline, what is weak, the figures, and what to do next."""

import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nodes.check.runners.test_names import shown_case
from nodes.proof import FAILED, CaseProof, EnvironmentProof, Proof, ResultSummary
from nodes.state import LastWords

CASES = 12
"""Cases, places or modules that are named one by one."""

TEXT_LENGTH = 200

WORDS_LENGTH = 800
"""Characters of an agent's last words."""

_QUOTES = str.maketrans("“”„«»", '""' + '"""')

KEY_LENGTH = 8
"""Digits of an environment's key that name it for people."""

SOURCES = 3
"""Files that an environment was made from, as far as they are named."""


class Weakness(NamedTuple):
    """A point that a reader should know before trusting a proof."""

    name: str
    text: str

    def __str__(self) -> str:
        if self.text.lower().removeprefix("the ").startswith(self.name):
            return self.text
        return f"{self.name.capitalize()}: {self.text}"


def headline(proof: Proof | None, verified: bool) -> str:
    """Return the first words of a result, such as `Verified, with 2 suspicions`."""
    if not verified:
        missing = proof and proof.missing_environment
        return "Not verified: the environment is missing" if missing else "Not verified"
    parts = ["Verified"]
    if proof and proof.untestable and not proof.fail_to_pass:
        parts.append("but no test was added")
    if proof and proof.strength and proof.strength.tried and not proof.strength.killed:
        parts.append("but no test notices the change")
    if proof and (points := _points(proof)):
        parts.append(f"with {' and '.join(points)}")
    return ", ".join(parts)


def _points(proof: Proof) -> list[str]:
    """Return the numbers of what rests on the critic's word alone."""
    points = []
    if number := len(proof.contradicted):
        points.append(f"{number} contradicted {'test' if number == 1 else 'tests'}")
    if number := len(proof.suspicious):
        points.append(f"{number} {'suspicion' if number == 1 else 'suspicions'}")
    return points


def summarize(
    proof: Mapping[str, Any] | None, missing: Sequence[str], words: LastWords | None = None
) -> ResultSummary:
    """Return a stored proof as the end of a run tells of it, with the last words of its agents."""
    checked = Proof.model_validate(proof) if proof else None
    return ResultSummary(
        headline=headline(checked, not missing),
        weaknesses=[str(weakness) for weakness in weaknesses(checked, missing)] if checked else [],
        figures=figures(checked) if checked else "",
        advice=advice(checked, missing),
        words=quoted(words),
    )


def quoted(words: LastWords | None) -> str:
    """Return what an agent says to the user as a line that says whose words they are, empty without any."""
    if not words:
        return ""
    # Its own quotation marks must not end ours, or what follows would read like a fact of ours.
    text = line(words["text"].translate(_QUOTES), WORDS_LENGTH)
    return f"The {words['agent']} says: “{text}”"


def weaknesses(proof: Proof, missing: Sequence[str] = ()) -> list[Weakness]:
    """Return what is weak about a proof, the weightiest first, without what `missing` says already."""
    # `missing` begins its texts in lower case, weaknesses are sentences.
    said = {text.lower() for text in missing}
    return [weakness for weakness in _weaknesses(proof) if weakness.text.lower() not in said]


def _weaknesses(proof: Proof) -> Iterator[Weakness]:
    if proof.missing_environment:
        reason = line(proof.missing_environment.strip().partition("\n")[0]).rstrip(".")
        yield Weakness("environment", f"The environment is missing: {reason}")
    if proof.untestable and not proof.fail_to_pass:
        consent = " (the critic agrees)" if proof.consent else ""
        yield Weakness("no test", f"No test was added: {line(proof.untestable)}{consent}")
    for place in proof.suspicious[:CASES]:
        answer = f"the critic says: {line(place.answer)}" if place.answer else "nobody has explained it"
        yield Weakness("suspicious", f"{place.file}:{place.line}: {line(place.text).rstrip('.')} ({answer})")
    yield from _rest(proof.suspicious, "suspicious", "place")
    for quote, cases in _by_quote(proof).items():
        errors = {case: proof.old_errors.get(case) for case in cases}
        told = [shown_case(case) + (f" ({error})" if error else "") for case, error in errors.items()]
        old = "and its old version fails" if len(cases) == 1 else "and their old versions fail"
        fate = f"{listed(told)} passed on the base, {old} now"
        demand = "nobody has named a sentence of the task that demands it"
        if quote:
            demand = f"the critic says that the task demands it: “{line(quote)}”"
        yield Weakness("contradicted", f"{fate} ({demand})")
    if proof.unsteady:
        number = len(proof.unsteady)
        fate = "1 case" if number == 1 else f"{number} cases"
        then = "then passed alone, or failed on the base as well"
        yield Weakness("unsteady", f"{fate} failed at first, {then}: {listed(proof.unsteady)}")
    for module in proof.uncollected[:CASES]:
        yield Weakness("not imported", f"{module.file} could not be imported: {line(module.reason)}")
    yield from _rest(proof.uncollected, "not imported", "module")
    if proof.sensitive and not proof.suspicious:
        yield Weakness("sensitive", f"{listed(proof.sensitive)} can alter how tests run; read the diff")
    if proof.baseline == "unknown":
        reason = line(proof.baseline_reason) or "the tests of the base did not end"
        yield Weakness("baseline", f"{reason}, so nothing tells what passed before")
    if proof.scope == "affected":
        reason = f": {line(proof.scope_reason)}" if proof.scope_reason else ", not the whole suite"
        yield Weakness("scope", f"only the tests that the change can reach were run{reason}")
    idle = {case.id: None for case in proof.cases if case.idle}  # in order, and quick to search
    if passing := [id for id in proof.vacuous if id not in idle]:
        yield Weakness("vacuous", f"proves nothing, as it passes without the change: {listed(passing)}")
    if idle:
        reason = "as it asks for a name alone, and passes when every changed function returns nothing"
        yield Weakness("vacuous", f"proves nothing, {reason}: {listed([*idle])}")
    for lines in proof.unguarded[:CASES]:
        yield Weakness("unguarded", f"{lines.place}: no test notices when {line(lines.mutant)}")
    yield from _rest(proof.unguarded, "unguarded", "place")


def figures(proof: Proof) -> str:
    """Return the figures of a proof in one line."""
    places = environments(proof)
    if proof.grade == "exit code":
        ended = f"`{line(shlex.join(proof.command))}` ended with exit code {proof.exit_code}"
        return f"{ended}; {places}" if places else ended
    telling = len(proof.fail_to_pass)
    if not proof.cases:
        return f"no test ran: `{line(shlex.join(proof.command))}` ended with exit code {proof.exit_code}"
    parts = [f"{proof.passed} of {proof.total} test cases pass"]
    sharpened = any(case.sharpened and case.fail_to_pass for case in proof.cases)
    kind = "new or edited" if sharpened else "new"
    fate = f"is {kind} and fails" if telling == 1 else f"are {kind} and fail"
    parts.append(f"{telling} of them {fate} without the change")
    if guards := len(proof.guards):
        guard = "1 new case guards" if guards == 1 else f"{guards} new cases guard"
        parts.append(f"{guard} what worked before")
    if skipped := sum(case.head == "skipped" for case in proof.cases):
        parts.append(f"{skipped} skipped")
    if modules := len(proof.uncollected):
        parts.append(f"{modules} test {'module' if modules == 1 else 'modules'} could not be imported")
    if proof.strength and proof.strength.tried:
        strength = proof.strength
        parts.append(f"{strength.share} mutants of the change were noticed{strength.rest}")
    return "; ".join([*parts, *([places] if places else [])])


def environments(proof: Proof) -> str:
    """Return the environments that the tests ran in, in one line. Empty if they ran with pytest alone."""
    sides = len(proof.environments) > 1
    return ", ".join((f"{each.side} " if sides else "") + _environment(each) for each in proof.environments)


def _environment(environment: EnvironmentProof) -> str:
    folder = f" of {line(environment.folder)}" if environment.folder else ""
    sources = f" from {listed(environment.sources, SOURCES)}" if environment.sources else ""
    return f"in the environment {environment.key[:KEY_LENGTH]}…{folder}{sources}"


def advice(proof: Proof | None, missing: Sequence[str]) -> str:
    """Return what to do next about a result, empty if it is verified without a suspicion."""
    if not missing:
        return _look_first(proof) if proof else ""
    if proof is None:
        return "Cure the cause, then run the task again on the same thread."
    if proof.missing_environment:
        return (
            "Approve the environment, or write in .autocode.toml how it is built ([environment] setup). "
            "Then run the task again."
        )
    if not proof.green and proof.base_shows_it:
        return "Make the repository's own tests run in the sandbox first. Then run the task again."
    if proof.not_the_change and _regressed(proof):
        return (
            "What failed or is gone passed on the base, so doubt the debugger. "
            "Read the diff. Then say on the same thread what should be different."
        )
    if proof.not_the_change:
        return "If the debugger is right, cure the cause outside the change. Else say what to change."
    if proof.gaps:
        return "No repair of the change cures this. Cure the cause, or read the diff and decide yourself."
    if not proof.green:
        return "Read the diff and the failing output. Then say on the same thread what should be different."
    return "Read the diff. Then say on the same thread what should be different."


def _look_first(proof: Proof) -> str:
    """Return what to look at before a verified result is merged, empty if there is nothing."""
    places = ["the suspicious places"] if proof.suspicious else []
    if proof.contradicted:
        places.append("each contradicted test, whether the quoted sentence demands what it shows")
    if proof.untestable and not proof.fail_to_pass:
        places.append("the whole change, as no test shows what it does")
    return f"Before you merge, look at {', and at '.join(places)}." if places else ""


def _regressed(proof: Proof) -> bool:
    """Return whether a case that passed on the base fails or is gone, in either version of the tests."""
    lost = (*FAILED, "absent")
    return bool(proof.contradicted) or any(
        case.base == "passed" and case.head in lost for case in proof.cases
    )


def failing_on_both(proof: Proof) -> list[CaseProof]:
    """Return the cases that fail on the base and on the change."""
    return [case for case in proof.cases if not case.new and case.base in FAILED and case.head in FAILED]


def line(text: str, length: int = TEXT_LENGTH) -> str:
    """Return `text` as one line, cut to `length` characters."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def _by_quote(proof: Proof) -> dict[str, list[str]]:
    quotes = defaultdict[str, list[str]](list)
    for case in proof.contradicted:
        quotes[proof.demanded.get(case, "")].append(case)
    return quotes


def _rest(items: Sequence[object], name: str, noun: str) -> Iterator[Weakness]:
    if (more := len(items) - CASES) > 0:
        yield Weakness(name, f"and {more} more {noun if more == 1 else noun + 's'}")


def listed(names: Sequence[str], most: int = CASES) -> str:
    """Return names in one line, and how many more there are."""
    shown = ", ".join(map(shown_case, names[:most]))
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
