"""Runs in the background of a process: queued, followed, stopped, taken up again by another process."""

import asyncio
import os
import subprocess
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from forking import Forked
from runs import MULTIPLY, TESTS, Bench, block, script

from graph.delivery import Delivery
from graph.errors import InputError, RunnerError, UnknownThread
from graph.supervisor import Supervisor
from memory.records.threads import ThreadBusy
from nodes.events import Event, RunFinished
from nodes.llm.model_settings import ModelError
from nodes.publish import Draft


def task(bench: Bench, **more: Any) -> Any:
    return {"task": "Add mul", "repo": str(bench.repo.path), **more}


async def told(supervisor: Supervisor, thread: str, run: str, after: int = 0) -> list[Event]:
    return [event async for event in supervisor.log.follow(thread, after, run)]


async def test_a_run_goes_on_while_nobody_listens_and_late_readers_get_it_all(bench: Bench) -> None:
    script(bench.desk)
    async with bench.supervisor() as supervisor:
        run = await supervisor.submit(task(bench), "t")
        assert run.status == "running"
        async with aclosing(supervisor.log.follow("t")) as early:
            first = await anext(early)
        assert first.type == "run.started"
        done = await supervisor.wait(run.id)
        assert (done.status, done.branch) == ("verified", "autocode/t")
        events = await told(supervisor, "t", run.id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].type == "run.finished"


async def test_a_second_run_is_refused_queued_or_takes_the_first_ones_place(bench: Bench) -> None:
    bench.desk.on("You are a coder", "", delay=30, times=1)
    script(bench.desk)
    async with bench.supervisor() as supervisor:
        first = await supervisor.submit(task(bench), "t")
        await asyncio.to_thread(bench.desk.wait, 2)
        with pytest.raises(ThreadBusy, match="unfinished run"):
            await supervisor.submit(task(bench), "t")
        queued = await supervisor.submit(task(bench), "t", strategy="enqueue")
        assert queued.status == "queued"
        last = await supervisor.submit(task(bench), "t", strategy="interrupt")
        assert (await supervisor.wait(last.id)).status == "verified"
        rows = await supervisor.journal.runs.of_thread("t")
    assert [(row.id, row.status) for row in rows] == [
        (last.id, "verified"), (queued.id, "cancelled"), (first.id, "cancelled")
    ]  # fmt: skip


async def test_what_cannot_be_used_is_refused_before_anything_is_written(bench: Bench) -> None:
    async with bench.supervisor() as supervisor:
        for bad, says in (
            ({"task": " "}, "empty"),
            ({"task": "x", "options": {"nonsense": 1}}, "nonsense"),
            ({"task": "x", "extra": 1}, "extra"),
            ({"task": "x", "repo": "/nowhere"}, "no folder"),
            ({"task": "x", "context_files": [{"path": "a"}]}, "context_files"),
        ):
            with pytest.raises(InputError, match=says):
                await supervisor.submit(bad, "t")  # type: ignore[arg-type]
        with pytest.raises(InputError, match="letters, digits"):
            await supervisor.submit(task(bench), "../t")
        assert await supervisor.journal.threads.all() == []


SERVER = """
import asyncio, sys
from graph.settings import Settings
from graph.supervisor import Supervisor

async def main():
    repo, threads = sys.argv[1], sys.argv[2:]
    async with Supervisor.open(Settings.load()) as supervisor:
        for thread in threads:
            options = {"approve_plan": thread == "parked"}
            await supervisor.submit({"task": "Add mul", "repo": repo, "options": options}, thread)
        print("submitted", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def serving(bench: Bench, *threads: str) -> Forked:
    """A server's process that has submitted a run on each of these threads."""
    settings = {
        "AUTOCODE_HOME": str(bench.home),
        "LLM_MODE": "local",
        "LOCAL_LLM_URL": bench.desk.url,
        "SANDBOX_BACKEND": "bubblewrap",
        "PYTHONPATH": str(Path(__file__).parent.parent),
        "PATH": os.environ["PATH"],
        "MAX_CONCURRENT_RUNS": "2",
    }
    return Forked(["-c", SERVER, bench.repo.path, *threads], env=settings, stdout=subprocess.PIPE)


async def test_after_kill_9_another_process_finishes_every_run_and_readers_miss_nothing(bench: Bench) -> None:
    bench.desk.on("You are a coder", "", delay=60, times=2)
    script(bench.desk)
    process = serving(bench, "parked", "one", "two", "queued")
    await asyncio.to_thread(bench.desk.wait, 5)
    process.kill()
    process.communicate()
    async with bench.supervisor(resume_on_start=False) as supervisor:
        assert {row.id: row.status for row in await supervisor.journal.threads.all()} == {
            "parked": "waiting", "one": "running", "two": "running", "queued": "queued"
        }  # fmt: skip
        reader = asyncio.create_task(read_all(supervisor, "one", after=3))

        assert len(await supervisor.recover()) == 2
        for thread in ("one", "two", "queued"):
            run = await supervisor.journal.runs.current(thread)
            assert run and (await supervisor.wait(run.id)).status == "verified"
        (asked,) = await supervisor.pending("parked")
        run = await supervisor.resume("parked", {asked.id: {"decision": "approve"}})
        assert (await supervisor.wait(run.id)).status == "verified"
        events = await reader
    assert [event.seq for event in events] == list(range(4, len(events) + 4))
    assert [event.type for event in events].count("run.started") == 1
    assert len(bench.desk.prompts("You are the planner")) == 4


async def read_all(supervisor: Supervisor, thread: str, after: int) -> list[Event]:
    run = await supervisor.journal.runs.current(thread)
    assert run
    return await told(supervisor, thread, run.id, after)


async def test_a_stop_parks_what_runs_and_the_next_start_goes_on_with_it(bench: Bench) -> None:
    bench.desk.on("You are a coder", "", delay=30, times=1)
    script(bench.desk)
    async with bench.supervisor(max_concurrent_runs=1) as supervisor:
        run = await supervisor.submit(task(bench), "t")
        second = await supervisor.submit(task(bench), "queued")
        assert second.status == "queued"
        assert await supervisor.cancel("queued", second.id)
        await asyncio.to_thread(bench.desk.wait, 2)
    async with bench.supervisor(resume_on_start=False) as supervisor:
        (*_, parked) = await supervisor.journal.events.read("t")
        assert (await supervisor.run(run.id)).status == "queued"
        assert isinstance(parked.data, RunFinished) and parked.data.status == "waiting"
        assert "goes on when it starts" in str(parked.data.reason)
        (withdrawn,) = await supervisor.journal.events.read("queued")
        assert isinstance(withdrawn.data, RunFinished) and withdrawn.data.status == "cancelled"
    async with bench.supervisor() as supervisor:
        assert (await supervisor.wait(run.id)).status == "verified"
    assert len(bench.desk.prompts("You are the planner")) == 1


async def test_a_cancelled_run_stops_at_once_and_can_be_resumed(bench: Bench) -> None:
    bench.desk.on("You are a coder", "", delay=30, times=1)
    script(bench.desk)
    async with bench.supervisor() as supervisor:
        run = await supervisor.submit(task(bench), "t")
        await asyncio.to_thread(bench.desk.wait, 2)
        with pytest.raises(ThreadBusy):
            await supervisor.resume("t")
        assert await supervisor.cancel("t")
        assert (await supervisor.run(run.id)).status == "cancelled"
        assert not await supervisor.cancel("t")
        again = await supervisor.resume("t")
        assert again.id == run.id and (await supervisor.wait(run.id)).status == "verified"


async def test_without_a_repository_a_task_gets_one_and_its_files_come_back(bench: Bench) -> None:
    made = block("mul.py", MULTIPLY)
    script(bench.desk, coder=made, tester=TESTS.replace("from calc", "from mul"))
    async with bench.supervisor() as supervisor:
        run = await supervisor.submit({"task": "Write mul"})
        assert run.input["repo"] == str(bench.home / "scratch" / run.thread_id)
        assert (await supervisor.wait(run.id)).status == "verified"
        delivered = await Delivery.of_run(await supervisor.run(run.id))
        assert delivered and (await delivered.files())["mul.py"] == f"{MULTIPLY}\n"
        assert "+def mul(a, b):" in await delivered.diff()
        follow_up = await supervisor.submit({"task": "Once more"}, run.thread_id)
        assert follow_up.input["repo"] == run.input["repo"]
        assert (await supervisor.wait(follow_up.id)).status == "unverified"
        assert (await Delivery.of_run(await supervisor.run(run.id))) == delivered


async def keep(supervisor: Supervisor, thread: str, status: str, owner: str | None = None) -> None:
    """Store a run as another process left it; `owner` holds its thread."""
    await supervisor.journal.threads.acquire(thread, "/r", owner or "nobody")
    await supervisor.journal.runs.start(f"run-{thread}", thread, {"task": "x", "repo": "/r"}, status)
    if owner is None:
        await supervisor.journal.threads.release(thread, "nobody")


@pytest.mark.parametrize(
    ("status", "owner", "error", "says"),
    [
        (None, None, UnknownThread, "there is no thread t"),
        ("new", None, RunnerError, "no run to resume"),
        ("verified", None, RunnerError, "nothing to resume: its last run ended as verified"),
        ("unverified", None, RunnerError, "nothing to resume"),
        ("budget", None, RunnerError, "spent its budget"),
        ("running", "alive", ThreadBusy, "unfinished run"),
        ("queued", None, ThreadBusy, "unfinished run"),
    ],
)
async def test_a_resume_is_refused_with_its_reason(
    bench: Bench, status: str | None, owner: str | None, error: type[Exception], says: str
) -> None:
    settings = bench.settings(enable_memory=False, max_concurrent_runs=1)
    async with Supervisor.open(settings) as supervisor:
        supervisor.queue.limit = 0
        if status == "new":
            await supervisor.journal.threads.create("t", {})
        elif status:
            await keep(supervisor, "t", status, owner)
        with pytest.raises(error, match=says):
            await supervisor.resume("t")


async def test_a_run_that_ends_while_a_resume_checks_the_tools_is_not_opened_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench.supervisor(foreground=True, enable_memory=False) as supervisor:
        await keep(supervisor, "t", "running")

        async def end(*_: object) -> None:
            finished = Draft(RunFinished(status="verified"))
            await supervisor.journal.runs.end("t", "run-t", finished, "verified")

        monkeypatch.setattr("graph.supervisor.check_ready", end)  # the moment at which it ended elsewhere
        with pytest.raises(RunnerError, match="nothing to resume: its last run ended as verified"):
            await supervisor.resume("t")
        assert (await supervisor.run("run-t")).status == "verified"
        thread = await supervisor.journal.threads.get("t")
        assert thread and thread.owner is None


@pytest.mark.parametrize(
    ("status", "cancelled", "reason"),
    [
        ("queued", True, "cancelled while it was queued"),
        ("waiting", True, "cancelled while nobody ran it"),
        ("running", True, "cancelled while nobody ran it"),
        ("cancelled", False, None),
        ("failed", False, None),
        ("verified", False, None),
        ("unverified", False, None),
        ("budget", False, None),
    ],
)
async def test_a_run_that_nobody_runs_is_cancelled_unless_it_has_ended(
    bench: Bench, status: str, cancelled: bool, reason: str | None
) -> None:
    async with bench.supervisor(foreground=True, enable_memory=False) as supervisor:
        await keep(supervisor, "t", status)
        assert await supervisor.cancel("t") is cancelled
        assert (await supervisor.run("run-t")).status == ("cancelled" if cancelled else status)
        events = await supervisor.journal.events.read("t")
    assert [event.data.reason for event in events if isinstance(event.data, RunFinished)] == (
        [reason] if reason else []
    )


@pytest.mark.parametrize("status", ["queued", "running", "waiting"])
async def test_an_unfinished_run_refuses_a_second_one_and_lets_it_queue(bench: Bench, status: str) -> None:
    settings = bench.settings(enable_memory=False, resume_on_start=False)
    async with Supervisor.open(settings) as supervisor:
        supervisor.queue.limit = 0
        await keep(supervisor, "t", status)
        with pytest.raises(ThreadBusy, match=f"unfinished run .*{status}"):
            await supervisor.submit(task(bench), "t")
        behind = await supervisor.submit(task(bench), "t", strategy="enqueue")
        assert behind.status == "queued"
        instead = await supervisor.submit(task(bench), "t", strategy="interrupt")
        rows = await supervisor.journal.runs.of_thread("t")
    assert [(row.id, row.status) for row in rows] == [
        (instead.id, "queued"), (behind.id, "cancelled"), ("run-t", "cancelled")
    ]  # fmt: skip


async def test_the_foreground_runs_its_own_run_and_nothing_else(bench: Bench) -> None:
    script(bench.desk)
    async with bench.supervisor(foreground=True) as supervisor:
        await keep(supervisor, "queued", "queued")
        await keep(supervisor, "orphan", "running")
    async with bench.supervisor(foreground=True) as supervisor:
        run = await supervisor.submit(task(bench), "mine")
        events = [event async for event in supervisor.watch(run)]
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        statuses = {row.id: row.status for row in await supervisor.journal.threads.all()}
    assert statuses == {"queued": "queued", "orphan": "running", "mine": "verified"}


async def test_the_foreground_stores_nothing_where_no_model_answers(bench: Bench) -> None:
    settings = bench.settings(local_llm_url="http://127.0.0.1:9/v1", enable_memory=False)
    async with Supervisor.open(settings, foreground=True) as supervisor:
        with pytest.raises(ModelError):
            await supervisor.submit(task(bench), "t")
        assert await supervisor.journal.threads.all() == []


async def test_a_run_of_the_foreground_that_is_left_is_cancelled_and_resumable(bench: Bench) -> None:
    bench.desk.on("You are a coder", "", delay=30, times=1)
    script(bench.desk)
    async with bench.supervisor(foreground=True) as supervisor:
        await supervisor.submit(task(bench), "t")
        await asyncio.to_thread(bench.desk.wait, 2)
    async with bench.supervisor(foreground=True) as supervisor:
        run = await supervisor.journal.runs.current("t")
        assert run and run.status == "cancelled"
        again = await supervisor.resume("t")
        assert again.id == run.id
        assert [event async for event in supervisor.watch(again)][-1].type == "run.finished"
        assert (await supervisor.run(run.id)).status == "verified"
