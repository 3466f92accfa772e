"""A time limit stops what is running: a model that answers slowly, a command of an agent, a check."""

from typing import Any

import pytest
from runs import MUL, TESTS, Bench, script

LIMIT, LATE = 6.0, 3.0
"""Seconds of a run, and how late it may end on a busy machine."""

SLOW_TEST = TESTS.replace("    assert", "    __import__('time').sleep(25)\n    assert")
SLEEP = [("execute", {"command": "sleep 25"})]


@pytest.mark.parametrize(
    ("agent", "rule", "resumed"),
    [
        ("coder", {"reply": MUL, "delay": 25.0}, "verified"),
        ("coder", {"reply": SLEEP}, "verified"),
        ("tester", {"reply": SLOW_TEST}, None),
    ],
    ids=["model", "command", "check"],
)
async def test_what_runs_is_stopped_in_time_and_goes_on_with_more(
    bench: Bench, agent: str, rule: dict[str, Any], resumed: str | None
) -> None:
    bench.desk.on(f"You are (the|a) {agent}", **rule, times=1)
    script(bench.desk)
    async with bench.supervisor(foreground=True) as supervisor:
        asks: Any = {"task": "Add mul", "repo": str(bench.repo.path), "options": {"max_run_seconds": LIMIT}}
        run = await supervisor.submit(asks, "t")
        events = [event async for event in supervisor.watch(run)]
        end = events[-1].data
        assert (end.status, end.reason) == ("budget", "the budget is spent: 6 of 6 seconds")  # type: ignore[attr-defined]
        assert (await supervisor.run(run.id)).seconds < LIMIT + LATE
        assert any(event.node == ("coder" if resumed else "sandbox") for event in events)
        if resumed:
            await supervisor.resume("t", limits={"max_run_seconds": 100})
            events = [event async for event in supervisor.watch(run, len(events))]
            assert events[-1].data.status == resumed  # type: ignore[attr-defined]


async def test_the_build_of_an_environment_is_stopped_before_a_model_is_paid(bench: Bench) -> None:
    bench.repo.commit({".autocode.toml": "[environment]\nsetup = ['sleep 25']\n"})
    script(bench.desk)
    async with bench.supervisor(foreground=True, environment_approval="auto") as supervisor:
        asks: Any = {"task": "Add mul", "repo": str(bench.repo.path), "options": {"max_run_seconds": LIMIT}}
        run = await supervisor.submit(asks, "t")
        events = [event async for event in supervisor.watch(run)]
        assert events[-1].data.status == "budget"  # type: ignore[attr-defined]
        assert any(event.type == "environment" for event in events)
        assert not bench.desk.requests
        assert (await supervisor.run(run.id)).seconds < LIMIT + LATE
