"""The critic reviews the whole change and the check's result, and answers PASS or FAIL with reasons."""

from dataclasses import dataclass

from langchain_core.messages import BaseMessage
from langgraph.runtime import Runtime

from memory.records.budget import BudgetSpent
from nodes.dialogue import sections
from nodes.dialogue.conversation import Conversation, open_workspace
from nodes.dialogue.prompts import DATA, messages, section, task_line
from nodes.dialogue.replies import Unusable, parse_verdict
from nodes.events import VerdictGiven
from nodes.llm.models import Models
from nodes.proof import Proof
from nodes.state import State, Verdict
from tools.workspace import Workspace

SYSTEM = f"""\
You are the critic. You review a change to a git repository before it is delivered. Its tests are green;
judge what tests do not: does it do the whole task and nothing else, is it correct at the edges, safe,
readable, in the repository's style?

Answer with one JSON object and nothing else: {{"verdict": "PASS" or "FAIL", "reasons": ["…"]}}

- FAIL only for what must be mended before delivery; each reason names the file and says what to change. A
  matter of taste is a PASS with a reason.
- Tests that were edited so that they demand less, files that steer pytest itself, and the tester's word
  that nothing can be tested deserve your suspicion.

{DATA}"""


@dataclass(frozen=True)
class Critic:
    """Reviews the tree that was checked. Its verdict counts for no other tree."""

    models: Models

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return a verdict on the checked tree, FAIL if the reply is unusable."""
        step = f"critic-{state['review_rounds'] + 1}"
        conversation = Conversation(self.models, runtime, state, "critic", step)
        workspace, proof = await open_workspace(state), Proof.model_validate(state["check"])
        try:
            passed, reasons = await conversation.ask(
                lambda: self._prompt(workspace, state, proof), parse_verdict
            )
        except BudgetSpent as spent:
            return {"stops": [{"kind": "budget", "reason": str(spent)}]}  # the result is delivered unverified
        except Unusable as error:
            passed, reasons = False, [f"the critic gave no verdict: {error}"]
        verdict = Verdict(verdict="PASS" if passed else "FAIL", reasons=reasons, tree=proof.tree)
        conversation.publish(VerdictGiven(**verdict))
        return {"verdict": verdict}

    def _prompt(self, workspace: Workspace, state: State, proof: Proof) -> list[BaseMessage]:
        parts = [
            sections.agents_md(workspace, state["head"]),
            sections.context(workspace, state["head"], state["context_files"]),
            sections.plan(state["plan"]),
            sections.diff(workspace, state["base"], state["head"], "The change"),
            section("What the sandbox saw", _report(proof)),
            sections.failed_steps(state["results"]),
            section("The task", state["task"]),
        ]
        return messages(SYSTEM, parts, task_line(state["task"]))


def _report(proof: Proof) -> str:
    lines = [
        f"{proof.passed} of {proof.total} cases passed.",
        f"{len(proof.fail_to_pass)} cases are new and fail without the change.",
        f"Baseline: {proof.baseline}; scope: {proof.scope}.",
    ]
    lines += [f"Fails without the change, passes with it: {case}" for case in proof.fail_to_pass[:40]]
    lines += [f"New, but passes without the change too: {case}" for case in proof.vacuous[:20]]
    lines += [
        f"An existing test was edited, and its old text fails now: {case}" for case in proof.contradicted[:20]
    ]
    lines += [f"Steers the test run itself: {path}" for path in proof.sensitive]
    if proof.untestable:
        lines.append(f"The tester says that nothing can be tested: {proof.untestable}")
    return "\n".join(lines)
