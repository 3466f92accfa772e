"""The debugger: mends the change from what the sandbox saw, or from what the critic found."""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

from langchain_core.messages import BaseMessage
from langgraph.runtime import Runtime

from memory.records.budget import BudgetSpent
from nodes.dialogue.ask import DATA, EDIT_FORMAT, ask, fenced, messages, section, thread_of
from nodes.dialogue.edits import keep, write_edit
from nodes.dialogue.replies import Unusable, explanation
from nodes.dialogue.sections import (
    agents_section,
    changed_section,
    diff_section,
    files_section,
    given_section,
    lessons_section,
    plan_section,
)
from nodes.events import ErrorReported
from nodes.llm.models import Call, Models
from nodes.proof import Proof
from nodes.publish import publisher
from nodes.state import Mend, Options, State
from tools.workspace import Workspace

SYSTEM = f"""\
You are the debugger. A change to a git repository was run in a sandbox, or reviewed, and is not right
yet. Mend it.

{EDIT_FORMAT}

- Find the cause first; say it in one or two sentences before the blocks. Change as little as mends it.
- What must hold is the task. If the code is wrong, mend the code. Mend a new test only when it demands
  what the task does not; never delete, skip or weaken a test to make it pass: that is seen and counts as
  a failure.
- A test that passed before the change must pass again.

{DATA}"""

_PATHS = re.compile(r"(?<=/workspace/)[\w./-]+\.\w+|[\w./-]+\.\w+")
_ERROR = re.compile(r"^E +(.+)", re.MULTILINE)

LESSONS = 3
NAMED = 4
NAMED_TOKENS = 3_000
FOUND, FOUND_LENGTH, HOW_LENGTH = 4, 240, 600
"""How much of a repair is kept for memory: faults, and characters of each and of its explanation."""


@dataclass(frozen=True)
class Debugger:
    """Asks for a repair of the head; an unusable answer costs the round and changes nothing."""

    models: Models

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return the repaired head and the round's count."""
        reviewed = state["verdict"] is not None and state["verdict"]["verdict"] == "FAIL"
        rounds = state["review_rounds"] if reviewed else state["debug_rounds"]
        step = f"review-{rounds + 1}" if reviewed else f"debug-{rounds + 1}"
        counted: State = {"review_rounds": rounds + 1} if reviewed else {"debug_rounds": rounds + 1}
        counted["verdict"] = None
        publish = publisher(runtime.stream_writer, "debugger", step)
        workspace = await asyncio.to_thread(Workspace.open, Path(state["repo"]))
        head = state["head"]
        call = Call(run=state["run"], agent="debugger", step=step, ordinal=0)
        options = Options.model_validate(state["options"])
        try:
            prompt = await asyncio.to_thread(self._prompt, workspace, state)
            edit, how = await ask(
                self.models,
                call,
                prompt,
                lambda text: (write_edit(workspace, head, text, step), explanation(text)),
                options,
                publish,
            )
        except BudgetSpent as spent:
            return {"stops": [{"kind": "budget", "reason": str(spent)}]}
        except Unusable as error:
            publish(ErrorReported(message=f"the debugger's answer could not be used: {error}", kind="step"))
            return counted
        await asyncio.to_thread(keep, workspace, edit, thread_of(runtime), step, publish)
        touched = [change.path for change in workspace.changes(head, edit.snapshot)]
        mend = Mend(found=_found(state, reviewed), how=how[:HOW_LENGTH], files=touched)
        repairs = [*state["repairs"], edit.digest]
        return counted | {
            "head": edit.snapshot,
            "repairs": repairs,
            "mends": [*state.get("mends", []), mend],
        }

    def _prompt(self, workspace: Workspace, state: State) -> list[BaseMessage]:
        base, head = state["base"], state["head"]
        proof = Proof.model_validate(state["check"])
        output = "\n\n".join(f"{failure.id}\n{fenced(failure.text)}" for failure in proof.failures)
        changed = {change.path for change in workspace.changes(base, head)}
        files = workspace.files(head).keys() - changed
        named = [path for path in dict.fromkeys(_PATHS.findall(output)) if path in files]
        verdict = state["verdict"]
        reasons = verdict["reasons"] if verdict and verdict["verdict"] == "FAIL" else []
        failed = [f"{r['step_id']}: {r['error']}" for r in state["results"] if "error" in r]
        sections = [
            agents_section(workspace, head),
            given_section(workspace, head, state["context_files"]),
            lessons_section(state.get("lessons", [])[:LESSONS]),
            plan_section(state["plan"]),
            section("The task", state["task"]),
            changed_section("The changed files as they are now", workspace, base, head),
            files_section("Files that the output names", workspace, head, named[:NAMED], NAMED_TOKENS),
            diff_section(workspace, base, head),
            section("Steps that failed", "\n".join(failed)),
            section("What the sandbox found", "\n".join(f"- {problem}" for problem in proof.problems)),
            section("Output of the failing cases", output),
            section("What the critic wants mended", "\n".join(f"- {reason}" for reason in reasons)),
        ]
        return messages(SYSTEM, sections, state["task"].strip().splitlines()[0])


def _found(state: State, reviewed: bool) -> list[str]:
    """What a repair is for, in short: the critic's reasons, or each fault with its error."""
    verdict, proof = state["verdict"], Proof.model_validate(state["check"])
    if reviewed and verdict:
        return [f"the critic: {reason}"[:FOUND_LENGTH] for reason in verdict["reasons"][:FOUND]]
    errors = {failure.id: _ERROR.findall(failure.text) for failure in proof.failures}
    cases = [f"{case}: {lines[0]}" for case, lines in errors.items() if lines]
    rest = [problem for problem in proof.problems if not any(case in problem for case in errors)]
    return [" ".join(fault.split())[:FOUND_LENGTH] for fault in [*cases, *rest][:FOUND]]
