"""The coder carries out one step of the plan as an edit, stored as a snapshot on the group's base."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from langchain_core.messages import BaseMessage
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from memory.calls.budget import BudgetSpent
from nodes.agent.agents import Agents
from nodes.agent.conversation import Conversation
from nodes.agent.siblings import Siblings
from nodes.agent.suite_command import commands_near
from nodes.check.runners.test_names import is_test_name
from nodes.dialogue import sections
from nodes.dialogue.edits import REMARK_LENGTH, Edit, finish_edit
from nodes.dialogue.excerpts import CHARS_A_TOKEN, TOP, named_places, symbols
from nodes.dialogue.nearby import near_tests
from nodes.dialogue.prompts import DATA, EDIT_FORMAT, messages, section, with_tools
from nodes.dialogue.replies import Unusable, no_edit_reason
from nodes.dialogue.turns import earlier
from nodes.events import ErrorReported
from nodes.planning.habits import is_changelog
from nodes.repository import open_workspace
from nodes.state import BranchInput, Place, State, Step, StepResult, Stop, files_of
from tools.outline import definitions
from tools.workspace import Workspace

SYSTEM = f"""\
You are a coder. You carry out one step of a plan in a git repository, completely, and nothing beyond it.
Where the step falls short of what the task demands of the code you change, do that too, and say so.

{EDIT_FORMAT}

- Write code that fits in: the repository's own style, names, layout and error handling; no placeholder,
  no TODO.
- Change as few lines as the step needs. Other coders work on the plan's other steps at the same time:
  keep to yours.
- Only if the files already are as the step wants them, write no block and answer with one line:
  NO CHANGE: the reason
- Only if the step cannot be done before another step of the plan is, write no block and answer with one
  line; you get the step again once the others' work is merged:
  BLOCKED: the reason
- Only if no change of files can do what the step wants, write no block and answer with one line, which the
  user reads:
  NOT THE CHANGE: the reason
- Write no tests; a tester does that next. Nothing can be installed: use what the repository already uses.

{DATA}"""

LESSONS = 1
"""Earlier tasks in a prompt. A coder gets them only if no planner has read them."""

TESTS, TEST_TOKENS = 1, 400
"""Files with tests near a step, and the tokens of each. A coder writes no tests, so it needs few."""


class WithoutEdit(TypedDict, total=False):
    """The part of a step's result that says why there is no edit."""

    blocked: str
    error: str


@dataclass(frozen=True)
class Coder:
    """One branch of a group. A step that fails becomes a result, because an error would end its siblings.

    The failure of a provider is raised, so that the run parks, and a resume repeats this branch alone.
    """

    agents: Agents
    siblings: Siblings = field(default_factory=Siblings)

    async def __call__(self, state: BranchInput, runtime: Runtime[None]) -> State:
        """Return the step's result: a snapshot built on `head`, or an error. Raises ModelError."""
        async with self.siblings.join(state["run"]):
            return await self._carry_out(state, runtime)

    async def _carry_out(self, state: BranchInput, runtime: Runtime[None]) -> State:
        step, workspace = state["step"], await open_workspace(state)
        about = (workspace, state["head"], files_of(step))
        async with self.agents.conversation(runtime, state, "coder", step["id"], *about) as conversation:
            return await self._answer(conversation, workspace, state)

    async def _answer(self, conversation: Conversation, workspace: Workspace, state: BranchInput) -> State:
        step, head = state["step"], state["head"]
        result = StepResult(step_id=step["id"], base=head)
        try:
            answer = await conversation.ask(
                lambda: self._prompt(workspace, state, conversation),
                lambda text: _read(workspace, head, conversation.snapshot, step, text),
                question=1 if state["conflict"] else 0,
            )
        except BudgetSpent as spent:
            stop = Stop(kind="budget", reason=str(spent))
            return {"results": [result | {"error": str(spent)}], "stops": [stop]}
        except Unusable as error:  # later groups go on without this step
            conversation.publish(
                ErrorReported(message=f"step {step['id']} failed: {error.fault}", kind="step")
            )
            return {"results": [result | {"error": error.fault}]}
        if not isinstance(answer, Edit):
            if "error" in answer:
                message = f"step {step['id']} failed: {answer['error']}"
                conversation.publish(ErrorReported(message=message, kind="step"))
            else:
                message = f"blocked: {answer['blocked']}"
                conversation.publish(ErrorReported(message=message, kind="warning"))
            return {"results": [{**result, **answer}]}
        if answer.snapshot != answer.base:
            await conversation.hold(workspace, answer, f"{step['id']}-edit")
        return {"results": [result | {"snapshot": answer.snapshot, "remark": answer.remark}]}

    def _prompt(
        self, workspace: Workspace, branch: BranchInput, conversation: Conversation
    ) -> list[BaseMessage]:
        step, head, tools = branch["step"], branch["head"], conversation.offers_tools
        step_files = files_of(step)
        to_read = [path for path in step.get("context_files", []) if path not in branch["context_files"]]
        query = f"{step['description']} {branch['task']}"
        seen = {path: workspace.text(head, path) or "" for path in (*step_files, *to_read)}
        known = definitions(seen)
        places = {
            path: [TOP] if is_changelog(path) else named_places(text, query, known[path])
            for path, text in seen.items()
        }
        task = branch["task"] if branch["task"].strip() != step["description"].strip() else ""
        file_tokens = sections.FIRST_TOKENS if tools else sections.FILE_TOKENS
        fixed = [
            sections.agents_md(workspace, head, step_files),
            commands_near(workspace, branch["base"], head, step_files) if tools else "",
            sections.context(workspace, head, branch["context_files"]),
            earlier(branch.get("turns", []), conversation.room, not branch.get("plan_is_given")),
            section("The whole task, for your orientation", task),
            sections.plan(branch["plan"], step["id"]),
            sections.refusals(branch.get("refusals") or []),
            sections.tool_outputs(branch["plan"], branch.get("results", [])),
            sections.files("Files to read for your step", workspace, head, to_read, file_tokens // 2, places),
            sections.files("The files of your step", workspace, head, step_files, file_tokens, places),
            section("Do the step again", branch["conflict"]),
        ]
        defined = {part for each in chain(*known.values()) for part in each.symbol.split(".")}
        named = [name for name in symbols(query) if name in defined or not defined]
        around = self._around(workspace, branch, query, named, seen, tools)
        return messages(with_tools(SYSTEM, tools), [*around, *fixed], step["description"])

    def _around(
        self,
        workspace: Workspace,
        branch: BranchInput,
        query: str,
        named: Sequence[str],
        seen: Mapping[str, str],
        tools: bool,
    ) -> list[str]:
        """Return what may help beside the files in `seen`, the best first. `named` are their symbols."""
        step, head = branch["step"], branch["head"]
        known = any(seen.values())  # a map is for those who have to find a place first
        names = symbols(query)
        places = [
            place
            for place in branch.get("places", [])
            if place["path"] not in seen and (not known or _is_about(place, names))
        ]
        lessons = sections.lessons(branch.get("lessons", [])[:LESSONS])
        if not tools:
            return [sections.outline(workspace, head, query), sections.places(places), lessons]
        tests = [path for path in sorted(workspace.files(head)) if is_test_name(path) and path not in seen]
        found = near_tests(workspace, head, tests, named, files_of(step), TESTS, query)
        near = {path: lines for path, lines in found.items() if lines}
        whole = {path for path, text in seen.items() if len(text) <= sections.FIRST_TOKENS * CHARS_A_TOKEN}
        long = [path for path in seen if path not in whole and path not in branch["context_files"]]
        return [
            sections.files("Tests near your step", workspace, head, near, TEST_TOKENS, near),
            sections.outlined(workspace, head, long) if known else "",
            sections.places(places),
            lessons,
            "" if known else sections.outline(workspace, head, query, sections.FIRST_MAP_TOKENS),
        ]


def _is_about(place: Place, names: Sequence[str]) -> bool:
    """Return whether a place outside the step's files shows code that the step names."""
    here = {*re.findall(r"\w+", f"{place['symbol']} {place['text']}")}
    return not is_test_name(place["path"]) and not here.isdisjoint(names)


def _read(workspace: Workspace, head: str, worked: str, step: Step, text: str) -> Edit | WithoutEdit:
    """Return the step's edit, an empty one if there is nothing to change, or why there is none."""
    if reason := no_edit_reason(text, "BLOCKED"):
        return {"blocked": reason}
    if reason := no_edit_reason(text, "NOT THE CHANGE"):
        return {"error": f"no change of the files can do it: {reason}"}
    if reason := no_edit_reason(text, "NO CHANGE"):
        return Edit(head, head, digest="", remark=reason[:REMARK_LENGTH])
    files = files_of(step)
    only = files[0] if len(files) == 1 else None  # a block without a path can only mean that one
    return finish_edit(workspace, head, worked, text, f"coder {step['id']}", only)
