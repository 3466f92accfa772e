"""The critic: reads the whole change and what the sandbox saw, and answers PASS or FAIL with reasons."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from langchain_core.messages import BaseMessage
from langgraph.runtime import Runtime

from memory.records.budget import BudgetSpent
from nodes.dialogue.ask import DATA, ask, messages, section
from nodes.dialogue.replies import Unusable, parse_verdict
from nodes.dialogue.sections import agents_section, diff_section, given_section, plan_section
from nodes.events import VerdictGiven
from nodes.llm.models import Call, Models
from nodes.proof import Proof
from nodes.publish import publisher
from nodes.state import Options, State, Verdict
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
    """Judges the tree that was checked; what it says of any other tree counts for nothing."""

    models: Models

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return a verdict on the checked tree; an answer that is none is a FAIL."""
        step = f"critic-{state['review_rounds'] + 1}"
        publish = publisher(runtime.stream_writer, "critic", step)
        proof = Proof.model_validate(state["check"])
        call = Call(run=state["run"], agent="critic", step=step, ordinal=0)
        options = Options.model_validate(state["options"])
        try:
            prompt = await asyncio.to_thread(self._prompt, state, proof)
            passed, reasons = await ask(self.models, call, prompt, parse_verdict, options, publish)
        except BudgetSpent as spent:
            return {"stops": [{"kind": "budget", "reason": str(spent)}]}
        except Unusable as error:
            passed, reasons = False, [f"the critic gave no verdict: {error}"]
        verdict = Verdict(verdict="PASS" if passed else "FAIL", reasons=reasons, tree=proof.tree)
        publish(VerdictGiven(**verdict))
        return {"verdict": verdict}

    def _prompt(self, state: State, proof: Proof) -> list[BaseMessage]:
        workspace = Workspace.open(Path(state["repo"]))
        failed = [result for result in state["results"] if "error" in result]
        sections = [
            agents_section(workspace, state["head"]),
            given_section(workspace, state["head"], state["context_files"]),
            plan_section(state["plan"]),
            diff_section(workspace, state["base"], state["head"], "The change"),
            section("What the sandbox saw", _report(proof)),
            section("Steps that failed", "\n".join(f"{r['step_id']}: {r['error']}" for r in failed)),
            section("The task", state["task"]),
        ]
        return messages(SYSTEM, sections, state["task"].strip().splitlines()[0])


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
