"""The merge joins the edits of parallel steps into the run's new head."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from langgraph.runtime import Runtime

from nodes.dialogue.excerpts import cut_tokens
from nodes.dialogue.prompts import fenced
from nodes.events import ErrorReported
from nodes.planning.rest import as_failed, is_tool, may_replan, refused_steps
from nodes.publish import publisher
from nodes.repository import thread_of
from nodes.state import Conflict, State, StepResult, latest
from tools.workspace import Workspace

CONFLICT_TOKENS = 8_000

CONFLICT = """\
Your first edit of this step did not merge with the other coders' work, which is now in the files above.
Do the step again on these files, so that both purposes hold. This is where the edits met:
{text}"""

BLOCKED = """\
You answered that another step must come first:
{reason}
The other coders' work is now in the files above. Do the step on them."""


@dataclass(frozen=True)
class Merge:
    """Merges the pending steps' snapshots three-way, in plan order, in the object database.

    A refused step is done again if others' work came in. If it is refused again, or a tool fails, the planner
    makes another plan, once in a run. Then the step fails.
    """

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return the new head, the steps that are done again, and those that the planner is asked about."""
        head, conflicts, refused = await asyncio.to_thread(self._merge, state, thread_of(runtime))
        waiting = [conflict for conflict in state["conflicts"] if conflict["step_id"] not in state["pending"]]
        failures = [] if may_replan(state) else [as_failed(result) for result in refused]
        for result in refused:
            # The step's own row is over. A plan for the rest is told in a row of the merge.
            step_id = result["step_id"] if failures else None
            publisher(runtime.stream_writer, "merge", step_id)(_told(result, bool(failures)))
        merged: State = {"head": head, "conflicts": waiting + conflicts, "pending": [], "results": failures}
        if may_replan(state) and not merged["conflicts"]:  # what can still be done comes first
            merged["blocked"] = refused_steps(state)
        return merged

    def _merge(self, state: State, thread: str) -> tuple[str, list[Conflict], list[StepResult]]:
        """Return the head, the steps to do again, and the results of those that are refused for good."""
        workspace, head = Workspace.open(Path(state["repo"])), state["head"]
        results, conflicts, blocked = latest(state["results"]), list[Conflict](), list[StepResult]()
        for result in (results[step_id] for step_id in state["pending"]):
            if "blocked" in result:
                blocked.append(result)
            if "snapshot" not in result:
                continue
            merged = workspace.merge(result["base"], head, result["snapshot"], f"merge {result['step_id']}")
            if merged.snapshot is None:
                text = "\n\n".join(f"### {conflict.path}\n{conflict.text}" for conflict in merged.conflicts)
                text = CONFLICT.format(text=cut_tokens(text, CONFLICT_TOKENS))
                conflicts.append(Conflict(step_id=result["step_id"], text=text))
            else:
                head = merged.snapshot
                workspace.hold(thread, result["step_id"], head)  # else git's garbage collection takes it
        # Without others' work the files are as they were, and the coder would refuse its step again.
        again = {conflict["step_id"] for conflict in state["conflicts"]}
        refused = [
            result
            for result in blocked
            if not result.get("again")
            and (is_tool(result) or result["step_id"] in again or result["base"] == head)
        ]
        for result in blocked:
            if result not in refused:
                text = BLOCKED.format(reason=fenced(result["blocked"]))
                conflicts.append(Conflict(step_id=result["step_id"], text=text))
        return head, conflicts, refused


def _told(result: StepResult, fails: bool) -> ErrorReported:
    """Return the event that tells the user of a refused step."""
    if fails:
        message = f"step {result['step_id']} failed: {as_failed(result)['error']}"
        return ErrorReported(message=message, kind="step")
    what = "failed" if is_tool(result) else "was refused"
    message = f"step {result['step_id']} {what}, and the planner makes another plan: {result['blocked']}"
    return ErrorReported(message=message, kind="warning")
