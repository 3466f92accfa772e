"""Dispatch and merge: which steps run next, and how their edits become the run's new head."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from langgraph.runtime import Runtime
from langgraph.types import Send

from memory.search.recollection import Recollection
from nodes.dialogue.ask import thread_of
from nodes.dialogue.sections import cut
from nodes.publish import publisher
from nodes.recall import search_steps
from nodes.state import BranchInput, Conflict, Options, Plan, State, Step, StepResult, latest
from tools.workspace import FileConflict, Workspace


@dataclass(frozen=True)
class Dispatch:
    """Chooses the steps to run now: a step whose edit conflicted, alone, else the next group's."""

    memory: Recollection | None = None

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Set `pending` and what memory has for it; runs alone, and so may look at what changes with time."""
        chosen = self._choose(state)
        places = await search_steps(
            self.memory,
            state,
            chosen["pending"],
            lambda step: publisher(runtime.stream_writer, "dispatch", step),
        )
        return chosen | {"step_places": places}

    def _choose(self, state: State) -> State:
        """The next steps; one that names a failed step's file is not run but fails with that reason."""
        plan = _plan(state)
        if state["conflicts"]:
            return {"pending": [state["conflicts"][0]["step_id"]]}
        batches = _batches(plan, Options.model_validate(state["options"]).parallel)
        skipped: list[StepResult] = []
        for number in range(state["group"] + 1, len(batches)):
            blocked = _blocked(plan, [*state["results"], *skipped])
            ready = [step for step in batches[number] if step.get("file") not in blocked]
            skipped += [_skip(step, state["head"], blocked) for step in batches[number] if step not in ready]
            if ready:
                return {"group": number, "pending": [step["id"] for step in ready], "results": skipped}
        return {"group": len(batches), "pending": [], "results": skipped}


def branches(state: State) -> list[Send] | str:
    """The route after dispatch: one Send a pending step, or the tester when the plan is done."""
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


@dataclass(frozen=True)
class Merge:
    """Joins the pending steps' snapshots three-way onto the head, in plan order, in the object database."""

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return the new head, and the steps whose edits did not merge."""
        results = latest(state["results"])
        done = [results[step_id] for step_id in state["pending"]]
        head, found = await asyncio.to_thread(self._merge, state, done, thread_of(runtime))
        waiting = [conflict for conflict in state["conflicts"] if conflict["step_id"] not in state["pending"]]
        return {"head": head, "conflicts": waiting + found, "pending": []}

    def _merge(self, state: State, done: list[StepResult], thread: str) -> tuple[str, list[Conflict]]:
        workspace, head = Workspace.open(Path(state["repo"])), state["head"]
        conflicts: list[Conflict] = []
        for result in done:
            if "snapshot" not in result:
                continue
            merged = workspace.merge(result["base"], head, result["snapshot"], f"merge {result['step_id']}")
            if merged.snapshot is None:
                conflicts.append(Conflict(step_id=result["step_id"], text=_text(merged.conflicts)))
            else:
                head = merged.snapshot
                workspace.hold(thread, result["step_id"], head)
        return head, conflicts


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
    """File → the step that failed on it."""
    files = {step["id"]: step.get("file") for step in plan["steps"]}
    return {files[i]: i for i, result in latest(results).items() if "error" in result and files.get(i)}


def _skip(step: Step, head: str, blocked: dict[str | None, str]) -> StepResult:
    failed = blocked[step.get("file")]
    return StepResult(
        step_id=step["id"], base=head, error=f"not run: step {failed}, which failed, names the same file"
    )


def _text(conflicts: tuple[FileConflict, ...]) -> str:
    return cut("\n\n".join(f"### {conflict.path}\n{conflict.text}" for conflict in conflicts), 8_000)
