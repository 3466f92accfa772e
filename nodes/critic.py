"""The critic reviews the whole change and the check's result, and answers PASS or FAIL with reasons."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from langchain_core.messages import BaseMessage
from langgraph.runtime import Runtime

from memory.calls.budget import BudgetSpent
from nodes.agent.agents import Agents
from nodes.agent.conversation import Conversation
from nodes.check.runners.test_names import by_function, shown_case
from nodes.dialogue import sections
from nodes.dialogue.prompts import (
    DATA,
    DISCARDED,
    TASK,
    fenced,
    messages,
    section,
    task_line,
    task_section,
    with_tools,
)
from nodes.dialogue.replies import Unusable
from nodes.dialogue.results import failing_on_both, figures, line, listed, weaknesses
from nodes.dialogue.turns import earlier
from nodes.dialogue.verdicts import Review, Unanswered, needs_consent, read_review
from nodes.events import VerdictGiven
from nodes.planning.habits import habits
from nodes.proof import Proof
from nodes.repository import open_workspace
from nodes.state import State, Stop, Verdict
from tools.workspace import Workspace

SYSTEM = f"""\
You are the critic. You review a change to a git repository before it is delivered. It was run in a sandbox;
judge what the tests do not: does it do the whole task and nothing else, is it correct at the edges, safe,
readable, in the repository's style? {TASK}

Answer with one JSON object and nothing else:
{{"verdict": "PASS" or "FAIL", "reasons": ["…"], "summary": "…"}}

- FAIL only for what must be mended before delivery; each reason names the file and says what to change. A
  matter of taste is a PASS with a reason.
- "summary" is what the user reads: in two to four sentences what was done, what was not, and what to look
  at. The figures of the check are added, so repeat none.
- Read what the sandbox saw, and doubt it where it is weak: tests that were edited so that they demand less,
  code that behaves differently when it is tested, lines that no test guards.

{DATA}"""

ASKED_BEFORE = """\
In your earlier reviews of this change you asked for:
{demands}
Judge whether this was met. Ask for more only where the task demands it, or where the repair has broken
something."""

DEMANDED = """\
These cases passed on the base. As they stand there, they fail on the change:
{places}
Does the task demand that? Add "demanded" to your JSON object: for each case, the sentence of the task that
demands it, quoted word for word. A function stands for all of its cases:
"demanded": {{"{key}": "a sentence of the task"}}
If no sentence of the task demands it, the verdict is FAIL."""

SUSPICIONS = """\
These places in the change may deceive the check, or behave differently when they are tested:
{places}
Add "suspicions" to your JSON object: for each number, why the place is harmless, or what must go:
"suspicions": {{"1": "…"}}
If something must go, the verdict is FAIL."""

NO_TESTS = """\
The tester added no test and gives this reason:
{reason}
Add "no_tests" to your JSON object: "agree" if really no test could tell the change from the base, else
"disagree: why". Code that computes something can be tested. A conftest.py and helpers of the tests cannot,
because they run with the tests on both sides."""

CASES = 40
"""Cases that are listed one by one. Of more, only the functions are."""


@dataclass(frozen=True)
class Critic:
    """Reviews the tree that was checked. Its verdict counts for no other tree."""

    agents: Agents

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return a verdict on the checked tree, FAIL if the reply is unusable."""
        step = f"critic-{state['review_rounds'] + 1}"
        workspace = await open_workspace(state)
        asking = self.agents.conversation(runtime, state, "critic", step, workspace, state["head"])
        async with asking as conversation:
            return await self._review(conversation, workspace, state)

    async def _review(self, conversation: Conversation, workspace: Workspace, state: State) -> State:
        checked = Proof.model_validate(state["check"])
        refusals = [refused["reason"] for refused in state.get("refusals") or []]
        try:
            review, proof = await conversation.ask(
                lambda: self._prompt(workspace, state, checked, conversation),
                lambda text: read_review(text, checked, [state["task"], *refusals, *conversation.notes]),
            )
            reviewed = verdict_of(review, proof)
        except BudgetSpent as spent:
            return {"stops": [{"kind": "budget", "reason": str(spent)}]}  # the result is delivered unverified
        except Unusable as error:
            reviewed = verdict_without(error, checked)
        verdict = reviewed["verdict"]
        if verdict is None:
            return reviewed | {"notes": conversation.notes}
        conversation.publish(VerdictGiven(**verdict))
        asked = verdict["reasons"] if verdict["verdict"] == "FAIL" else []
        return reviewed | {"notes": conversation.notes, "demands": [*state.get("demands", []), *asked]}

    def _prompt(
        self, workspace: Workspace, state: State, proof: Proof, conversation: Conversation
    ) -> list[BaseMessage]:
        left_out, tools = state.get("guards_failed", ""), conversation.offers_tools
        parts = [
            sections.agents_md(workspace, state["head"]),
            sections.context(workspace, state["head"], state["context_files"]),
            earlier(state.get("turns", []), conversation.room, brief=True),
            sections.plan(state["plan"], task=state["task"]),
            sections.refusals(state.get("refusals") or []),
            habits(workspace, state["base"]),
            sections.diff(workspace, state["base"], state["head"], "The change"),
            section("What the sandbox saw", _report(proof)),
            section("Further tests were left out, because they failed", left_out and fenced(left_out)),
            sections.failed_steps(state["results"]),
            sections.remarks(state["results"], state.get("tester_remark", "")),
            section("Your earlier reviews", _asked_before(state.get("demands", []))),
            task_section(state["task"]),
            section("Answer this too", "\n\n".join(_questions(proof))),
        ]
        return messages(with_tools(SYSTEM, tools, DISCARDED), parts, task_line(state["task"]))


def verdict_of(review: Review, proof: Proof) -> State:
    """Return the verdict of a review, with the answers in the proof. An objection to NO TESTS is a FAIL."""
    passed, reasons = review.passed, review.reasons
    objection = review.objection if needs_consent(proof) else ""
    if passed and objection:
        passed, reasons = False, [*reasons, f"a test is possible: {objection}"]
    verdict = Verdict(verdict="PASS" if passed else "FAIL", reasons=reasons, tree=proof.tree)
    if review.summary and passed == review.passed:  # else it speaks of another verdict
        verdict["summary"] = review.summary
    return {"verdict": verdict, "check": proof.model_dump(), "tests_wanted": objection}


def verdict_without(error: Unusable, proof: Proof) -> State:
    """Return a FAIL for a critic whose second reply cannot be used either."""
    reasons = (
        error.questions if isinstance(error, Unanswered) else [f"the critic gave no verdict: {error.fault}"]
    )
    failed: State = {"verdict": Verdict(verdict="FAIL", reasons=reasons, tree=proof.tree)}
    if not isinstance(error, Unanswered) or not proof.contradicted:
        # Only what the base's tests demand can be repaired without a reason from the critic.
        stop = Stop(kind="unverified", reason="the critic named nothing that a repair could mend")
        return failed | {"stops": [stop]}
    return failed


def _questions(proof: Proof) -> Iterator[str]:
    """Yield what the critic must answer besides the verdict."""
    if proof.contradicted:
        cases = _grouped(proof.contradicted)
        errors = {case: proof.old_errors.get(case) for case in cases}
        told = [shown_case(case) + (f": {error}" if error else "") for case, error in errors.items()]
        yield DEMANDED.format(places=_numbered(told), key=shown_case(cases[0]).replace('"', "'"))
    if proof.suspicious:
        places = [f"{place.file}:{place.line}: {line(place.text)}" for place in proof.suspicious]
        yield SUSPICIONS.format(places=_numbered(places))
    if needs_consent(proof):
        yield NO_TESTS.format(reason=fenced(line(proof.untestable)))


def _asked_before(demands: Sequence[str]) -> str:
    return ASKED_BEFORE.format(demands=_numbered(list(dict.fromkeys(demands)))) if demands else ""


def _numbered(items: Sequence[str]) -> str:
    return fenced("\n".join(f"{number}. {item}" for number, item in enumerate(items, 1)))


def _grouped(cases: Sequence[str]) -> list[str]:
    """Return the cases, or their functions if there are many."""
    many = len(cases) > CASES
    return list(dict.fromkeys(case.partition("[")[0] if many else case for case in cases))


def _report(proof: Proof) -> str:
    """Return what the check saw, without a word that would make it look stronger than it is."""
    asked = {"suspicious", "contradicted", "not imported", *(["no test"] if needs_consent(proof) else [])}
    proving, guards = by_function(proof.fail_to_pass)[:CASES], by_function(proof.guards)[:CASES]
    cases = [f"Fails without the change, passes with it: {case}" for case in proving]
    cases += [
        f"Passes without the change too, and fails when the changed code is broken: {case}" for case in guards
    ]
    weak = [str(weakness) for weakness in weaknesses(proof) if weakness.name not in asked]
    both = [case.id for case in failing_on_both(proof)]
    # The number of mutants depends on the time that they got, and prompts must not.
    told = figures(proof.model_copy(update={"strength": None}))
    unread = [f"{module.file} ({line(module.reason)})" for module in proof.uncollected]
    base = [
        f"Fails before and after the change: {listed(both)}" if both else "",
        f"Cannot be imported before and after the change: {listed(unread)}" if unread else "",
    ]
    return "\n".join(filter(None, [f"{told}.", *cases, *base, *weak]))
