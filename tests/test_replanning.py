"""Plans that are made again: after a human's answer, and after a coder's refusal."""

import json
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from runs import Bench, block, plan_of, script

from graph.builder import build
from graph.errors import RunnerError
from graph.event_log import open_journal
from graph.resources import open_resources
from nodes.dialogue.answers import read_answer, review
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


PUSH = {"kind": "tool", "tool": "git_push", "params": {"branch": "a"}}
INSTALL = {"kind": "tool", "tool": "pip_install", "params": {"packages": ["a"]}}
PLAN = {"kind": "plan", "plan": {"explanation": "", "steps": [{"id": "s1", "group": 0}]}}


@pytest.mark.parametrize(
    ("question", "decision", "meant"),
    [
        (PUSH, {"type": "approve"}, {"decision": "approve"}),
        (PUSH, {"type": "reject", "message": "not now"}, {"decision": "reject", "reason": "not now"}),
        (PUSH, {"branch": "b"}, {"decision": "edit", "params": {"branch": "b"}}),
        (PUSH, {"branch": "[1]"}, {"decision": "edit", "params": {"branch": "[1]"}}),
        # Agent Chat UI edits lists as text.
        (INSTALL, {"packages": '["a", "b"]'}, {"decision": "edit", "params": {"packages": ["a", "b"]}}),
        (INSTALL, {"packages": "a, b"}, {"decision": "edit", "params": {"packages": "a, b"}}),
        (PLAN, {"steps": []}, {"decision": "edit", "plan": {"steps": []}}),
    ],
)
def test_chat_clients_draw_a_question_and_their_decision_is_an_answer(
    question: dict[str, Any], decision: dict[str, Any], meant: dict[str, Any]
) -> None:
    shown = review(question)
    (action,), (config,) = shown["action_requests"], shown["review_configs"]
    assert action["args"] == question.get("params", question.get("plan"))
    assert action["name"] == config["action_name"] == question.get("tool", "plan")
    if "type" not in decision:
        decision = {"type": "edit", "edited_action": {"name": action["name"], "args": decision}}
    assert decision["type"] in config["allowed_decisions"]
    answer = read_answer({"decisions": [decision]}, question)
    assert answer.model_dump(exclude_none=True) == meant


@pytest.mark.parametrize(
    "decisions",
    [
        [],
        "approve",
        [{"type": "approve"}] * 2,
        ["approve"],
        [{"type": "respond", "message": "done"}],
        [{"type": "edit"}],
        [{"type": "edit", "edited_action": {"name": "git_push", "args": "b"}}],
        [{"type": "edit", "edited_action": {"name": "rm_rf", "args": {"paths": ["a"]}}}],
    ],
)
def test_a_decision_that_fits_no_question_is_none(decisions: Any) -> None:
    with pytest.raises(Unusable):
        read_answer({"decisions": decisions}, PUSH)


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
        for agent in ("You are a coder", "You are the tester", "You are the critic"):
            assert "Why the user refused an earlier plan\n- Mind the zeros" in bench.desk.prompts(agent)[-1]
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
        assert events[-1].data.model_dump()["missing"] == [
            "the plan was rejected 6 times, at last: Not so, 5"
        ]
        with pytest.raises(RunnerError, match="nothing to resume: the plan was rejected"):
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


FIRST = plan_of(
    {"description": "Use mul", "file": "area.py"}, {"description": "Then note it", "file": "N.md"}
)
REST = plan_of({"description": "Add mul to calc.py", "file": "calc.py"}, {"description": "Use it"})
AREA = block("area.py", "from calc import mul\n\n\ndef area(a, b):\n    return mul(a, b)")


def refused(bench: Bench, rest: str = REST, again: str = AREA, first: str = FIRST) -> Bench:
    """A planner whose first plan a coder refuses. `rest` is its plan for the rest."""
    bench.desk.on("You are the planner.*What is wanted now", rest)
    bench.desk.on("You are a coder.*Step: Use mul", "BLOCKED: there is no mul yet, the parser first")
    bench.desk.on("You are a coder.*Step: Use it", again)
    script(bench.desk, planner=first)
    return bench


async def test_a_refusal_goes_back_to_the_planner_which_plans_the_rest(bench: Bench) -> None:
    first = plan_of({"description": "Note it", "file": "N.md"}, *json.loads(FIRST)["steps"])
    bench.desk.on("You are a coder.*Step: Note it", block("N.md", "Noted."))
    refused(bench, first=first)
    run = await bench.run()
    assert run.end.status == "verified", run.end
    once, again = (plan.plan["steps"] for plan in run.of("plan"))
    assert [step["id"] for step in once] == ["s1", "s2", "s3"]
    assert [(step["id"], step["group"], step["description"]) for step in again] == [
        ("s1", 0, "Note it"), ("s4", 1, "Add mul to calc.py"), ("s5", 2, "Use it"),
    ]  # fmt: skip
    (prompt,) = bench.desk.prompts("What is wanted now")
    for told in (
        "- s1 on N.md: Note it\n  (done)",
        "- s2 on area.py: Use mul\n  (its coder refused it: there is no mul yet, the parser first)",
        "- s3 on N.md: Then note it\n  (not begun)",
        "+Noted.",
    ):
        assert told in prompt
    assert len(bench.desk.prompts("You are a coder.*Step: Note it")) == 1
    assert not bench.desk.prompts("Step: Then note it")
    assert [event.message for event in run.of("error")] == [
        "blocked: there is no mul yet, the parser first",
        "step s2 was refused, and the planner makes another plan: there is no mul yet, the parser first",
    ]


@pytest.mark.parametrize(
    ("rest", "again", "missing"),
    [
        (REST, "BLOCKED: still not", "step s4 failed: blocked: still not"),
        (
            "no plan",
            "",
            "step s1 failed: blocked: there is no mul yet, the parser first; the planner made no",
        ),
        ('{"answer": "There is no parser."}', "", "the parser first; the planner: There is no parser."),
    ],
)
async def test_a_second_refusal_fails_the_step_and_the_rest_goes_on(
    bench: Bench, rest: str, again: str, missing: str
) -> None:
    bench.desk.on("You are a coder.*Step: Then note it", block("N.md", "Noted."))
    refused(bench, rest, again)
    run = await bench.run()
    assert run.end.status == "unverified" and missing in run.end.missing[0]
    assert run.end.branch and len(bench.desk.prompts("What is wanted now")) == (2 if rest == "no plan" else 1)
    goes_on = "Then note it" if again == "" else "Add mul to calc.py"
    assert bench.desk.prompts(f"You are a coder.*Step: {goes_on}")


async def test_steps_that_a_user_gave_are_not_planned_anew(bench: Bench) -> None:
    refused(bench)
    run = await bench.run(steps=json.loads(FIRST)["steps"][:1])
    assert run.end.status == "unverified" and not bench.desk.prompts("You are the planner")
    assert run.end.missing[0] == "step s1 failed: blocked: there is no mul yet, the parser first"


async def test_a_plan_for_the_rest_is_approved_without_what_is_done(bench: Bench) -> None:
    first = plan_of({"description": "Note it", "file": "N.md"}, *json.loads(FIRST)["steps"])
    bench.desk.on("You are a coder.*Step: Note it", block("N.md", "Noted."))
    refused(bench, first=first)
    async with bench.supervisor() as supervisor:
        given: Any = {"task": "Add mul", "repo": str(bench.repo.path), "options": {"approve_plan": True}}
        run = await supervisor.submit(given, "t")
        for answer in ("yes", "Shorter, please"):
            await supervisor.wait(run.id)
            assert await supervisor.reply("t", answer)
        assert (await supervisor.wait(run.id)).status == "waiting"
        (asked,) = await supervisor.pending("t")
        assert [step["id"] for step in asked.request["plan"]["steps"]] == ["s6", "s7"]
        assert "Shorter, please" in bench.desk.prompts("What is wanted now")[-1]
        edit = {"steps": [*json.loads(REST)["steps"], {"agent": "coder", "description": "Then note it"}]}
        bench.desk.on("You are a coder.*Step: Then note it", "NO CHANGE: it is noted")
        await supervisor.resume("t", {asked.id: {"decision": "edit", "plan": edit}})
        assert (await supervisor.wait(run.id)).status == "verified"
        events = await supervisor.journal.events.read("t")
        plans = [event.data.model_dump()["plan"]["steps"] for event in events if event.type == "plan"]
        assert [step["id"] for step in plans[-1]] == ["s1", "s8", "s9", "s10"]


async def test_a_step_that_no_edit_can_do_fails_with_the_coders_reason(bench: Bench) -> None:
    script(bench.desk, coder="NOT THE CHANGE: the server's clock is wrong.")
    run = await bench.run()
    assert run.end.status == "unverified" and run.end.branch is None
    failed = "step s1 failed: no change of the files can do it: the server's clock is wrong."
    assert run.end.missing == [failed, "no step changed a file"]
    assert [event.message for event in run.of("error")] == [failed]
