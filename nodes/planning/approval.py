"""Approval shows the plan to a human, who approves, edits or refuses it."""

from dataclasses import dataclass
from typing import Literal, cast

from langgraph.runtime import Runtime

from nodes.dialogue.answers import HumanAnswer, ask
from nodes.dialogue.messages import human
from nodes.events import PlanMade
from nodes.planning.plan_reply import read_plan
from nodes.planning.rest import done_steps, joined
from nodes.publish import publisher
from nodes.state import Plan, State, open_steps

MAX_REPLANS = 5
"""Number of refused plans that the planner replaces. After that the run ends."""


@dataclass(frozen=True)
class Approval:
    """Waits until a human approves, edits or rejects the plan. A reason sends it back to the planner."""

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Interrupt the run for an answer, and again if it cannot be used."""
        plan = state["plan"]
        if plan and state.get("blocked"):  # what is done needs no approval
            plan = Plan(explanation=plan["explanation"], steps=open_steps(state))
        question = {"kind": "plan", "plan": plan}
        return ask(question, lambda answer: self._follow(state, runtime, answer))

    def _follow(self, state: State, runtime: Runtime[None], answer: HumanAnswer) -> State:
        """Return the state after an answer. Without a plan in it, the planner makes another one."""
        if answer.decision == "approve":
            return {}
        if answer.decision == "edit":
            plan = joined(state, read_plan(answer.plan))
            publisher(runtime.stream_writer, "approval")(PlanMade(plan=plan, by="user"))
            return {"plan": plan}
        refusals = list(state.get("refusals") or [])
        if not answer.reason:
            return _refused(state, "the plan was rejected")
        if len(refusals) == MAX_REPLANS:
            return _refused(state, f"the plan was rejected {MAX_REPLANS + 1} times, at last: {answer.reason}")
        refusals.append({"plan": cast(Plan, state["plan"]), "reason": answer.reason})
        said = human(f"{state['run']}-answer-{len(refusals)}", answer.reason)
        done = Plan(explanation="", steps=done_steps(state)) if state.get("blocked") else None
        return {"plan": done, "refusals": refusals, "messages": [said]}


def _refused(state: State, reason: str) -> State:
    """End the run. What was done before a plan for the rest was refused is delivered unverified."""
    kind: Literal["cancelled", "unverified"] = "cancelled"
    if state["head"] != state["base"]:
        kind = "unverified"
    return {"stops": [{"kind": kind, "reason": reason}]}
