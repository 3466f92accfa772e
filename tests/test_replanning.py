"""Answers to a plan: plain words, refusals with a reason, and answers of the wrong shape."""

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from runs import Bench, script

from graph.builder import build
from graph.errors import RunnerError
from graph.event_log import open_journal
from graph.resources import open_resources
from nodes.dialogue.answers import read_answer
from nodes.dialogue.replies import Unusable
from nodes.planning.approval import MAX_REPLANS


@pytest.mark.parametrize(
    ("words", "decision", "reason"),
    [
        ("yes", "approve", None),
        (" OK! ", "approve", None),
        ("Yes, please.", "approve", None),
        ("Looks good", "approve", None),
        ("No", "reject", None),
        ("", "reject", None),
        ("No, leave it", "reject", "No, leave it"),
        ("yes but rename it", "reject", "yes but rename it"),
        ("Use \ud83d two files", "reject", "Use \ufffd two files"),
    ],
)
def test_plain_words_are_answers(words: str, decision: str, reason: str | None) -> None:
    answer = read_answer(words)
    assert (answer.decision, answer.reason) == (decision, reason)


@pytest.mark.parametrize(
    "value", [None, 7, ["approve"], {}, {"decision": "maybe"}, {"decision": ["approve"]}]
)
def test_what_is_no_answer_says_so(value: Any) -> None:
    with pytest.raises(Unusable, match="decision"):
        read_answer(value)


async def test_a_reason_has_the_plan_made_again_and_the_planner_sees_both(bench: Bench) -> None:
    script(bench.desk)
    async with bench.supervisor() as supervisor:
        given: Any = {"task": "Add mul", "repo": str(bench.repo.path), "options": {"approve_plan": True}}
        run = await supervisor.submit(given, "t")
        await supervisor.wait(run.id)
        (first,) = await supervisor.pending("t")
        await supervisor.resume("t", {first.id: {"decision": "reject", "reason": "Mind the zeros"}})
        assert (await supervisor.wait(run.id)).status == "waiting"
        (second,) = await supervisor.pending("t")
        assert second.id != first.id and second.request["kind"] == "plan"
        once, again = bench.desk.prompts("You are the planner")
        assert "Mind the zeros" not in once
        assert "Mind the zeros" in again and "Add mul to calc.py" in again

        assert await supervisor.reply("t", "yes")
        assert (await supervisor.wait(run.id)).status == "verified"
        messages = (await supervisor.history.state("t")).values["messages"]
        said = [(one["type"], one["content"]) for one in messages]
        assert said[:2] == [("human", "Add mul"), ("ai", "One function.")]
        assert said[2:4] == [("human", "Mind the zeros"), ("ai", "One function.")]
        assert await supervisor.reply("t", "yes") is None


async def test_refusals_come_to_an_end_and_nothing_is_left_to_resume(bench: Bench) -> None:
    script(bench.desk)
    async with bench.supervisor() as supervisor:
        given: Any = {"task": "Add mul", "repo": str(bench.repo.path), "options": {"approve_plan": True}}
        run = await supervisor.submit(given, "t")
        for number in range(MAX_REPLANS + 1):
            assert (await supervisor.wait(run.id)).status == "waiting"
            assert await supervisor.reply("t", f"Not so, {number}")
        assert (await supervisor.wait(run.id)).status == "cancelled"
        assert len(bench.desk.prompts("You are the planner")) == MAX_REPLANS + 1
        assert not bench.desk.prompts("You are a coder")
        events = await supervisor.journal.events.read("t")
        assert events[-1].data.model_dump()["missing"] == ["the plan was refused 6 times, at last: Not so, 5"]
        with pytest.raises(RunnerError, match="nothing to resume: the plan was refused"):
            await supervisor.resume("t")
        assert not bench.repo.git("for-each-ref", "refs/autocode")


async def test_a_wrong_answer_in_studio_is_asked_again_with_the_reason(bench: Bench) -> None:
    script(bench.desk)
    settings = bench.settings(enable_memory=False)
    journal = await open_journal(settings)
    async with open_resources(settings, journal, lambda line: None) as resources:
        graph = build(resources, InMemorySaver())
        config: Any = {"configurable": {"thread_id": "studio"}}
        input: Any = {"task": "Add mul", "repo": str(bench.repo.path), "options": {"approve_plan": True}}
        await graph.ainvoke(input, config)
        for wrong in (["approve"], {"decision": "edit", "plan": {"steps": []}}, {"type": "accept"}, 7):
            asked = (await graph.ainvoke(Command(resume=wrong), config))["__interrupt__"][0].value
            assert asked["kind"] == "plan" and asked["problem"]
        done = await graph.ainvoke(Command(resume="looks good"), config)
        assert done["missing"] == [] and done["branch"] == "autocode/studio"
    await journal.aclose()
