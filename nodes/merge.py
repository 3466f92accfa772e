"""The merge joins the edits of parallel steps into the run's new head."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from langgraph.runtime import Runtime

from nodes.dialogue.prompts import fenced
from nodes.dialogue.sections import cut
from nodes.repository import thread_of
from nodes.state import Conflict, State, latest
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
    """Merges the pending steps' snapshots three-way, in plan order, in the object database."""

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return the new head, and the steps whose edits did not merge."""
        head, conflicts = await asyncio.to_thread(self._merge, state, thread_of(runtime))
        waiting = [conflict for conflict in state["conflicts"] if conflict["step_id"] not in state["pending"]]
        return {"head": head, "conflicts": waiting + conflicts, "pending": []}

    def _merge(self, state: State, thread: str) -> tuple[str, list[Conflict]]:
        workspace, head = Workspace.open(Path(state["repo"])), state["head"]
        results, conflicts = latest(state["results"]), list[Conflict]()
        for result in (results[step_id] for step_id in state["pending"]):
            if "blocked" in result:
                text = BLOCKED.format(reason=fenced(result["blocked"]))
                conflicts.append(Conflict(step_id=result["step_id"], text=text))
            if "snapshot" not in result:
                continue
            merged = workspace.merge(result["base"], head, result["snapshot"], f"merge {result['step_id']}")
            if merged.snapshot is None:
                text = "\n\n".join(f"### {conflict.path}\n{conflict.text}" for conflict in merged.conflicts)
                text = CONFLICT.format(text=cut(text, CONFLICT_TOKENS))
                conflicts.append(Conflict(step_id=result["step_id"], text=text))
            else:
                head = merged.snapshot
                workspace.hold(thread, result["step_id"], head)  # else git's garbage collection takes it
        return head, conflicts
