"""The debugger repairs the change, after a red check or a verdict of FAIL."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.messages import BaseMessage
from langgraph.runtime import Runtime

from memory.calls.budget import BudgetSpent
from nodes.agent.agents import Agents
from nodes.agent.conversation import Conversation
from nodes.agent.suite_command import commands_near
from nodes.check.runners.test_names import shown_case
from nodes.dialogue import sections
from nodes.dialogue.diffs import failing_lines
from nodes.dialogue.edits import REMARK_LENGTH, Edit, finish_edit
from nodes.dialogue.prompts import (
    DATA,
    EDIT_FORMAT,
    TASK,
    fenced,
    messages,
    section,
    task_line,
    task_section,
    user_message,
    with_tools,
)
from nodes.dialogue.replies import Unusable, explanation, no_edit_reason
from nodes.dialogue.results import failing_on_both
from nodes.dialogue.turns import earlier
from nodes.events import ErrorReported
from nodes.proof import Failure, Proof
from nodes.repository import open_workspace
from nodes.state import Repair, State
from tools.workspace import Workspace

SYSTEM = f"""\
You are the debugger. A change to a git repository was run in a sandbox, or reviewed, and is not right
yet. Mend it. {TASK}

{EDIT_FORMAT}

- Find the cause first; say it in one or two sentences before the blocks. Change as little as mends it.
- What must hold is the task. If the code is wrong, mend the code. Mend a new test only when it demands
  what the task does not; never delete, skip or weaken a test to make it pass: that is seen and counts as
  a failure.
- A test that passed before the change must pass again. Only where it expects the very opposite of what the
  task says, change that expectation to what the task says, and nothing else of it.
- Mend only what the change has caused. If nothing of it can be the change's fault (a missing package, a
  limit of the sandbox, a fault that the base has as well), write no block and answer with one line:
  NOT THE CHANGE: the reason

{DATA}"""

STILL_RED = """\
Your last answer was carried out, and the change was run again. It is not right yet. Find out why, and
mend it."""

REVIEWED = """\
Your last answer was carried out. The check is green now, but the critic has reviewed the change and wants
more mended."""

OTHERS = "What others have changed since your last answer"

_ERROR = re.compile(r"^E +(.+)", re.MULTILINE)

LESSONS = 3
NAMED = 4
NAMED_TOKENS = 400
SHOWN = 30
FAULTS, FAULT_LENGTH = 4, 240
"""Limits on a repair in memory: faults, and characters of each."""


@dataclass(frozen=True)
class Debugger:
    """Asks for a repair of the head. An unusable reply costs the round and changes nothing."""

    agents: Agents

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return the repaired head and the number of rounds."""
        reviewed = state["verdict"] is not None and state["verdict"]["verdict"] == "FAIL"
        rounds = state["review_rounds"] if reviewed else state["debug_rounds"]
        step = f"review-{rounds + 1}" if reviewed else f"debug-{rounds + 1}"
        counted: State = {"review_rounds": rounds + 1} if reviewed else {"debug_rounds": rounds + 1}
        counted["verdict"] = None  # it was on a tree that the repair replaces
        workspace, head = await open_workspace(state), state["head"]
        asking = self.agents.conversation(
            runtime, state, "debugger", step, workspace, head, earlier=state.get("debugging")
        )
        async with asking as conversation:
            return await self._mend(conversation, workspace, state, counted)

    async def _mend(
        self, conversation: Conversation, workspace: Workspace, state: State, counted: State
    ) -> State:
        head, step, reviewed = state["head"], conversation.step, "review_rounds" in counted
        try:
            edit, how = await conversation.ask(
                lambda: _prompt(workspace, state, conversation),
                lambda text: _read(workspace, head, conversation.snapshot, text, step),
            )
        except BudgetSpent as spent:
            return {"stops": [{"kind": "budget", "reason": str(spent)}]}
        except Unusable as error:
            message = f"the debugger's reply could not be used: {error.fault}"
            conversation.publish(ErrorReported(message=message, kind="step"))
            return counted
        if edit is None:  # the verdict stands, because nothing was repaired
            conversation.publish(ErrorReported(message=f"not the change: {how}", kind="warning"))
            return counted | {"verdict": state["verdict"], "not_the_change": how}
        await conversation.hold(workspace, edit)
        touched = [change.path for change in workspace.changes(head, edit.snapshot)]
        repair = Repair(found=_faults(state, reviewed), how=how[:REMARK_LENGTH], files=touched)
        return counted | {
            "head": edit.snapshot,
            "repairs": [*state["repairs"], edit.digest],  # the check notices a repeated repair
            "mends": [*state.get("mends", []), repair],
            "debugging": conversation.ended(edit.snapshot),
        }


def _prompt(workspace: Workspace, state: State, conversation: Conversation) -> Sequence[BaseMessage]:
    """Return the first prompt, or what is new to a debugger that goes on with its last round."""
    earlier = conversation.begun
    return [_news(workspace, state, earlier)] if earlier else _first(workspace, state, conversation)


def _first(workspace: Workspace, state: State, conversation: Conversation) -> Sequence[BaseMessage]:
    base, head, tools = state["base"], state["head"], conversation.offers_tools
    changed = {change.path for change in workspace.changes(base, head)}
    proof = Proof.model_validate(state["check"])
    change = sections.change(workspace, base, head, "The change so far", tools)
    named = failing_lines(_output(proof), workspace.files(head).keys(), change)
    parts = [
        sections.agents_md(workspace, head, changed),
        sections.context(workspace, head, state["context_files"]),
        sections.lessons(state.get("lessons", [])[:LESSONS]),
        earlier(state.get("turns", []), conversation.room, brief=True),
        sections.plan(state["plan"], task=state["task"]),
        sections.refusals(state.get("refusals") or []),
        task_section(state["task"]),
        commands_near(workspace, base, head, changed) if tools else "",
        change,
        sections.files("Files that the output names", workspace, head, [*named][:NAMED], NAMED_TOKENS, named),
        sections.failed_steps(state["results"]),
        sections.remarks(state["results"], state.get("tester_remark", "")),
        sections.earlier_repairs(state.get("mends", [])),
        *_findings(state, _on_the_base(proof)),
    ]
    return messages(with_tools(SYSTEM, tools), parts, task_line(state["task"]))


def _news(workspace: Workspace, state: State, earlier: Sequence[BaseMessage]) -> BaseMessage:
    """Return what has happened since the debugger's last answer."""
    verdict, before, head = state["verdict"], state.get("debugging"), state["head"]
    told = {line for message in earlier for line in str(message.text).splitlines()}
    not_yours = [line for line in _on_the_base(Proof.model_validate(state["check"])) if line not in told]
    others = before and workspace.tree(before["head"]) != workspace.tree(head)
    parts = [
        REVIEWED if verdict and verdict["verdict"] == "FAIL" else STILL_RED,
        sections.diff(workspace, before["head"], head, OTHERS) if before and others else "",
        *_findings(state, not_yours),
    ]
    return user_message(parts)


def _findings(state: State, not_yours: Sequence[str]) -> list[str]:
    """Return the sections on what is to be mended."""
    proof, verdict = Proof.model_validate(state["check"]), state["verdict"]
    reasons = verdict["reasons"] if verdict and verdict["verdict"] == "FAIL" else []
    return [
        section("What the sandbox found", "\n".join(f"- {problem}" for problem in proof.problems)),
        section("Output of the failing cases", _output(proof)),
        section("What the base shows as well", "\n".join(not_yours)),
        section("What the critic wants mended", "\n".join(f"- {reason}" for reason in reasons)),
    ]


def _output(proof: Proof) -> str:
    """Return the output of the failing cases. Those that fail as another one of their function are named."""
    alike = dict[tuple[str, ...], list[Failure]]()
    for failure in proof.failures:
        function = failure.id.partition("[")[0]
        alike.setdefault((function, *_ERROR.findall(failure.text)), []).append(failure)
    return "\n\n".join(
        "\n".join(
            [
                shown_case(first.id),
                fenced(first.text),
                *(f"{shown_case(other.id)} fails in the same way" for other in others),
            ]
        )
        for first, *others in alike.values()
    )


def _read(workspace: Workspace, head: str, worked: str, text: str, step: str) -> tuple[Edit | None, str]:
    """Return the repair and its explanation, or the reason why the change needs none."""
    if reason := no_edit_reason(text, "NOT THE CHANGE"):
        return None, reason.strip(" *_`")
    return finish_edit(workspace, head, worked, text, step), explanation(text)


def _on_the_base(proof: Proof) -> list[str]:
    """Return the failures that are not the change's, by name."""
    both = [shown_case(case.id) for case in failing_on_both(proof)[:SHOWN]]
    cases = [f"- {case} fails on the base as well: not yours" for case in both]
    return cases + [
        f"- {module.file} cannot be imported on the base as well ({module.reason}): not yours"
        for module in proof.uncollected[:SHOWN]
    ]


def _faults(state: State, reviewed: bool) -> list[str]:
    """Return the faults to repair: the critic's reasons, or each failing case with its error."""
    verdict, proof = state["verdict"], Proof.model_validate(state["check"])
    if reviewed and verdict:
        return [f"the critic: {reason}"[:FAULT_LENGTH] for reason in verdict["reasons"][:FAULTS]]
    errors = {shown_case(failure.id): _ERROR.findall(failure.text) for failure in proof.failures}
    cases = [f"{case}: {lines[0]}" for case, lines in errors.items() if lines]
    rest = [problem for problem in proof.problems if not any(case in problem for case in errors)]
    return [" ".join(fault.split())[:FAULT_LENGTH] for fault in [*cases, *rest][:FAULTS]]
