"""Dispatch chooses the steps that run next, and sends each to a coder or a tool."""

from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from langgraph.runtime import Runtime
from langgraph.types import Send

from memory.search.recollection import Recollection
from nodes.recall import search_steps
from nodes.state import State, Step, StepResult, files_of, latest, open_steps, options_of, steps_of

SHARED_KEYS = {
    "task", "repo", "run", "base", "head", "options", "context_files", "plan", "lessons",
    "results", "without_environment", "turns", "plan_is_given", "refusals",
}  # fmt: skip
"""The parts of the state that every branch gets."""


@dataclass(frozen=True)
class Dispatch:
    """Chooses the next group's steps, or one step whose edit conflicted."""

    memory: Recollection | None = None

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return the pending steps, and what memory has for each."""
        chosen = self._choose(state)
        # Memory changes with time, so it is searched here once, and not in branches, which may run again.
        coding = [s["id"] for s in steps_of(state["plan"]) if s["agent"] != "tool"]
        wanted = [id for id in chosen["pending"] if id in coding]
        places = await search_steps(self.memory, state, wanted, runtime)
        return chosen | {"step_places": places}

    def _choose(self, state: State) -> State:
        """Return the next steps. A step that names a failed step's file fails as well."""
        if conflicts := state["conflicts"]:  # one alone, so that nothing can conflict with it
            return {"pending": [conflicts[0]["step_id"]]}
        steps, results = steps_of(state["plan"]), latest(state["results"]).values()
        key = "group" if options_of(state).parallel else "id"
        skipped: list[StepResult] = []
        for _, batch in groupby(open_steps(state), itemgetter(key)):  # plans are sorted by group
            failed, ready = _failed_files(steps, [*results, *skipped]), list[str]()
            for step in batch:
                # A file that another step failed to write must not be read as if it were done.
                named = [*files_of(step), *step.get("context_files", [])]
                if cause := next((failed[file] for file in named if file in failed), ""):
                    error = f"not run: step {cause}, which failed, names the same file"
                    skipped.append(StepResult(step_id=step["id"], base=state["head"], error=error))
                else:
                    ready.append(step["id"])
            if ready:
                return {"pending": ready, "results": skipped}
        return {"pending": [], "results": skipped}


def branches(state: State) -> list[Send] | str:
    """Route to one coder or tool per pending step, or after the last group to the tester."""
    conflicts = {conflict["step_id"]: conflict["text"] for conflict in state["conflicts"]}
    if not state["pending"]:
        return "commit" if state["head"] == state["base"] else "tester"
    shared = {key: value for key, value in state.items() if key in SHARED_KEYS}
    if not state.get("plan_is_given"):  # the planner has read them
        shared.pop("lessons", None)
    places = state.get("step_places", {})
    sends = []
    for step in steps_of(state["plan"]):
        if (id := step["id"]) in state["pending"]:
            own = {"step": step, "conflict": conflicts.get(id, ""), "places": places.get(id, [])}
            # A crash may lead to a further attempt, which must not take the result of the earlier one.
            attempt = sum(result["step_id"] == id for result in state["results"])
            node = "tool" if step["agent"] == "tool" else "coder"
            sends.append(Send(node, shared | own | {"attempt": attempt}))
    return sends


def _failed_files(steps: list[Step], results: list[StepResult]) -> dict[str, str]:
    """Return the files of failed steps, with the step that failed."""
    failed = {id for id, result in latest(results).items() if "error" in result}
    return {file: step["id"] for step in steps if step["id"] in failed for file in files_of(step)}
