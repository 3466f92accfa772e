"""The nodes that see to the environment of the base before any model is paid."""

import asyncio
from dataclasses import dataclass

from langgraph.runtime import Runtime

from memory.calls.budget import BudgetSpent
from nodes.check.execution.package_sandboxes import base_need
from nodes.check.tryout import WithinTime, always, tried_packages
from nodes.dialogue.answers import ask
from nodes.environment.need import missing
from nodes.environment.preparation import Preparation
from nodes.events import ErrorReported
from nodes.publish import Publish, publisher
from nodes.repository import open_workspace
from nodes.state import State, options_of

_QUESTION = "Go on without the environment? The result cannot be verified."
_MOST_NAMED = 8


@dataclass(frozen=True)
class PrepareEnvironment:
    """Finds or builds what the base's tests need, once a human has approved the commands."""

    preparation: Preparation
    within_time: WithinTime = always

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return the problem, if there is one, or a stop if the run's time is up."""
        try:
            async with self.within_time(state["run"], options_of(state)):
                return await self._prepare(state, publisher(runtime.stream_writer, "environment"))
        except BudgetSpent as spent:
            return {"stops": [{"kind": "budget", "reason": str(spent)}]}

    async def _prepare(self, state: State, publish: Publish) -> State:
        workspace, base = await open_workspace(state), state["base"]
        folders = await asyncio.to_thread(tried_packages, workspace, base)
        needs = [await base_need(self.preparation, workspace, base, folder) for folder in folders]
        # Fatal faults become the problem of the build, which is said and asked about.
        faults = [fault for need in needs for fault in need.recipe.faults if not fault.fatal]
        for message in dict.fromkeys(fault.message for fault in faults):
            publish(ErrorReported(message=message, kind="warning"))
        if taken := [file.path for need in needs for file in need.files]:
            listed = ", ".join(taken[:_MOST_NAMED]) + (" and more" if len(taken) > _MOST_NAMED else "")
            message = f"taken from your checkout for the tests, as git ignores or lacks them: {listed}"
            publish(ErrorReported(message=message, kind="warning"))
        ready = await self.preparation.ready(workspace, needs, publish, options_of(state).auto_approve)
        problems = (each.problem for each in ready if each.problem)
        return {"environment_problem": next(problems, "")}


@dataclass(frozen=True)
class GoOn:
    """Asks whether a run whose environment is missing goes on, as its result cannot be verified."""

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return that the run goes on without the environment, or a stop."""
        problem = state["environment_problem"]
        question = {"kind": "environment", "commands": [], "problem": problem, "question": _QUESTION}
        if options_of(state).auto_approve or ask(question, lambda answer: answer.decision == "approve"):
            return {"without_environment": problem}
        return {"stops": [{"kind": "cancelled", "reason": missing(problem)}]}
