"""The planner splits a task into a plan of steps in groups. Approval shows the plan to a human."""

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, cast

from langchain_core.messages import BaseMessage
from langgraph.runtime import Runtime
from pydantic import BaseModel, Field, StringConstraints, ValidationError, field_validator

from memory.calls.budget import BudgetSpent
from memory.validation import faults_of
from nodes.agent.agents import Agents
from nodes.agent.conversation import Conversation
from nodes.dialogue import sections
from nodes.dialogue.answers import HumanAnswer, ask
from nodes.dialogue.messages import ai, human
from nodes.dialogue.prompts import DATA, DISCARDED, messages, section, with_tools
from nodes.dialogue.replies import Unusable, parse_json
from nodes.events import PlanMade
from nodes.publish import publisher
from nodes.repository import open_workspace
from nodes.state import Plan, RefusedPlan, State, Step
from tools.workspace import Workspace

SYSTEM = f"""\
You are the planner of a team of coding agents. You split a task on a git repository into steps for
coders.

Answer with one JSON object and nothing else:
{{"explanation": "how the task will be done, two or three sentences",
 "steps": [{{"agent": "coder", "description": "what to change, precisely", "file": "path/to/file.py",
             "parallel_group": 1}}]}}

- Every step has agent "coder". A tester writes the tests, a sandbox runs them and a critic reviews, after
  your steps, by themselves: plan no steps for that.
- "file" is the one file that the step mainly edits or creates, relative to the root; leave it out if
  there is none.
- Steps with the same "parallel_group" number run at the same time and cannot see each other's work: give
  them different files and say in each description the names and signatures that they share. Groups run in
  ascending order. Steps without a number run one after another.
- An easy task is one step. Never more steps than the task needs, and none that only reads, explores or
  verifies.
- A coder sees its own step, the plan, its file, the context files and the map. Put what it must know in
  the description.

{DATA}"""


MAX_REPLANS = 5
"""Number of refused plans that the planner replaces. After that the run ends."""


class StepReply(BaseModel):
    """One step of a planner's reply."""

    agent: Literal["coder", "tester", "debugger", "critic"]  # planners name the others too, in vain
    description: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    file: str | None = None
    parallel_group: int | None = None

    @field_validator("file")
    @classmethod
    def inside(cls, file: str | None) -> str | None:
        """Return a path below the root, None for an empty one."""
        if not file or not file.strip():
            return None
        path = PurePosixPath(file.strip().removeprefix("./"))
        if path.is_absolute() or ".." in path.parts or ".git" in path.parts:
            raise ValueError(f"{file!r} must be a path below the repository's root")
        return str(path)


class PlanReply(BaseModel):
    """A plan as planners answer with it, and humans edit it."""

    explanation: str = ""
    steps: list[StepReply] = Field(min_length=1, max_length=40)


def read_plan(value: Any) -> Plan:
    """Validate a plan and number its steps. Raises Unusable with one line per fault."""
    try:
        reply = PlanReply.model_validate(value)
    except ValidationError as error:
        faults = "\n".join(f"- {fault}" for fault in faults_of(error))
        raise Unusable(f"The plan does not validate:\n{faults}") from error
    coding = [step for step in reply.steps if step.agent == "coder"]
    if not coding:
        raise Unusable('The plan has no step with agent "coder".')
    steps: list[Step] = []
    for number, (reply_step, group) in enumerate(zip(coding, _groups(coding), strict=True), 1):
        step = Step(id=f"s{number}", agent=reply_step.agent, description=reply_step.description, group=group)
        if reply_step.file:
            step["file"] = reply_step.file
        steps.append(step)
    return Plan(explanation=reply.explanation, steps=sorted(steps, key=lambda s: s["group"]))


def _groups(steps: list[StepReply]) -> list[int]:
    """Return the group of each step. Groups with numbers ascend. A step without a number is a group."""
    keys = [
        (0, i) if step.parallel_group is None else (1, step.parallel_group) for i, step in enumerate(steps)
    ]
    places = list(dict.fromkeys(keys))
    ascending = iter(sorted(key for key in places if key[0]))
    order = [next(ascending) if key[0] else key for key in places]
    return [order.index(key) for key in keys]


@dataclass(frozen=True)
class Planner:
    """Asks for a plan, unless the task came with its steps.

    A plan that does not validate goes back once. After that, one coder step gets the whole task.
    """

    agents: Agents

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return the plan, or a stop if the budget is spent."""
        publish = publisher(runtime.stream_writer, "planner")
        if given := state.get("steps"):
            plan = read_plan({"explanation": "These steps came with the task.", "steps": given})
            publish(PlanMade(plan=plan))
            return {"plan": plan, "steps": None}
        workspace = await open_workspace(state)
        asking = self.agents.conversation(runtime, state, "planner", "planner", workspace, state["base"])
        async with asking as conversation:
            return await self._plan(conversation, workspace, state)

    async def _plan(self, conversation: Conversation, workspace: Workspace, state: State) -> State:
        refusals, fallback = state.get("refusals") or [], False
        try:
            plan = await conversation.ask(
                lambda: self._prompt(workspace, state, conversation.offers_tools),
                lambda text: read_plan(parse_json(text)),
                question=len(refusals),
            )
        except Unusable:
            fallback = True
            whole = {"agent": "coder", "description": state["task"]}
            plan = read_plan({"explanation": "One step carries the task.", "steps": [whole]})
        except BudgetSpent as spent:
            return {"stops": [{"kind": "budget", "reason": str(spent)}]}
        conversation.publish(PlanMade(plan=plan, fallback=fallback))
        name = f"plan-{len(refusals) + 1}" if refusals else "plan"
        return {"plan": plan, "messages": [ai(state["run"], name, plan["explanation"])]}

    def _prompt(self, workspace: Workspace, state: State, tools: bool) -> list[BaseMessage]:
        base = state["base"]
        map_tokens = sections.FIRST_MAP_TOKENS if tools else sections.MAP_TOKENS
        parts = [
            sections.agents_md(workspace, base),
            sections.outline(workspace, base, state["task"], map_tokens),
            sections.places(state.get("places", [])),
            sections.context(workspace, base, state["context_files"]),
            sections.lessons(state.get("lessons", [])),
            section("The task", state["task"]),
            *map(_refusal, state.get("refusals") or []),
        ]
        return messages(with_tools(SYSTEM, tools, DISCARDED), parts)


def _refusal(refusal: RefusedPlan) -> str:
    steps = [
        {name: step[name] for name in ("description", "file") if name in step}
        | {"parallel_group": step["group"]}
        for step in refusal["plan"]["steps"]
    ]
    plan = json.dumps({"explanation": refusal["plan"]["explanation"], "steps": steps}, ensure_ascii=False)
    text = f"{plan}\n\nThe user refused it: {refusal['reason']}\n\nMake a plan that heeds this."
    return section("Your earlier plan", text)


@dataclass(frozen=True)
class Approval:
    """Waits until a human approves, edits or rejects the plan. A reason sends it back to the planner."""

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Interrupt the run for an answer, and again if it cannot be used."""
        question = {"kind": "plan", "plan": state["plan"]}
        return ask(question, lambda answer: self._follow(state, runtime, answer))

    def _follow(self, state: State, runtime: Runtime[None], answer: HumanAnswer) -> State:
        """Return the state after an answer. Without a plan in it, the planner makes another one."""
        if answer.decision == "approve":
            return {}
        if answer.decision == "edit":
            plan = read_plan(answer.plan)
            publisher(runtime.stream_writer, "approval")(PlanMade(plan=plan))
            return {"plan": plan}
        refusals = list(state.get("refusals") or [])
        if not answer.reason:
            return _refused("the plan was refused")
        if len(refusals) == MAX_REPLANS:
            return _refused(f"the plan was refused {MAX_REPLANS + 1} times, at last: {answer.reason}")
        refusals.append({"plan": cast(Plan, state["plan"]), "reason": answer.reason})
        said = human(f"{state['run']}-answer-{len(refusals)}", answer.reason)
        return {"plan": None, "refusals": refusals, "messages": [said]}


def _refused(reason: str) -> State:
    return {"stops": [{"kind": "cancelled", "reason": reason}]}
