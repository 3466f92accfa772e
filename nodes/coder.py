"""The coder carries out one step of the plan as an edit, stored as a snapshot on the group's base."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from langchain_core.messages import BaseMessage
from langgraph.runtime import Runtime

from memory.records.budget import BudgetSpent
from nodes.dialogue import sections
from nodes.dialogue.conversation import Conversation, open_workspace
from nodes.dialogue.edits import Edit, write_edit
from nodes.dialogue.prompts import DATA, EDIT_FORMAT, messages, section
from nodes.dialogue.replies import Unusable, no_edit_reason
from nodes.events import ErrorReported
from nodes.llm.model_settings import ModelError
from nodes.llm.models import Models
from nodes.state import BranchInput, State, Step, StepResult, Stop
from tools.workspace import Workspace

SYSTEM = f"""\
You are a coder. You carry out one step of a plan in a git repository, completely, and nothing beyond it.

{EDIT_FORMAT}

- Write code that fits in: the repository's own style, names, layout and error handling; no placeholder,
  no TODO.
- Change as few lines as the step needs. Other coders work on the plan's other steps at the same time:
  keep to yours.
- Only if the files already are as the step wants them, write no block and answer with one line:
  NO CHANGE: the reason
- Write no tests; a tester does that next. Nothing can be installed: use what the repository already uses.

{DATA}"""

LESSONS = 2
"""Earlier tasks in a prompt. The planner has read them all, so a coder needs few."""

CONFLICT = """\
Your first edit of this step did not merge with the other coders' work, which is now in the files above.
Do the step again on these files, so that both purposes hold. This is where the edits met:
{text}"""


AFTER_CONFLICT = 2
"""Ordinal of the call after a conflict. 0 and 1 are the first call and its repair."""


@dataclass
class Siblings:
    """The branches at work, by their runs. An error in one cancels the others of its group."""

    _working: Counter[str] = field(default_factory=Counter)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def join(self, run: str) -> AsyncIterator[None]:
        """Count a branch as working. The failure of its provider is raised once no other branch works."""
        failure: ModelError | None = None
        self._working[run] += 1
        try:
            yield
        except ModelError as error:
            failure = error
        finally:
            self._working[run] -= 1
            if not self._working[run]:
                del self._working[run]
            self._ended.set()
            self._ended = asyncio.Event()
        if failure:
            while self._working[run]:
                await self._ended.wait()
            raise failure


@dataclass(frozen=True)
class Coder:
    """One branch of a group. A step that fails becomes a result, because an error would end its siblings.

    The failure of a provider is raised, so that the run parks, and a resume repeats this branch alone.
    """

    models: Models
    siblings: Siblings = field(default_factory=Siblings)

    async def __call__(self, state: BranchInput, runtime: Runtime[None]) -> State:
        """Return the step's result: a snapshot built on `head`, or an error. Raises ModelError."""
        async with self.siblings.join(state["run"]):
            return await self._carry_out(state, runtime)

    async def _carry_out(self, state: BranchInput, runtime: Runtime[None]) -> State:
        step, head = state["step"], state["head"]
        conversation = Conversation(self.models, runtime, state, "coder", step["id"])
        result = StepResult(step_id=step["id"], base=head)
        workspace = await open_workspace(state)
        try:
            edit = await conversation.ask(
                lambda: self._prompt(workspace, state),
                lambda text: _read(workspace, head, step, text),
                ordinal=AFTER_CONFLICT if state["conflict"] else 0,
            )
        except BudgetSpent as spent:
            stop = Stop(kind="budget", reason=str(spent))
            return {"results": [result | {"error": str(spent)}], "stops": [stop]}
        except Unusable as error:  # later groups go on without this step
            conversation.publish(ErrorReported(message=f"step {step['id']} failed: {error}", kind="step"))
            return {"results": [result | {"error": str(error)}]}
        if edit.snapshot != edit.base:
            await conversation.hold(workspace, edit, f"{step['id']}-edit")  # the merge takes the step's name
        return {"results": [result | {"snapshot": edit.snapshot}]}

    def _prompt(self, workspace: Workspace, branch: BranchInput) -> list[BaseMessage]:
        step, head = branch["step"], branch["head"]
        step_files = [step["file"]] if "file" in step else []
        conflict = CONFLICT.format(text=branch["conflict"]) if branch["conflict"] else ""
        parts = [
            sections.agents_md(workspace, head),
            sections.outline(workspace, head, f"{step['description']} {branch['task']}"),
            sections.places(branch.get("places", [])),
            sections.context(workspace, head, branch["context_files"]),
            sections.lessons(branch.get("lessons", [])[:LESSONS]),
            section("The whole task, for your orientation", branch["task"]),
            sections.plan(branch["plan"]),
            sections.files("The file of your step", workspace, head, step_files),
            section("Conflict", conflict),
        ]
        return messages(SYSTEM, parts, step["description"])


def _read(workspace: Workspace, head: str, step: Step, text: str) -> Edit:
    """Return the step's edit, an empty one if the coder says that there is nothing to change."""
    if no_edit_reason(text, "NO CHANGE"):
        return Edit(head, head, digest="")
    return write_edit(workspace, head, text, f"coder {step['id']}", step.get("file"))
