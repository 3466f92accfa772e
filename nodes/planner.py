"""The planner: a task becomes a plan of steps in groups, or one step that carries the whole task."""

import asyncio
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from langchain_core.messages import BaseMessage
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from memory.records.budget import BudgetSpent
from nodes.dialogue.ask import DATA, ask, messages, section
from nodes.dialogue.replies import Unusable, parse_json
from nodes.dialogue.sections import (
    agents_section,
    given_section,
    lessons_section,
    map_section,
    places_section,
)
from nodes.events import PlanMade
from nodes.llm.models import Call, Models
from nodes.messages import ai
from nodes.publish import publisher
from nodes.state import Options, Plan, State, Step
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

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class StepReply(BaseModel):
    """One step on the wire."""

    model_config = ConfigDict(extra="ignore")

    agent: Literal["coder", "tester", "debugger", "critic"]
    description: Text
    file: str | None = None
    parallel_group: int | None = None

    @field_validator("file")
    @classmethod
    def inside(cls, file: str | None) -> str | None:
        """A path below the root; an empty one is none."""
        if not file or not file.strip():
            return None
        path = PurePosixPath(file.strip().removeprefix("./"))
        if path.is_absolute() or ".." in path.parts or ".git" in path.parts:
            raise ValueError(f"{file!r} must be a path below the repository's root")
        return str(path)


class PlanReply(BaseModel):
    """A plan on the wire, from the planner or from a human's edit."""

    model_config = ConfigDict(extra="ignore")

    explanation: str = ""
    steps: list[StepReply] = Field(min_length=1, max_length=40)


def read_plan(value: Any) -> Plan:
    """Validate and number a plan. Raises Unusable with one line a fault."""
    try:
        reply = PlanReply.model_validate(value)
    except ValidationError as error:
        faults = [f"- {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)]
        raise Unusable("The plan does not validate:\n" + "\n".join(faults)) from error
    coding = [step for step in reply.steps if step.agent == "coder"]
    if not coding:
        raise Unusable('The plan has no step with agent "coder".')
    steps: list[Step] = []
    for number, (step, group) in enumerate(zip(coding, _groups(coding), strict=True), 1):
        one = Step(id=f"s{number}", agent=step.agent, description=step.description, group=group)
        if step.file:
            one["file"] = step.file
        steps.append(one)
    return Plan(explanation=reply.explanation, steps=sorted(steps, key=lambda s: s["group"]))


def _groups(steps: list[StepReply]) -> list[int]:
    """A group a step: equal numbers share one, in ascending order; a step without a number has its own."""
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

    A plan that does not validate goes back once, then one coder step carries the task.
    """

    models: Models

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Plan, or say that the budget is spent."""
        publish = publisher(runtime.stream_writer, "planner")
        if given := state.get("steps"):
            plan = read_plan({"explanation": "These steps came with the task.", "steps": given})
            publish(PlanMade(plan=plan))
            return {"plan": plan, "steps": None}
        prompt = await asyncio.to_thread(self._prompt, state)
        call = Call(run=state["run"], agent="planner", step="planner", ordinal=0)
        options = Options.model_validate(state["options"])
        fallback = False
        try:
            plan = await ask(
                self.models, call, prompt, lambda text: read_plan(parse_json(text)), options, publish
            )
        except Unusable:
            fallback = True
            whole = {"agent": "coder", "description": state["task"]}
            plan = read_plan({"explanation": "One step carries the task.", "steps": [whole]})
        except BudgetSpent as spent:
            return {"stops": [{"kind": "budget", "reason": str(spent)}]}
        publish(PlanMade(plan=plan, fallback=fallback))
        return {"plan": plan, "messages": [ai(state["run"], "plan", plan["explanation"])]}

    def _prompt(self, state: State) -> list[BaseMessage]:
        workspace, base = Workspace.open(Path(state["repo"])), state["base"]
        sections = [
            agents_section(workspace, base),
            map_section(workspace, base, state["task"]),
            places_section(state.get("places", [])),
            given_section(workspace, base, state["context_files"]),
            lessons_section(state.get("lessons", [])),
            section("The task", state["task"]),
        ]
        return messages(SYSTEM, sections)


@dataclass(frozen=True)
class Approval:
    """Shows the plan to a human and waits; the answer approves, edits or refuses it."""

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Park the run until the plan is answered; an edit that does not validate is asked for again."""
        publish = publisher(runtime.stream_writer, "approval")
        problem: str | None = None
        while True:
            question = {"kind": "plan", "plan": state["plan"]}
            answer = interrupt(question | ({"problem": problem} if problem else {}))
            if answer["decision"] == "reject":
                reason = answer.get("reason") or "no reason given"
                return {"stops": [{"kind": "cancelled", "reason": f"the plan was refused: {reason}"}]}
            if answer["decision"] == "approve":
                return {}
            try:
                plan = read_plan(answer.get("plan"))
            except Unusable as error:
                problem = str(error)
                continue
            publish(PlanMade(plan=plan))
            return {"plan": plan}
