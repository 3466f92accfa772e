"""Options that a run was given are the thread's defaults, until another run is given others."""

import json
from typing import Any

import pytest
from runs import Bench, script

from graph.run_request import merge_options
from memory.records.runs import RunRow

LIMITED = {"approve_plan": True, "max_cost_usd": 0.5}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, LIMITED),
        ({"max_cost_usd": 2.0}, {"approve_plan": True, "max_cost_usd": 2.0}),
        ({"approve_plan": False}, {"approve_plan": False, "max_cost_usd": 0.5}),
        ({"max_cost_usd": None}, {"approve_plan": True}),
        ({"auto_approve": True}, LIMITED | {"auto_approve": True}),
    ],
)
def test_a_given_option_wins_and_null_removes_one(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert merge_options(LIMITED, given) == expected


def test_who_asks_for_the_plan_is_not_answered_by_an_earlier_yes() -> None:
    assert merge_options({"auto_approve": True}, {"approve_plan": True}) == {"approve_plan": True}
    both = {"approve_plan": True, "auto_approve": True}
    assert merge_options({}, both) == both


async def test_options_hold_for_the_next_runs_of_a_thread_and_of_its_forks(bench: Bench) -> None:
    script(bench.desk)
    async with bench.supervisor() as supervisor:

        async def planned(thread: str, **options: Any) -> RunRow:
            given: Any = {"task": "Add mul", "repo": str(bench.repo.path), "options": options}
            run = await supervisor.wait((await supervisor.submit(given, thread)).id)
            await supervisor.cancel(thread)
            return run

        first = await planned("t", approve_plan=True, max_tokens=90_000)
        again = await planned("t")
        assert (first.status, again.status) == ("waiting", "waiting")
        assert again.input["options"] == first.input["options"]
        fewer = await planned("t", max_tokens=80_000)
        assert fewer.status == "waiting" and fewer.input["options"]["max_tokens"] == 80_000
        fork = await supervisor.history.fork("t")
        await supervisor.cancel(fork)
        unlimited = await planned(fork, max_tokens=None)
        assert unlimited.status == "waiting" and unlimited.input["options"]["max_tokens"] is None
        other = await planned("other", max_tokens=10)
        assert other.status == "budget"


def test_the_command_line_continues_threads_that_exist_and_their_options(bench: Bench) -> None:
    script(bench.desk)
    none_yet = bench.autocode("run", "Add mul", "--repo", str(bench.repo.path), "--thread", "nosuch")
    assert none_yet.exit_code == 2 and "there are none yet" in none_yet.stderr
    assert bench.autocode("run", "Add mul", "--repo", str(bench.repo.path), "--approve-plan").exit_code == 3
    (thread,) = [row["id"] for row in json.loads(bench.autocode("threads", "--json").stdout)]
    assert bench.autocode("cancel", thread[:6]).exit_code == 0

    refused = bench.autocode("run", "Add mul", "--thread", "nosuch")
    assert refused.exit_code == 2 and "there is no thread nosuch" in refused.stderr
    assert thread in refused.stderr and "Leave out --thread" in refused.stderr
    assert len(json.loads(bench.autocode("threads", "--json").stdout)) == 1

    waiting = bench.autocode("run", "Add mul", "--thread", "last")  # in the thread's repository
    assert waiting.exit_code == 3 and f"autocode resume {thread}" in waiting.stderr
    assert bench.autocode("cancel", "last").exit_code == 0
    done = bench.autocode("run", "Add mul", "--thread", thread[:6], "--no-approve-plan")
    assert done.exit_code == 0, done.output
    bench.name_thread(f"{thread[:6]}zz")
    ambiguous = bench.autocode("show", thread[:6])
    assert ambiguous.exit_code == 2 and "names 2 threads" in ambiguous.stderr
    assert bench.autocode("show", "last").exit_code == 0
