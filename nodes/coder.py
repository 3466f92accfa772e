"""The coder: one step of the plan becomes an edit, stored as a snapshot on the group's base."""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

from langchain_core.messages import BaseMessage
from langgraph.runtime import Runtime

from memory.records.budget import BudgetSpent
from nodes.dialogue.ask import DATA, EDIT_FORMAT, ask, messages, section, thread_of
from nodes.dialogue.edits import Edit, keep, write_edit
from nodes.dialogue.replies import Unusable, parse_edits
from nodes.dialogue.sections import (
    agents_section,
    files_section,
    given_section,
    lessons_section,
    map_section,
    places_section,
    plan_section,
)
from nodes.events import ErrorReported
from nodes.llm.model_settings import ModelError
from nodes.llm.models import Call, Models
from nodes.publish import publisher
from nodes.state import BranchInput, Options, State, Step, StepResult
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
"""How many earlier tasks a coder is shown: the planner has read them all."""

_NO_CHANGE = re.compile(r"^\W*NO[ _-]?CHANGES?\b\W*\S", re.MULTILINE)

CONFLICT = """\
Your first edit of this step did not merge with the other coders' work, which is now in the files above.
Do the step again on these files, so that both purposes hold. This is where the edits met:
{text}"""


@dataclass(frozen=True)
class Coder:
    """One branch: reads its step's file and context, asks, applies; a step that fails is data, not an end."""

    models: Models

    async def __call__(self, state: BranchInput, runtime: Runtime[None]) -> State:
        """Return the step's result: a snapshot built on `head`, or the reason why there is none."""
        step = state["step"]
        publish = publisher(runtime.stream_writer, "coder", step["id"])
        result = StepResult(step_id=step["id"], base=state["head"])
        call = Call(run=state["run"], agent="coder", step=step["id"], ordinal=2 if state["conflict"] else 0)
        workspace = await asyncio.to_thread(Workspace.open, Path(state["repo"]))
        try:
            prompt = await asyncio.to_thread(self._prompt, workspace, state)
            edit = await ask(
                self.models,
                call,
                prompt,
                lambda text: _read(workspace, state["head"], step, text),
                Options.model_validate(state["options"]),
                publish,
            )
        except BudgetSpent as spent:
            return {
                "results": [result | {"error": str(spent)}],
                "stops": [{"kind": "budget", "reason": str(spent)}],
            }
        except (Unusable, ModelError) as error:
            publish(ErrorReported(message=f"step {step['id']} failed: {error}", kind="step"))
            return {"results": [result | {"error": str(error)}]}
        if edit.snapshot != edit.base:
            await asyncio.to_thread(keep, workspace, edit, thread_of(runtime), f"{step['id']}-edit", publish)
        return {"results": [result | {"snapshot": edit.snapshot}]}

    def _prompt(self, workspace: Workspace, branch: BranchInput) -> list[BaseMessage]:
        step, head = branch["step"], branch["head"]
        conflict = CONFLICT.format(text=branch["conflict"]) if branch["conflict"] else ""
        sections = [
            agents_section(workspace, head),
            map_section(workspace, head, f"{step['description']} {branch['task']}"),
            places_section(branch.get("places", [])),
            given_section(workspace, head, branch["context_files"]),
            lessons_section(branch.get("lessons", [])[:LESSONS]),
            section("The whole task, for your orientation", branch["task"]),
            plan_section(branch["plan"]),
            files_section("The file of your step", workspace, head, [step["file"]] if "file" in step else []),
            section("Conflict", conflict),
        ]
        return messages(SYSTEM, sections, step["description"])


def _read(workspace: Workspace, head: str, step: Step, text: str) -> Edit:
    """The step's edit; none where the coder says that there is nothing to change."""
    if not parse_edits(text).any and _NO_CHANGE.search(text):
        return Edit(head, head, digest="")
    return write_edit(workspace, head, text, f"coder {step['id']}", step.get("file"))
