"""The planner splits a task into a plan of steps in groups, or answers a question."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from langchain_core.messages import BaseMessage
from langgraph.runtime import Runtime

from memory.calls.budget import BudgetSpent
from nodes.agent.agents import Agents
from nodes.agent.conversation import Conversation
from nodes.check.tryout import BesidePlanner
from nodes.dialogue import sections
from nodes.dialogue.excerpts import CHARS_A_TOKEN
from nodes.dialogue.messages import ai
from nodes.dialogue.prompts import DATA, DISCARDED, fenced, messages, section, with_tools
from nodes.dialogue.replies import Unusable, parse_json
from nodes.dialogue.turns import earlier, search_words
from nodes.events import ErrorReported, MessageAdded, PlanMade
from nodes.planning.habits import habits
from nodes.planning.plan_reply import read_plan, read_reply
from nodes.planning.rest import as_failed, joined, rest_sections
from nodes.planning.server_tools import server_tools
from nodes.publish import publisher
from nodes.repository import open_workspace
from nodes.state import Place, Plan, RefusedPlan, State, latest, steps_of
from tools.catalogue import InvalidCall, describe
from tools.mcp import McpTools, ServerListing
from tools.workspace import Workspace

SYSTEM = f"""\
You are the planner of a team of coding agents. You split a task on a git repository into steps for
coders.

Answer with one JSON object and nothing else:
{{"explanation": "how the task will be done, two or three sentences",
 "steps": [{{"agent": "coder", "description": "what to change, precisely", "file": "path/to/file.py",
             "parallel_group": 1}}]}}

- A step has agent "coder". A tester writes the tests, a sandbox runs them and a critic reviews, after your
  steps, by themselves: plan no steps for that.
- "file" is the file that the step edits or creates, relative to the root. If it edits several, list all in
  "files" instead, the main one first. Leave both out if you cannot know.
- "context_files" lists files that the coder must read besides, if there are any.
- Steps with the same "parallel_group" number run at the same time and cannot see each other's work: give
  them different files and say in each description the names and signatures that they share. Groups run in
  ascending order. Steps without a number run one after another.
- An easy task is one step. Never more steps than the task needs, and none that only reads, explores or
  verifies.
- A coder sees its own step, the plan, these files and the map. Put what it must know in the description.
- Only if the task asks a question and wants nothing changed, find out and answer it, in Markdown, with the
  files and lines that show it: {{"answer": "text"}}

{DATA}"""

TOOL_STEPS = f"""\
Beside the coders' steps there can be steps of tools, which no model carries out:
{{"agent": "tool", "description": "why", "tool_name": "mv", "tool_params": {{"source": "a", "target": "b"}}}}
Plan one only if the task asks for what it does, or if later steps need it: coders look around, edit files and
run tests by themselves. The tools, with their parameters (`?`: optional):
{describe()}
Where they reach a network or a remote, a human may have to approve them."""


PLACES_TOKENS = 700
"""Limit on the places for a planner that can search. Its first prompt is to hold at most 3,000 tokens.

The task, and what the user gives with it, do not count.
"""

MOST_CALLS = 20
"""Calls of tools that an answer lists."""


@dataclass(frozen=True)
class Planner:
    """Asks for a plan, unless the task came with its steps. A task that only asks is answered.

    A plan that does not validate goes back once. After that, one coder step gets the whole task. After a
    refusal of a step the planner is asked for the rest. Without one, that step fails.
    """

    agents: Agents
    tool_use: bool = True
    beside: BesidePlanner = field(default_factory=BesidePlanner)
    mcp: McpTools = field(default_factory=McpTools)

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return the plan, the answer, or a stop if the budget is spent."""
        publish = publisher(runtime.stream_writer, "planner")
        if given := state.get("steps"):
            reply = {"explanation": "These steps came with the task.", "steps": given}
            plan = read_plan(reply, self.tool_use)
            publish(PlanMade(plan=plan, by="user"))
            return {"plan": plan, "steps": None, "plan_is_given": True}
        workspace = await open_workspace(state)
        asking = self.agents.conversation(runtime, state, "planner", "planner", workspace, state["head"])
        async with asking as conversation:
            return await self._plan(conversation, workspace, state)

    async def _plan(self, conversation: Conversation, workspace: Workspace, state: State) -> State:
        # Each question has ordinals of its own, so that a resume finds its replies.
        question = len(state.get("refusals") or []) + bool(state.get("blocked"))
        is_fallback, listings = False, await self.mcp.listings()
        for problem in filter(None, (listing.problem for listing in listings)):
            message = f"{problem}; its tools are left out of the plan"
            conversation.publish(ErrorReported(message=message, kind="warning"))
        try:
            reply = await conversation.ask(
                lambda: self._prompt(workspace, state, conversation, listings),
                self._read,
                question,
            )
        except BudgetSpent as spent:
            return {"stops": [{"kind": "budget", "reason": str(spent)}]}
        except Unusable:
            if state.get("blocked"):
                return _without_rest(conversation, state, "the planner made no usable plan for the rest")
            is_fallback = True
            whole = {"agent": "coder", "description": state["task"]}
            reply = read_plan({"explanation": "One step carries the task.", "steps": [whole]})
        if isinstance(reply, str):
            if state.get("blocked"):
                return _without_rest(conversation, state, f"the planner: {reply}")
            self.beside.answered(state["run"])
            return _answered(conversation, state, reply)
        plan = joined(state, reply)
        conversation.publish(PlanMade(plan=plan, fallback=is_fallback))
        name = f"plan-{question + 1}" if question else "plan"
        return {"plan": plan, "messages": [ai(state["run"], name, plan["explanation"])]}

    def _read(self, text: str) -> Plan | str:
        """Return the plan or the answer of a reply. Raises Unusable, also for calls that servers refuse."""
        reply = read_reply(parse_json(text), self.tool_use)
        try:
            for step in steps_of(None if isinstance(reply, str) else reply):
                if "tool_name" in step:
                    self.mcp.read_call(step["tool_name"], step["tool_params"])
        except InvalidCall as error:
            raise Unusable(f"The plan does not validate:\n- {error}") from error
        return reply

    def _prompt(
        self,
        workspace: Workspace,
        state: State,
        conversation: Conversation,
        listings: Sequence[ServerListing] = (),
    ) -> list[BaseMessage]:
        head, tools = state["head"], conversation.offers_tools
        map_tokens = sections.FIRST_MAP_TOKENS if tools else sections.MAP_TOKENS
        places = state.get("places", [])
        parts = [
            sections.agents_md(workspace, head),
            sections.outline(workspace, head, search_words(state), map_tokens),
            sections.places(_fitting(places) if tools else places),
            sections.context(workspace, head, state["context_files"]),
            sections.lessons(state.get("lessons", [])),
            habits(workspace, state["base"], shows_top=True),
            server_tools(listings),
            earlier(state.get("turns", []), conversation.room),
            section("The task", state["task"]),
            *(rest_sections(workspace, state) if state.get("blocked") else ()),
            *map(_refusal, state.get("refusals") or []),
        ]
        rules, _, data = SYSTEM.rpartition("\n\n")
        system = f"{rules}\n\n{TOOL_STEPS}\n\n{data}" if self.tool_use else SYSTEM
        return messages(with_tools(system, tools, DISCARDED), parts)


def _fitting(places: Sequence[Place]) -> list[Place]:
    """Return the first places that fit, one at least."""
    room, shown = PLACES_TOKENS * CHARS_A_TOKEN, list[Place]()
    for place in places:
        room -= len(place["text"])
        if shown and room < 0:
            break
        shown.append(place)
    return shown


def _answered(conversation: Conversation, state: State, answer: str) -> State:
    """Publish the answer with the calls that the planner made to find it."""
    calls = conversation.calls
    more = [f"and {len(calls) - MOST_CALLS} more"] if len(calls) > MOST_CALLS else []
    looked = fenced("\n".join([*calls[:MOST_CALLS], *more])) if calls else ""
    text = "\n\n".join(filter(None, (answer, looked and f"Looked at:\n{looked}")))
    conversation.publish(MessageAdded(role="assistant", text=text))
    return {"answer": text, "messages": [ai(state["run"], "result", text)]}


def _without_rest(conversation: Conversation, state: State, why: str) -> State:
    """Fail the refused steps. What does not name their files goes on."""
    results = latest(state["results"])
    failures = [as_failed(results[step["id"]], why) for step in state["blocked"]]
    for failure in failures:
        message = f"step {failure['step_id']} failed: {failure['error']}"
        conversation.publish(ErrorReported(message=message, kind="step"))
    return {"results": failures}


def _refusal(refusal: RefusedPlan) -> str:
    steps = [
        {name: value for name, value in step.items() if name not in ("id", "group")}
        | {"parallel_group": step["group"]}
        for step in refusal["plan"]["steps"]
    ]
    plan = json.dumps({"explanation": refusal["plan"]["explanation"], "steps": steps}, ensure_ascii=False)
    text = f"{plan}\n\nThe user refused it: {refusal['reason']}\n\nMake a plan that heeds this."
    return section("Your earlier plan", text)
