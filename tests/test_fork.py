"""Time travel: any checkpoint becomes a thread with its files, and both threads go on."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from desk import Rule
from runs import Bench, script

from graph.errors import InputError, RunnerError, UnknownThread


def at(history: list[Any], node: str) -> str:
    """The checkpoint at which a node is next."""
    (found,) = [one for one in history if one.next == (node,)]
    return str(found.config["configurable"]["checkpoint_id"])


@pytest.mark.parametrize("node", ["snapshot", "coder"])
async def test_a_fork_goes_on_from_its_checkpoint_and_survives_its_parent(bench: Bench, node: str) -> None:
    script(bench.desk)
    async with bench.supervisor() as supervisor:
        given: Any = {"task": "Add mul", "repo": str(bench.repo.path)}
        run = await supervisor.submit(given, "parent")
        await supervisor.wait(run.id)
        history = await supervisor.history.states("parent", limit=50)
        fork = await supervisor.history.fork("parent", at(history, node))
        await supervisor.history.delete("parent")
        bench.repo.git("branch", "-D", "autocode/parent")
        bench.repo.git("reflog", "expire", "--expire=now", "--all")
        bench.repo.git("gc", "-q", "--prune=now")
        bench.desk.requests.clear()

        forked = await supervisor.journal.runs.current(fork)
        assert forked and forked.id != run.id and forked.status == "waiting"
        await supervisor.resume(fork)
        done = await supervisor.wait(forked.id)
        assert (done.status, done.branch) == ("verified", f"autocode/{fork}")
        asked = [len(bench.desk.prompts(f"You are (the|a) {a}")) for a in ("planner", "coder", "critic")]
        assert asked == {"snapshot": [1, 1, 1], "coder": [0, 1, 1]}[node]
        assert f"Autocode-Run: {forked.id}" in bench.repo.git("log", "-1", "--format=%B", done.branch or "")


async def test_a_fork_keeps_the_notes_that_came_before_its_checkpoint(bench: Bench) -> None:
    bench.desk.on("You are the planner", "no plan at all", delay=1, times=1)
    script(bench.desk)
    async with bench.supervisor() as supervisor:
        run = await supervisor.submit({"task": "Add mul", "repo": str(bench.repo.path)}, "parent")
        await asyncio.to_thread(bench.desk.wait)
        await supervisor.log.note("parent", "Mind the zeros")
        await supervisor.wait(run.id)
        history = await supervisor.history.states("parent", limit=50)
        early, late = [await supervisor.history.fork("parent", at(history, n)) for n in ("recall", "tester")]
        ended = await supervisor.history.fork("parent")
        runs = [await supervisor.journal.runs.current(fork) for fork in (early, late)]
        assert [await supervisor.journal.notes.of_run(run.id) for run in runs if run] == [
            [],
            ["Mind the zeros"],
        ]
        await supervisor.resume(late)
        await supervisor.wait(runs[1].id if runs[1] else "")
        assert "Mind the zeros" in bench.desk.prompts("You are the tester")[-1]
        bench.desk.rules.insert(0, Rule("You are the planner", '{"answer": "It multiplies."}'))
        follow = await supervisor.submit({"task": "What does mul do?"}, ended)
        await supervisor.wait(follow.id)
        assert "The user's note: Mind the zeros" in bench.desk.prompts("You are the planner")[-1]


async def test_a_waiting_run_is_forked_with_its_question_and_each_gets_its_own_answer(bench: Bench) -> None:
    script(bench.desk)
    async with bench.supervisor() as supervisor:
        options = {"approve_plan": True}
        given: Any = {"task": "Add mul", "repo": str(bench.repo.path), "options": options}
        run = await supervisor.submit(given, "parent")
        await supervisor.wait(run.id)
        fork = await supervisor.history.fork("parent")
        (asked,), (again,) = await supervisor.pending("parent"), await supervisor.pending(fork)
        no = await supervisor.resume(fork, {again.id: {"decision": "reject", "reason": "no"}})
        yes = await supervisor.resume("parent", {asked.id: {"decision": "approve"}})
        assert (await supervisor.wait(no.id)).status == "cancelled"
        assert (await supervisor.wait(yes.id)).status == "verified"
        assert [event.type for event in await supervisor.journal.events.read(fork)][:3] == [
            "run.started", "plan", "approval.required"
        ]  # fmt: skip


async def test_a_fork_of_a_finished_thread_takes_further_tasks_from_its_result(bench: Bench) -> None:
    script(bench.desk)
    async with bench.supervisor() as supervisor:
        given: Any = {"task": "Add mul", "repo": str(bench.repo.path)}
        await supervisor.wait((await supervisor.submit(given, "parent")).id)
        fork = await supervisor.history.fork("parent")
        with pytest.raises(RunnerError, match="no run to resume"):
            await supervisor.resume(fork)
        run = await supervisor.submit({"task": "Add mul"}, fork)
        assert Path(run.input["repo"]) == bench.repo.path
        await supervisor.wait(run.id)
        state = await supervisor.history.state(fork)
        assert state.values["base"] == bench.repo.git("rev-parse", "autocode/parent")
        kinds = [message["type"] for message in state.values["messages"]]
        assert kinds == ["human", "ai", "ai"] * 2
        with pytest.raises(UnknownThread, match="no checkpoint"):
            await supervisor.history.fork("parent", "nonsense")


def test_a_thread_is_forked_and_spoken_to_from_the_command_line(bench: Bench) -> None:
    script(bench.desk)
    asyncio.run(bench.run(thread="parent"))
    lines = bench.autocode("fork", "parent", "--list").stdout.splitlines()
    (number,) = [line.split()[0] for line in lines if " tester " in line]
    made = bench.autocode("fork", "parent", "--at", number)
    fork = made.stdout.strip()
    assert made.exit_code == 0 and f"autocode resume {fork}" in made.stderr
    assert bench.autocode("note", fork, "Mind the edges").exit_code == 0
    resumed = bench.autocode("resume", fork)
    assert resumed.exit_code == 0 and "verified" in resumed.stdout
    assert "Mind the edges" in bench.desk.prompts("You are the tester")[-1]
    assert len(bench.desk.prompts("You are a coder")) == 1
    assert bench.autocode("note", fork, "too late").exit_code == 2
    assert bench.autocode("fork", "parent", "--at", "99").exit_code == 2
    assert bench.autocode("fork", "nobody").exit_code == 2


async def test_of_a_state_messages_alone_can_be_set_and_only_between_runs(bench: Bench) -> None:
    script(bench.desk)
    async with bench.supervisor() as supervisor:
        await supervisor.journal.threads.create("t", {"graph_id": "autocode"})
        said = {"messages": [{"role": "user", "content": "Earlier words", "id": "1"}]}
        state = await supervisor.history.update("t", said)
        assert [message["content"] for message in state.values["messages"]] == ["Earlier words"]
        with pytest.raises(InputError, match="head cannot be set"):
            await supervisor.history.update("t", {"head": "0" * 40})
        words: Any = {"messages": [{"type": "human", "content": [{"type": "text", "text": "Add mul"}]}]}
        run = await supervisor.submit(words | {"repo": str(bench.repo.path)}, "t")
        with pytest.raises(RunnerError, match="unfinished run"):
            await supervisor.history.update("t", said)
        assert (await supervisor.wait(run.id)).input["task"] == "Add mul"
        messages = (await supervisor.history.state("t")).values["messages"]
        assert [m["content"] for m in messages][:2] == ["Earlier words", "Add mul"]
        assert "**Verified.**" in messages[-1]["content"]
