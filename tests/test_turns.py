"""A thread is a conversation: a follow-up's agents know what was asked before, and what became of it."""

import asyncio
from typing import Any

from runs import MUL, TESTS, Bench, block, plan_of, script

from nodes.events import RunFinished

TITLE = "## Earlier on this thread"
DOCUMENTED = '''```diff
--- a/calc.py
+++ b/calc.py
@@ -4,3 +4,4 @@


 def mul(a, b):
+    """Multiply."""
     return a * b
```'''
DOC_TEST = block(
    "tests/test_doc.py", "import calc\n\n\ndef test_doc():\n    assert calc.mul.__doc__ == 'Multiply.'\n"
)


def told(bench: Bench, agent: str) -> str:
    """The part of an agent's newest prompt that tells of earlier tasks."""
    prompt = bench.desk.prompts(f"system: You are (the|a) {agent}")[-1]
    return prompt.partition(TITLE)[2].partition("\n## ")[0]


async def test_a_terse_follow_up_finds_what_it_refers_to(bench: Bench) -> None:
    second = {
        "planner": plan_of({"description": "Give mul a docstring", "file": "calc.py"}),
        "coder": DOCUMENTED,
        "tester": DOC_TEST,
    }
    for agent, reply in second.items():
        bench.desk.on(f"system: You are (the|a) {agent}.*{TITLE}", reply)
    script(bench.desk)
    first = await bench.run("Add mul\nIt multiplies.\nStep: nothing")
    assert first.end.status == "verified"
    assert not bench.desk.prompts(TITLE)
    run = await bench.run("It needs a docstring", first.thread)
    assert run.end.status == "verified"
    for agent in ("planner", "coder", "tester", "critic"):
        text = told(bench, agent)
        assert "Add mul\nIt multiplies.\n Step: nothing" in text and "verified; the files hold" in text
        assert ("+def mul(a, b):" in text) == (agent == "planner")
        prompt = bench.desk.prompts(f"system: You are (the|a) {agent}")[-1]
        assert sum(line.startswith("Step:") for line in prompt.splitlines()) <= 1
    await bench.run("And again", first.thread)
    text = told(bench, "planner")
    assert text.index("Add mul") < text.index("It needs a docstring") < text.index('+    """Multiply."""')
    assert "+def mul" not in text


async def test_a_result_without_proof_is_told_with_its_change_and_the_reason(bench: Bench) -> None:
    script(bench.desk, critic='{"verdict": "FAIL", "reasons": ["calc.py: mul must refuse text"]}')
    first = await bench.run(options={"max_review_rounds": 0})
    assert first.end.status == "unverified"
    await bench.run("Then do that", first.thread)
    for agent in ("planner", "coder"):
        text = told(bench, agent)
        assert "mul must refuse text" in text and "only if the user has applied it" in text
        assert "+def mul(a, b):" in text


async def test_an_answer_is_told_in_full(bench: Bench) -> None:
    bench.desk.on("You are the planner.*Explain", '{"answer": "It adds.\\n\\nSee `calc.py:1`."}', times=1)
    script(bench.desk)
    first = await bench.run("Explain calc.py")
    assert first.end.status == "answered"
    await bench.run("Multiply as well", first.thread)
    text = told(bench, "planner")
    assert "answered in text" in text and "It adds.\n\nSee `calc.py:1`." in text


async def test_refusals_notes_and_a_cancelled_run_are_told(bench: Bench) -> None:
    bench.desk.on("You are a coder", MUL, delay=3, times=1)
    script(bench.desk)
    async with bench.supervisor() as supervisor:
        asks: Any = {"task": "Add mul", "repo": str(bench.repo.path), "options": {"approve_plan": True}}
        run = await supervisor.wait((await supervisor.submit(asks, "t")).id)
        for reason in ("Keep it short", "Name the file"):
            (question,) = await supervisor.pending("t")
            await supervisor.resume("t", {question.id: {"decision": "reject", "reason": reason}})
            run = await supervisor.wait(run.id)
        plans = bench.desk.prompts("You are the planner")
        assert len(plans) == 3 and plans[-1].count("The user refused it: ") == 2
        (question,) = await supervisor.pending("t")
        await supervisor.resume("t", {question.id: {"decision": "approve"}})
        await asyncio.to_thread(bench.desk.wait, 4)
        await supervisor.log.note("t", "Call it times")
        assert await supervisor.cancel("t")
        asks["options"] = {"approve_plan": False}
        asks["task"] = "Go on"
        await supervisor.wait((await supervisor.submit(asks, "t")).id)
        end = (await supervisor.journal.events.read("t"))[-1].data
    assert isinstance(end, RunFinished) and end.status == "verified"
    text = told(bench, "planner")
    for said in (
        "Add mul",
        "refused a plan: Keep it short",
        "refused a plan: Name the file",
        "Call it times",
    ):
        assert said in text
    assert "stopped before it was done" in text
    assert TESTS  # the scripted tester proved it


async def test_many_tasks_are_told_within_bounds_and_the_same_on_each_run(bench: Bench) -> None:
    bench.desk.on("You are the planner", lambda request: '{"answer": "' + "Long words. " * 2000 + '"}')
    thread = (await bench.run("Explain 0 " + "x" * 5000)).thread
    for number in range(1, 11):
        await bench.run(f"Explain {number}", thread)
    text = told(bench, "planner")
    assert "Explain 9" in text and "Explain 8" in text and "Explain 0" not in text
    assert len(text) < 14_000
    await bench.run("Explain 11", thread, settings={"context_tokens": 4096})
    assert len(told(bench, "planner")) < 4_000
