"""Crashes and stops: nothing that was finished is lost, and no completion is paid for twice."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from contextlib import closing
from typing import Union

import pytest
from forking import MAIN, Forked
from runs import BROKEN_MUL, MUL, Bench, script
from served import COMMAND

from graph.errors import BudgetNotRaised, InputError
from memory.records.threads import ThreadBusy
from nodes.llm.model_settings import ModelError

PLAN = json.dumps(
    {
        "explanation": "Two at once.",
        "steps": [
            {"agent": "coder", "description": "Add mul to calc.py", "file": "calc.py", "parallel_group": 1},
            {"agent": "coder", "description": "Note it", "file": "NOTES.md", "parallel_group": 1},
        ],
    }
)


Process = Union[Forked, "subprocess.Popen[str]"]


def autocode(bench: Bench, *arguments: str, installed: bool = False) -> Process:
    """Start a command that prints its events, as a forked process or as the installed script."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(MAIN.parent.parent),
        "AUTOCODE_HOME": str(bench.home),
        "LLM_MODE": "local",
        "LOCAL_LLM_URL": bench.desk.url,
        "SANDBOX_BACKEND": "bubblewrap",
    }
    words = [*arguments, "--json"]
    if not installed:
        return Forked(
            [MAIN, *words], env=environment, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
    return subprocess.Popen(
        [COMMAND, *words], env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def killed_after(process: Process, events: int) -> bool:
    """Kill -9 once so many events were told; False where it had ended by itself."""
    assert process.stdout
    for _ in range(events):
        if not process.stdout.readline():
            break
    else:
        process.kill()
    process.communicate()
    return process.returncode == -signal.SIGKILL


def test_ten_kills_change_nothing_of_the_result_and_pay_for_nothing_twice(bench: Bench) -> None:
    bench.desk.on("Step: Note it", "### NOTES.md\n```\nmul multiplies\n```")
    script(bench.desk, planner=PLAN, coder=BROKEN_MUL)
    undisturbed = asyncio.run(bench.run())
    paid = len(bench.desk.requests)
    bench.desk.requests.clear()
    before = bench.repo.fingerprint()

    thread = ("--thread", bench.name_thread("killed"))
    # The hash seed of an installed script differs from that of the forked ones between the two.
    run = ("run", "Add mul", "--repo", str(bench.repo.path), *thread)
    kills = [killed_after(autocode(bench, *run, installed=True), 3)]
    for events in (2, 7, 5, 12, 3, 9, 14, 6, 11):
        kills.append(killed_after(autocode(bench, "resume", "killed"), events))
    last = autocode(bench, "resume", "killed", installed=True)
    last.communicate()

    assert kills.count(True) >= 6 and last.returncode in (0, 2)
    same = bench.repo.git("rev-parse", "autocode/killed^{tree}", f"{undisturbed.end.branch}^{{tree}}")
    assert len(set(same.split())) == 1
    assert bench.repo.fingerprint() == before
    with closing(sqlite3.connect(bench.home / "autocode.db")) as database:
        rows = database.execute(
            "SELECT c.prompt_hash, c.state FROM completions c JOIN runs r ON c.run_id = r.id"
            " WHERE r.thread_id = 'killed'"
        ).fetchall()
        learned = database.execute("SELECT count(*) FROM episodes").fetchone()
        numbers = [
            n for (n,) in database.execute("SELECT seq FROM events WHERE thread_id = 'killed' ORDER BY seq")
        ]
    settled = Counter(prompt for prompt, state in rows if state == "settled")
    assert set(settled.values()) == {1} and len(settled) == paid
    assert len(bench.desk.requests) <= paid + sum(state == "abandoned" for _, state in rows)
    assert numbers == list(range(1, len(numbers) + 1))
    assert learned == (2,)


def test_a_kill_after_each_call_of_a_tool_repeats_none(bench: Bench) -> None:
    # By what was answered so far: a kill may lose a reply that the model has given already.
    told = r"You are a coder.*tool: (?:[abc]\n)*"
    bench.desk.on(f"{told}c\n", MUL)
    for seen, word in ((f"{told}b\n", "c"), (f"{told}a\n", "b"), ("You are a coder", "a")):
        command = f"echo {word} >> WORDS; echo {word} >> /tmp/words; cat /tmp/words"
        bench.desk.on(seen, [("execute", {"command": command})])
    script(bench.desk)
    bench.name_thread("killed")
    process = autocode(bench, "run", "Add mul", "--repo", str(bench.repo.path), "--thread", "killed")
    for _ in "abc":
        assert process.stdout
        assert any('"type":"tool.call"' in line for line in process.stdout)
        process.kill()
        process.communicate()
        process = autocode(bench, "resume", "killed")
    process.communicate()
    assert process.returncode == 0
    assert bench.repo.git("show", "autocode/killed:WORDS").split() == ["a", "b", "c"]
    answers = bench.desk.prompts("You are a coder")[-1]
    # /tmp does not outlive a process, and the model is told.
    assert answers.count("tool: a\n") == 1 and answers.count("work was interrupted") == 2
    with closing(sqlite3.connect(bench.home / "autocode.db")) as database:
        query = "SELECT count(*) FROM events WHERE thread_id = 'killed' AND type = 'tool.call'"
        assert database.execute(query).fetchone() == (3,)
    assert len(bench.desk.prompts("You are a coder")) in (4, 5, 6, 7)  # a request may be under way at a kill


def wait_for(bench: Bench, prompt: str) -> None:
    """Until the model is asked."""
    while not bench.desk.prompts(prompt):
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly_and_says_how_to_go_on(bench: Bench, number: int) -> None:
    bench.desk.on("You are a coder", "", delay=30, times=1)
    script(bench.desk)
    thread = bench.name_thread("stopped")
    process = autocode(bench, "run", "Add mul", "--repo", str(bench.repo.path), "--thread", thread)
    wait_for(bench, "You are a coder")
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=20)
    end = json.loads(out.splitlines()[-1])
    assert (end["type"], end["data"]["status"]) == ("run.finished", "cancelled")
    assert process.returncode == 1 and "autocode resume stopped" in err
    assert asyncio.run(bench.resume("stopped")).end.status == "verified"
    assert len(bench.desk.prompts("You are the planner")) == 1


async def test_a_live_run_is_neither_resumed_nor_started_twice_but_can_be_cancelled(bench: Bench) -> None:
    bench.desk.on("You are a coder", "", delay=30, times=1)
    script(bench.desk)
    running = asyncio.create_task(bench.run(thread="busy"))
    await asyncio.to_thread(wait_for, bench, "You are a coder")
    with pytest.raises(ThreadBusy, match=f"process {os.getpid()}"):
        await bench.resume("busy")
    async with bench.supervisor(foreground=True) as other:
        assert await other.cancel("busy")
    began = time.monotonic()
    assert (await running).end.status == "cancelled"
    assert time.monotonic() - began < 5
    assert (await bench.resume("busy")).end.status == "verified"


async def test_a_run_outlives_an_outage_of_its_provider(bench: Bench) -> None:
    bench.desk.on("You are the tester", "", status=400, times=1)
    script(bench.desk)
    with pytest.raises(Exception, match="400"):
        await bench.run(thread="outage")
    run = await bench.resume("outage")
    assert run.end.status == "verified"
    assert len(bench.desk.prompts("You are a coder")) == 1


async def test_an_outage_in_a_branch_parks_the_run_at_that_step_and_nothing_is_paid_for_twice(
    bench: Bench,
) -> None:
    bench.desk.on("Step: Note it", "the key has expired", status=401, times=1)
    bench.desk.on("Step: Note it", "### NOTES.md\n```\nmul multiplies\n```")
    bench.desk.on("Step: Add mul to calc.py", MUL, delay=1.0)  # ends after its sibling failed
    script(bench.desk, planner=PLAN)
    with pytest.raises(ModelError, match="the key was refused"):
        await bench.run(thread="outage")
    run = await bench.resume("outage")
    assert run.end.status == "verified"
    assert len(bench.desk.prompts("You are the planner")) == 1
    assert len(bench.desk.prompts("Step: Add mul to calc.py")) == 1
    assert "mul multiplies" in bench.repo.git("show", f"{run.end.branch}:NOTES.md")


async def test_a_spent_budget_is_followed_by_a_larger_one_at_the_step_that_it_stopped(bench: Bench) -> None:
    used = {"prompt_tokens": 5000, "completion_tokens": 100}
    bench.desk.on("You are a coder", MUL, usage=used)
    script(bench.desk)
    first = await bench.run(thread="poor", options={"max_tokens": 6000})
    assert first.end.status == "budget" and not bench.desk.prompts("You are the tester")
    with pytest.raises(BudgetNotRaised, match="has spent its budget"):
        await bench.resume("poor")
    with pytest.raises(InputError, match="max_tokens is 3000, and the run has used"):
        await bench.resume("poor", limits={"max_tokens": 3000})
    asked = len(bench.desk.requests)
    run = await bench.resume("poor", limits={"max_tokens": 100_000})
    assert run.end.status == "verified"
    assert [
        len(bench.desk.prompts(f"You are (the|a) {agent}")) for agent in ("planner", "coder", "critic")
    ] == [1, 1, 1]
    assert bench.desk.requests[asked].prompt.startswith("model: deepseek-coder\nsystem: You are the tester")


async def test_a_cost_limit_without_prices_is_refused_before_anything_is_asked(bench: Bench) -> None:
    unknown = {"local_model": "unheard-of"}
    with pytest.raises(InputError, match=r"unheard-of .*MODEL_PRICES"):
        await bench.run(options={"max_cost_usd": 1.0}, settings=unknown)
    assert not bench.desk.requests
    script(bench.desk)
    prices = '{"unheard-of": {"input": 1, "output": 2}}'
    run = await bench.run(options={"max_cost_usd": 1.0}, settings=unknown | {"model_prices": prices})
    assert run.end.status == "verified" and all(usage.cost_usd for usage in run.end.usage)
