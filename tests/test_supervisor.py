"""Runs in the background of a process: queued, followed, stopped, taken up again by another process."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from runs import Bench, script

from graph.errors import InputError
from graph.events import Event
from graph.supervisor import Supervisor
from memory.journal import ThreadBusy


def task(bench: Bench, **more: Any) -> Any:
    return {"task": "Add mul", "repo": str(bench.repo.path), **more}


async def told(supervisor: Supervisor, thread: str, run: str, after: int = 0) -> list[Event]:
    return [event async for event in supervisor.follow(thread, after, run)]


async def test_a_run_goes_on_while_nobody_listens_and_late_readers_get_it_all(bench: Bench) -> None:
    script(bench.desk)
    async with Supervisor.open(bench.settings()) as supervisor:
        run = await supervisor.submit(task(bench), "t")
        assert run.status == "running"
        async with aclosing(supervisor.follow("t")) as early:  # type: ignore[type-var]
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
    async with Supervisor.open(bench.settings()) as supervisor:
        first = await supervisor.submit(task(bench), "t")
        await asyncio.to_thread(bench.desk.wait, 2)
        with pytest.raises(ThreadBusy, match="unfinished run"):
            await supervisor.submit(task(bench), "t")
        queued = await supervisor.submit(task(bench), "t", strategy="enqueue")
        assert queued.status == "queued"
        last = await supervisor.submit(task(bench), "t", strategy="interrupt")
        assert (await supervisor.wait(last.id)).status == "verified"
        rows = await supervisor.journal.runs("t")
    assert [(row.id, row.status) for row in rows] == [
        (last.id, "verified"), (queued.id, "cancelled"), (first.id, "cancelled")
    ]  # fmt: skip


async def test_what_cannot_be_used_is_refused_before_anything_is_written(bench: Bench) -> None:
    async with Supervisor.open(bench.settings()) as supervisor:
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
        assert await supervisor.journal.threads() == []
