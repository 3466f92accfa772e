"""Questions to humans: several at once, answered one by one or together, each exactly once."""

import asyncio
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send, interrupt
from runs import Bench, script

from graph.builder import Graph, Resources
from graph.errors import AnsweredApproval, InputError, RunnerError, UnknownApproval
from graph.supervisor import Supervisor
from nodes.dialogue.answers import spoken_answer
from nodes.state import Input, State

QUESTIONS = ("a", "b", "c")
YES = {"decision": "approve"}


def three_questions(checkpointer: BaseCheckpointSaver[Any], heard: list[str]) -> Graph:
    """Three branches that ask at once, and the end; it stands in for tool steps."""

    async def begin(state: State, runtime: Runtime[None]) -> State:
        assert runtime.execution_info
        return {"run": str(runtime.execution_info.run_id), "stops": [], "missing": []}

    async def ask(state: Any) -> State:
        answer = interrupt({"kind": "tool", "tool": state["name"], "params": {}})
        heard.append(f"{state['name']} {answer['decision']}")
        return {}

    async def end(state: State) -> State:
        heard.append("end")
        return {"missing": []}

    graph = StateGraph(State, input_schema=Input)
    graph.add_node("begin", begin)
    graph.add_node("ask", ask)
    graph.add_node("end", end)
    graph.add_edge(START, "begin")
    graph.add_conditional_edges(
        "begin", lambda state: [Send("ask", {"name": name}) for name in QUESTIONS], ["ask"]
    )
    graph.add_edge("ask", "end")
    graph.add_edge("end", END)
    return graph.compile(checkpointer=checkpointer)


async def test_an_answer_does_not_bring_a_cancelled_run_back_and_a_resume_asks_again(bench: Bench) -> None:
    heard: list[str] = []

    def build(resources: Resources, checkpointer: BaseCheckpointSaver[Any]) -> Graph:
        return three_questions(checkpointer, heard)

    async with Supervisor.open(bench.settings(), build=build) as supervisor:
        run = await supervisor.submit({"task": "Ask", "repo": str(bench.repo.path)}, "t")
        await supervisor.wait(run.id)
        answers = {one.id: YES for one in await supervisor.pending("t")}
        assert await supervisor.cancel("t")
        with pytest.raises(RunnerError, match="was cancelled; resume it first"):
            await supervisor.resume("t", answers)
        assert (await supervisor.run(run.id)).status == "cancelled" and heard == []

        await supervisor.resume("t")
        assert (await supervisor.wait(run.id)).status == "waiting"
        await supervisor.resume("t", answers)
        assert (await supervisor.wait(run.id)).status == "verified" and len(heard) == len(QUESTIONS) + 1


async def test_of_several_questions_one_some_or_all_are_answered_and_the_rest_waits(bench: Bench) -> None:
    heard: list[str] = []

    def build(resources: Resources, checkpointer: BaseCheckpointSaver[Any]) -> Graph:
        return three_questions(checkpointer, heard)

    async with Supervisor.open(bench.settings(), build=build) as supervisor:
        given: Any = {"task": "Ask", "repo": str(bench.repo.path)}
        run = await supervisor.submit(given, "t")
        assert (await supervisor.wait(run.id)).status == "waiting"
        asked = {one.request["tool"]: one.id for one in await supervisor.pending("t")}
        assert sorted(asked) == ["a", "b", "c"]

        await supervisor.resume("t", {asked["b"]: YES})
        assert (await supervisor.wait(run.id)).status == "waiting"
        assert heard == ["b approve"]
        assert {one.id for one in await supervisor.pending("t")} == {asked["a"], asked["c"]}

        with pytest.raises(AnsweredApproval, match=asked["b"]):
            await supervisor.resume("t", {asked["b"]: YES, asked["a"]: YES})
        with pytest.raises(UnknownApproval, match="no such approval: nonsense"):
            await supervisor.resume("t", {"nonsense": YES, asked["a"]: YES})
        with pytest.raises(RunnerError, match="waits for answers"):
            await supervisor.resume("t")
        assert heard == ["b approve"] and len(await supervisor.pending("t")) == 2

        both = {asked["a"]: {"decision": "reject", "reason": "no"}, asked["c"]: YES}
        await supervisor.resume("t", both)
        assert (await supervisor.wait(run.id)).status == "verified"
        assert sorted(heard) == ["a reject", "b approve", "c approve", "end"]
        events = await supervisor.journal.events.read("t")
        told = [event.type for event in events if event.type.startswith("approval")]
        assert (told.count("approval.required"), told.count("approval.resolved")) == (3, 3)
        assert {event.node for event in events if event.type == "approval.required"} == {"ask"}


async def test_of_two_answers_at_once_exactly_one_wins(bench: Bench) -> None:
    script(bench.desk)
    async with bench.supervisor() as first, bench.supervisor() as second:
        given: Any = {"task": "Add mul", "repo": str(bench.repo.path), "options": {"approve_plan": True}}
        run = await first.submit(given, "t")
        await first.wait(run.id)
        (asked,) = await second.pending("t")
        answers = (first.resume("t", {asked.id: YES}), second.resume("t", {asked.id: YES}))
        outcomes = await asyncio.gather(*answers, return_exceptions=True)
        assert sum(isinstance(one, AnsweredApproval) for one in outcomes) == 1
        assert (await first.wait(run.id)).status == "verified"
        with pytest.raises(RunnerError, match="nothing to resume"):
            await first.resume("t", {asked.id: YES})


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"decision": "maybe"}, "decision"),
        ({}, "decision"),
        ({"decision": "edit"}, "plan"),
        ({"decision": "edit", "plan": {"steps": []}}, "steps"),
        ({"decision": "approve", "extra": 1}, "extra"),
    ],
)
async def test_what_is_no_answer_is_refused_and_the_question_stands(
    bench: Bench, answer: dict[str, Any], says: str
) -> None:
    script(bench.desk)
    async with bench.supervisor() as supervisor:
        given: Any = {"task": "Add mul", "repo": str(bench.repo.path), "options": {"approve_plan": True}}
        run = await supervisor.submit(given, "t")
        await supervisor.wait(run.id)
        (asked,) = await supervisor.pending("t")
        with pytest.raises(InputError, match=says):
            await supervisor.resume("t", {asked.id: answer})
        assert await supervisor.pending("t") == [asked]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("yes", {"decision": "approve"}),
        ("Go on!", {"decision": "approve"}),
        ("build it", {"decision": "approve"}),
        ("use .venv", {"decision": "edit", "params": {"venv": ".venv"}}),
        (".venv", {"decision": "edit", "params": {"venv": ".venv"}}),
        ("Please use /opt/shop.", {"decision": "edit", "params": {"venv": "/opt/shop"}}),
        ("use /etc", {"decision": "reject", "reason": "use /etc"}),
        ("never", {"decision": "reject", "reason": "never"}),
    ],
)
def test_words_choose_among_the_environments_that_a_question_offers(
    words: str, answer: dict[str, Any]
) -> None:
    assert spoken_answer(words, {"kind": "environment", "at_hand": [".venv", "/opt/shop"]}) == answer
