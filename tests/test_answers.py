"""Tasks that only ask: the planner answers them in text, and nothing is changed."""

import json
from datetime import datetime, timedelta

import pytest
from runs import PLAN, Bench, Run, script

from graph.task import run_task

ANSWER = "`add` returns a + b.\n\nSee calc.py, line 2."
REPLY = json.dumps({"answer": ANSWER})
LOOK = [("execute", {"command": "python -c 'import calc; print(calc.add(1, 2))'"})]
LOOKED = "Looked at:\n```\n$ python -c 'import calc; print(calc.add(1, 2))' → 3\n```"


def asked(bench: Bench, reply: str = REPLY) -> Bench:
    """A planner that looks once and then replies."""
    bench.desk.on("system: You are the planner(?!.*tool: )", LOOK, times=1)
    script(bench.desk, planner=reply)
    return bench


def answers(run: Run) -> list[str]:
    """The texts of the messages of a run that are not the user's."""
    return [message.text for message in run.of("message") if message.role == "assistant"]


async def test_a_question_is_answered_without_a_branch_and_the_thread_goes_on(bench: Bench) -> None:
    asked(bench)
    before = bench.repo.git("for-each-ref")
    run = await bench.run("What does add return?", thread="t", options={"approve_plan": True})
    assert (run.end.status, run.end.branch, run.end.missing) == ("answered", None, [])
    assert answers(run) == [f"{ANSWER}\n\n{LOOKED}"]
    assert run.nodes() == ["planner"] and not run.of("plan")
    assert bench.repo.git("for-each-ref") == before
    async with bench.supervisor() as supervisor:
        messages = (await supervisor.history.state("t")).values["messages"]
        assert [(message["type"], message["content"]) for message in messages] == [
            ("human", "What does add return?"), ("ai", f"{ANSWER}\n\n{LOOKED}"),
        ]  # fmt: skip
    bench.desk.rules.clear()
    script(bench.desk)
    then = await bench.run("Add mul", thread="t", options={"approve_plan": False})
    assert then.end.status == "verified" and not answers(then)


async def test_an_answer_does_not_wait_for_the_tests_of_the_base(bench: Bench) -> None:
    bench.repo.commit({"tests/test_slow.py": "import time\n\n\ndef test_slow():\n    time.sleep(90)\n"})
    script(bench.desk, planner=REPLY)
    run = await bench.run()
    assert run.end.status == "answered" and not run.of("error")
    lasted = datetime.fromisoformat(run.events[-1].ts) - datetime.fromisoformat(run.events[0].ts)
    assert lasted < timedelta(seconds=60)


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (PLAN.replace('"steps"', '"answer": "It is easy.", "steps"'), "verified"),
        ('{"answer": " ", "steps": []}', "verified"),  # goes back, and then one step has the task
    ],
)
async def test_a_reply_with_steps_is_a_plan_and_an_empty_answer_is_none(
    bench: Bench, reply: str, status: str
) -> None:
    script(bench.desk, planner=reply)
    run = await bench.run()
    assert run.end.status == status and not answers(run)


async def test_python_callers_get_the_answer(bench: Bench) -> None:
    script(bench.desk, planner=REPLY)
    outcome = await run_task("What does add return?", bench.repo.path, settings=bench.settings())
    assert (outcome.status, outcome.answer, outcome.branch) == ("answered", ANSWER, None)


def test_the_terminal_shows_the_answer_and_what_was_looked_at(bench: Bench) -> None:
    asked(bench, json.dumps({"answer": ANSWER + "\n\x1b]0;title\x07"}))
    shown = bench.autocode("run", "What does add return?", "--repo", str(bench.repo.path))
    assert shown.exit_code == 0
    assert "Answered. No file was changed." in shown.stdout
    assert "See calc.py, line 2." in shown.stdout and LOOKED.split("\n")[2] in shown.stdout
    assert "\x1b]0" not in shown.stdout
    again = bench.autocode("show", "last")
    assert "See calc.py, line 2." in again.stdout
    assert [row["status"] for row in json.loads(bench.autocode("threads", "--json").stdout)] == ["answered"]
    assert "→ " + ANSWER[:12] in bench.autocode("threads", "--all").stdout
    refused = bench.autocode("resume", "last")
    assert refused.exit_code == 2 and "nothing to resume" in refused.stderr
    assert "delivered nothing" in bench.autocode("diff", "last").stderr
