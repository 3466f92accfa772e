"""Ten thousand runs with a critic that always passes: only what its answers really carry is verified.

The runs go through the graph's own routes. No model and no sandbox is asked: checks are invented, and the
critic's replies are texts. `Truth` does not come from the code under test, but from where a run is invented.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from graph.builder import after_check, after_critic, after_debugger, after_tester, unless_stopped
from nodes.commit import missing
from nodes.critic import verdict_of, verdict_without
from nodes.dialogue.replies import Unusable
from nodes.dialogue.verdicts import read_review
from nodes.proof import CaseProof, Proof, Suspicion, Uncollected, Unguarded
from nodes.state import State, StepResult, Verdict

TASK = "Make total() round half up.\n\nThe discount is no longer subtracted.  Raise ValueError for nothing."
NOTE = "Also rename the file please"
TRUE_QUOTES = (
    "The discount is no longer subtracted.",
    "make TOTAL() round  half up",
    "raise ValueError for nothing",
    "rename the file",
)
FALSE_QUOTES = ("The tests are outdated and wrong", "total()", "", "no longer", "the file please do", "...")
BASE_CASES = (
    "tests.test_shop::test_total",
    "tests.test_shop::test_price[1-2]",
    "tests.test_shop.TestCart::test_add",
)
TRUE_KEYS = {
    BASE_CASES[0]: ("tests.test_shop::test_total", "tests/test_shop.py::test_total", "test_total"),
    BASE_CASES[1]: ("tests.test_shop::test_price", "tests/test_shop.py::test_price[1-2]", "test_price"),
    BASE_CASES[2]: ("tests/test_shop.py::TestCart::test_add", "tests.test_shop.TestCart::test_add"),
}
FALSE_KEYS = ("tests", "*", "", "all", "tests.test_shop", "tests/test_shop.py", "TestCart", "test", "1")


@dataclass
class Truth:
    """The facts of an invented run. The code under test does not compute them."""

    reply: str = ""
    passes: bool = False
    demanded: set[str] = field(default_factory=set)
    answered: set[int] = field(default_factory=set)
    consents: bool = False


def chance(random: Random, share: float) -> bool:
    return random.random() < share


def invent_check(random: Random, state: State) -> Proof:
    """A check of the head, good more often than not."""
    regressed, contradicted = chance(random, 0.15), chance(random, 0.3)
    cases = [CaseProof(id=id, base="passed", head="passed") for id in BASE_CASES]
    if regressed:
        cases[0] = CaseProof(id=BASE_CASES[0], base="passed", head="failed")
    if chance(random, 0.8):
        cases.append(CaseProof(id="tests.test_new::test_new", base="failed", head="passed", new=True))
    exit_code, places = chance(random, 0.1), random.choice((0, 0, 1, 3))
    return Proof(
        base="base",
        head=state["head"] if chance(random, 0.95) else "another",
        tree=f"tree of {state['head']}",
        grade="exit code" if exit_code else "tests",
        backend="none",
        image="",
        command=["pytest"],
        exit_code=int(regressed),
        cases=[] if exit_code else cases,
        green=not regressed,
        problems=["1 case failed that passed on the base"] if regressed and chance(random, 0.9) else [],
        base_shows_it=regressed and chance(random, 0.3),
        gaps=["tests/test_app.py covers the change and cannot be imported"] if chance(random, 0.1) else [],
        scope="affected" if chance(random, 0.2) else "all",
        uncollected=[Uncollected(file="tests/test_app.py", reason="flask")] if chance(random, 0.2) else [],
        contradicted=sorted(random.sample(BASE_CASES, random.randint(1, 3))) if contradicted else [],
        suspicious=[Suspicion(file="conftest.py", line=n, text="import sys") for n in range(places)],
        unguarded=[Unguarded(file="a.py", first=1, last=2, mutant="f() returns nothing")]
        if chance(random, 0.2)
        else [],
        untestable=state["untestable"],
    )  # fmt: skip


def lie(random: Random, proof: Proof) -> Truth:
    """A reply of a critic that always passes, with answers of every kind, and what they are worth."""
    style = random.random()
    if style < 0.1:
        return Truth(random.choice(("PASS", "**PASS**")), passes=True)
    if style < 0.15:
        return Truth(random.choice(("All good!", "{", '{"verdict": "pass"}', "null", "[]")))
    reply: dict[str, Any] = {"verdict": "PASS", "reasons": []}
    truth = Truth(passes=True)
    honest = chance(random, 0.5)
    demanded: dict[str, Any] = {}
    for case in proof.contradicted:
        true_key, true_quote = honest or chance(random, 0.5), honest or chance(random, 0.5)
        key = random.choice(TRUE_KEYS[case] if true_key else FALSE_KEYS)
        if key in demanded:
            continue
        demanded[key] = random.choice(TRUE_QUOTES if true_quote else FALSE_QUOTES)
        if true_key and true_quote:
            truth.demanded.add(case)
    if chance(random, 0.9):
        reply["demanded"] = demanded
    else:
        reply["demanded"], truth.demanded = random.choice(([], "all of them", 1, None)), set()
    suspicions: dict[str, Any] = {}
    for number in range(1, len(proof.suspicious) + 1):
        good = honest or chance(random, 0.5)
        suspicions[str(number) if good else f"{number}{number}"] = "It reads a fixture."
        if good:
            truth.answered.add(number)
    if chance(random, 0.1):
        suspicions, truth.answered = dict.fromkeys(suspicions, random.choice(("", " ", "-", 3, None))), set()
    reply["suspicions"] = suspicions
    reply["no_tests"] = random.choice(("agree", "agree", "Agreed.", "", "yes", "disagree: test the rounding"))
    truth.consents = reply["no_tests"] in ("agree", "Agreed.")
    truth.reply = json.dumps(reply)
    return truth


def is_verified(state: State, truth: Truth) -> bool:
    """The issue's sentences, on what was invented."""
    proof = state["check"]
    if state["stops"] or any("error" in result for result in state["results"]) or not proof:
        return False
    if proof["head"] != state["head"] or state["head"] == state["base"] or proof["gaps"]:
        return False
    if any(case["base"] == "passed" and case["head"] != "passed" for case in proof["cases"]):
        return False
    if proof["exit_code"] or state.get("not_the_change"):
        return False
    new = any(case["new"] and case["base"] == "failed" for case in proof["cases"])
    if proof["grade"] == "tests" and not new and not (proof["untestable"] and truth.consents):
        return False
    demanded = set(proof["contradicted"]) <= truth.demanded
    answered = set(range(1, len(proof["suspicious"]) + 1)) <= truth.answered
    verdict = state["verdict"]
    on_this_tree = verdict is not None and verdict["tree"] == proof["tree"]
    return truth.passes and on_this_tree and demanded and answered


def review(random: Random, state: State) -> tuple[State, Truth]:
    """The critic's node, with lies as replies: the second one counts if the first one is unusable."""
    proof, words = Proof.model_validate(state["check"]), [TASK, NOTE]
    truth = Truth()
    for attempt in (1, 2):
        truth = lie(random, proof)
        try:
            return verdict_of(*read_review(truth.reply, proof, words)), truth
        except Unusable as error:
            if attempt == 2:
                return verdict_without(error, proof), truth
    raise AssertionError


def begin(random: Random) -> State:
    stale = Verdict(verdict="PASS", reasons=[], tree="tree of h1")
    failed = StepResult(step_id="s1", base="base", error="no")
    return {
        "task": TASK,
        "notes": [NOTE],
        "options": {},
        "base": "base",
        "head": "h0" if chance(random, 0.97) else "base",
        "plan": {"explanation": "", "steps": []},
        "results": [failed] if chance(random, 0.05) else [],
        "stops": [],
        "check": None,
        "verdict": stale if chance(random, 0.1) else None,
        "untestable": "only words" if chance(random, 0.2) else "",
        "tests_asked": 1,
        "debug_rounds": 0,
        "review_rounds": 0,
    }


def run(random: Random) -> tuple[State, Truth]:
    """One run from its first check to the commit."""
    state, truth, node = begin(random), Truth(), "sandbox"
    while node != "commit":
        update: State = {}
        after: Callable[[State], str]
        if node == "sandbox":
            update, after = {"check": invent_check(random, state).model_dump()}, after_check
        elif node == "tester":
            update, after = {"tests_asked": state["tests_asked"] + 1, "guards_asked": True}, after_tester
            if state.get("tests_wanted"):
                update |= {"tests_wanted": "", "verdict": None, "review_rounds": state["review_rounds"] + 1}
            if chance(random, 0.5):
                update |= {"head": f"{state['head']}+", "untestable": ""}
        elif node == "debugger":
            update, after = {"debug_rounds": state["debug_rounds"] + 1, "verdict": None}, after_debugger
            update["review_rounds"] = state["review_rounds"] + 1
            if chance(random, 0.2):
                update["not_the_change"] = "flask is not installed"
            elif chance(random, 0.9):
                update["head"] = f"{state['head']}."
        else:
            (update, truth), after = review(random, state), after_critic
        if chance(random, 0.01):
            update["stops"] = [{"kind": "budget", "reason": "spent"}]
        state |= update
        node = after(state) if unless_stopped("on")(state) == "on" else "commit"
    return state, truth


def test_a_lying_critic_verifies_nothing_that_its_answers_do_not_carry() -> None:
    random = Random(13)
    verified = 0
    for number in range(10_000):
        state, truth = run(random)
        lacks, expected = missing(state), is_verified(state, truth)
        assert (not lacks) == expected, (number, lacks, truth, state)
        verified += not lacks
    assert 1_500 < verified < 8_500


def test_answers_that_the_critic_did_not_give_do_not_verify() -> None:
    random = Random(31)
    verified = 0
    for _ in range(2_000):
        state = begin(random)
        proof = invent_check(random, state)
        quotes = {case: random.choice(TRUE_QUOTES + FALSE_QUOTES) for case in proof.contradicted}
        answers = [random.choice(("It reads a fixture.", "", " ")) for _ in proof.suspicious]
        places = [
            place.model_copy(update={"answer": a}) for place, a in zip(proof.suspicious, answers, strict=True)
        ]
        truth = Truth(passes=True, consents=chance(random, 0.5))
        truth.demanded = {case for case, quote in quotes.items() if quote in TRUE_QUOTES}
        truth.answered = {number for number, answer in enumerate(answers, 1) if answer.strip()}
        forged = {"demanded": quotes, "suspicious": places, "consent": truth.consents}
        state["check"] = proof.model_copy(update=forged).model_dump()
        tree = random.choice((proof.tree, proof.tree, "another tree"))
        state["not_the_change"] = "flask is not installed" if chance(random, 0.05) else ""
        state["verdict"] = Verdict(verdict="PASS", reasons=[], tree=tree)
        lacks = missing(state)
        assert (not lacks) == is_verified(state, truth), (lacks, truth, state)
        verified += not lacks
    assert verified > 100
