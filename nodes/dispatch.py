"""Dispatch chooses the steps that run next, and sends each to a coder."""

from dataclasses import dataclass

from langgraph.runtime import Runtime
from langgraph.types import Send

from memory.search.recollection import Recollection
from nodes.publish import publisher
from nodes.recall import search_steps
from nodes.state import BranchInput, Plan, State, Step, StepResult, latest, options_of


@dataclass(frozen=True)
class Dispatch:
    """Chooses the next group's steps, or one step whose edit conflicted."""

    memory: Recollection | None = None

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return the pending steps, and what memory has for each."""
        chosen = self._choose(state)
        # Memory changes with time, so it is searched here once, and not in branches, which may run again.
        places = await search_steps(
            self.memory,
            state,
            chosen["pending"],
            lambda step: publisher(runtime.stream_writer, "dispatch", step),
        )
        return chosen | {"step_places": places}

    def _choose(self, state: State) -> State:
        """Return the next steps. A step that names a failed step's file fails as well."""
        plan = _plan(state)
        if state["conflicts"]:
            return {
                "pending": [state["conflicts"][0]["step_id"]]
            }  # alone, so that nothing can conflict with it
        batches = _batches(plan, options_of(state).parallel)
        skipped: list[StepResult] = []
        for number in range(state["group"] + 1, len(batches)):
            blocked = _blocked(plan, [*state["results"], *skipped])
            ready = [step for step in batches[number] if step.get("file") not in blocked]
            skipped += [_skip(step, state["head"], blocked) for step in batches[number] if step not in ready]
            if ready:
                return {"group": number, "pending": [step["id"] for step in ready], "results": skipped}
        return {"group": len(batches), "pending": [], "results": skipped}


def branches(state: State) -> list[Send] | str:
    """Route to one coder per pending step, or after the last group to the tester."""
    plan = _plan(state)
    conflicts = {conflict["step_id"]: conflict["text"] for conflict in state["conflicts"]}
    if not state["pending"]:
        return "commit" if state["head"] == state["base"] else "tester"
    return [
        Send(
            "coder",
            BranchInput(
                task=state["task"],
                repo=state["repo"],
                run=state["run"],
                head=state["head"],
                options=state["options"],
                context_files=state["context_files"],
                plan=plan,
                step=step,
                conflict=conflicts.get(step["id"], ""),
                lessons=state.get("lessons", []),
                places=state.get("step_places", {}).get(step["id"], []),
            ),
        )
        for step in plan["steps"]
        if step["id"] in state["pending"]
    ]


def _plan(state: State) -> Plan:
    plan = state["plan"]
    if plan is None:
        raise ValueError("dispatch runs after the planner")
    return plan


def _batches(plan: Plan, parallel: bool) -> list[list[Step]]:
    if not parallel:
        return [[step] for step in plan["steps"]]
    groups = sorted({step["group"] for step in plan["steps"]})
    return [[step for step in plan["steps"] if step["group"] == group] for group in groups]


def _blocked(plan: Plan, results: list[StepResult]) -> dict[str | None, str]:
    """Return the files of failed steps, with the step that failed."""
    files = {step["id"]: step.get("file") for step in plan["steps"]}
    return {files[i]: i for i, result in latest(results).items() if "error" in result and files.get(i)}


def _skip(step: Step, head: str, blocked: dict[str | None, str]) -> StepResult:
    failed = blocked[step.get("file")]
    return StepResult(
        step_id=step["id"], base=head, error=f"not run: step {failed}, which failed, names the same file"
    )
