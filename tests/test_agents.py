"""Runs whose agents look, run and edit before they answer."""

import asyncio
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from runs import MUL, MULTIPLY, PLAN, TESTS, Bench, block, script

from graph.builder import build
from graph.event_log import open_journal
from graph.resources import open_resources
from memory.calls.tool_calls import StoredResult, ToolCallKey, ToolCalls
from sandbox.base import SandboxError

pytestmark = [pytest.mark.bubblewrap]

Call = tuple[str, dict[str, Any]]


def execute(command: str) -> Call:
    return ("execute", {"command": command})


def acts(bench: Bench, agent: str, *turns: list[Call]) -> None:
    """Let an agent call tools before the answer that `script` gives it."""
    for turn in turns:
        bench.desk.on(f"system: You are (the|a) {agent}", turn, times=1)


EDIT = (
    "edit_file",
    {"file_path": "calc.py", "old_string": "a + b\n", "new_string": f"a + b\n\n\n{MULTIPLY}\n"},
)


async def test_what_a_coders_tools_did_is_its_edit(bench: Bench) -> None:
    acts(
        bench,
        "coder",
        [execute("python -m pytest -q")],
        [EDIT, execute("python -m pytest -q; git diff --stat")],
    )
    script(bench.desk, coder="`mul` is there now.")
    run = await bench.run()
    assert run.end.status == "verified"
    calls = run.of("tool.call")
    assert [(call.name, call.exit_code) for call in calls] == [
        ("execute", 0),
        ("edit_file", None),
        ("execute", 0),
    ]
    assert calls[0].summary == "1 passed" and "calc.py" in bench.desk.requests[-4].prompt
    assert [file.path for file in run.of("edit")[0].files] == ["calc.py"]


def test_a_command_is_shown_while_it_runs_if_it_takes_long_and_again_later(bench: Bench) -> None:
    acts(bench, "coder", [execute("sleep 2.5"), execute("python -m pytest -q"), ("execute", {})])
    script(bench.desk)
    run = asyncio.run(bench.run())
    assert ["sleep 2.5"] in [data.command for data in run.of("sandbox.started") if data.what == "command"]
    shown = bench.autocode("show", run.thread).stdout
    assert "$ sleep 2.5 → " in shown and "$ python -m pytest -q → 1 passed, " in shown
    assert "execute → execute was called wrongly" in shown


async def test_each_call_is_a_task_below_the_node_of_its_agent(bench: Bench) -> None:
    acts(bench, "coder", [EDIT, execute("true")], [("find", {})])
    script(bench.desk, coder="It is there.")
    settings, tasks = bench.settings(), list[tuple[str, str, Any]]()
    async with (
        aclosing(await open_journal(settings)) as journal,
        open_resources(settings, journal, lambda line: None) as resources,
    ):
        part: Any
        async for part in build(resources, InMemorySaver()).astream(
            {"task": "Add mul", "repo": str(bench.repo.path)},
            {"configurable": {"thread_id": "streamed"}, "max_concurrency": 1},
            stream_mode=["tasks"],
            subgraphs=True,
            version="v2",
            durability="sync",
        ):
            if part["ns"] and "result" in part["data"]:
                node, data = part["ns"][0].partition(":")[0], part["data"]
                tasks.append((node, data["name"], data["result"]["exit_code"]))
    assert tasks == [("coder", "edit_file", None), ("coder", "execute", 0), ("coder", "unknown_tool", None)]


async def test_blocks_of_the_answer_come_on_top_of_what_the_tools_did(bench: Bench) -> None:
    acts(bench, "coder", [EDIT])
    script(bench.desk, coder=f"Notes too.\n{block('NOTES.md', 'mul multiplies')}")
    run = await bench.run()
    assert run.end.status == "verified"
    assert [file.path for file in run.of("edit")[0].files] == ["NOTES.md", "calc.py"]


async def test_what_a_planner_or_critic_changes_is_thrown_away(bench: Bench) -> None:
    acts(bench, "planner", [execute("echo x > planner.txt")])
    acts(bench, "critic", [execute("echo x > critic.txt; python -m pytest -q")])
    script(bench.desk)
    run = await bench.run()
    assert run.end.status == "verified"
    assert {file.path for edit in run.of("edit") for file in edit.files} == {"calc.py", "tests/test_mul.py"}
    assert run.of("tool.call")[-1].summary == "2 passed"


async def test_a_tester_tries_its_tests_out_and_what_it_did_to_the_code_is_left_out(bench: Bench) -> None:
    test = TESTS.partition("```python\n")[2].removesuffix("```")
    write = ("write_file", {"file_path": "tests/test_mul.py", "content": test})
    acts(
        bench,
        "tester",
        [write, execute("python -m pytest -q")],
        [execute("git diff base; echo '1/0' >> calc.py")],
    )
    script(bench.desk, tester="The tests are written.")
    run = await bench.run()
    assert run.end.status == "verified" and run.of("retry") == []
    assert run.of("tool.call")[1].summary == "2 passed"
    tester = [request.prompt for request in bench.desk.requests if "You are the tester" in request.prompt]
    assert "+def mul(a, b):" in tester[-1].rpartition("tool: ")[2]


async def test_a_loop_ends_and_says_so_before(bench: Bench) -> None:
    acts(bench, "coder", *[[execute(f"echo {number}")] for number in range(4)])
    script(bench.desk)
    run = await bench.run(settings={"max_agent_steps": 4})
    assert run.end.status == "verified" and len(run.of("tool.call")) == 4
    coder = [request.prompt for request in bench.desk.requests if "You are a coder" in request.prompt]
    assert "[3 more times you can call tools" in coder[1] and "Answer now" in coder[-1]


async def test_who_repeats_a_call_is_told_and_then_has_to_answer(bench: Bench) -> None:
    acts(bench, "coder", *[[execute("echo again")] for _ in range(3)])
    script(bench.desk)
    run = await bench.run()
    assert run.end.status == "verified"
    coder = [request.prompt for request in bench.desk.requests if "You are a coder" in request.prompt]
    assert "You have made this call before" in coder[2] and "Answer now" in coder[-1]


async def test_a_call_after_an_edit_is_no_repetition(bench: Bench) -> None:
    edits = [execute(f"echo '# {number}' >> calc.py") for number in range(3)]
    acts(bench, "coder", *[[edit, execute("true")] for edit in edits])
    script(bench.desk, coder=f"It is there.\n{block('more.py', 'x = 1')}\nIt prints:\n```\n3\n```")
    run = await bench.run()
    assert len(run.of("tool.call")) == 6 and not bench.desk.prompts(
        "You have made this call before|Answer now"
    )
    assert [file.path for file in run.of("edit")[0].files] == ["calc.py", "more.py"]


async def test_results_that_the_model_has_not_seen_are_never_shortened(bench: Bench) -> None:
    acts(bench, "coder", [execute(f"seq {number} 1000") for number in range(1, 9)], [execute("echo last")])
    script(bench.desk)
    run = await bench.run(settings={"context_tokens": 12_000})
    assert run.end.status in ("verified", "unverified")
    first, second = bench.desk.prompts("You are a coder.*seq")[:2]
    assert "(shortened:" not in first and "(shortened:" in second


async def test_a_conversation_only_grows_at_its_end(bench: Bench) -> None:
    acts(bench, "coder", [execute("ls")], [execute("cat calc.py")])
    script(bench.desk)
    await bench.run()
    coder = [request.messages for request in bench.desk.requests if "You are a coder" in request.prompt]
    for before, after in pairwise(coder):
        assert after[: len(before)] == before and len(after) > len(before)


async def test_a_coder_that_is_blocked_gets_its_step_again_after_the_merge(bench: Bench) -> None:
    plan = PLAN.replace(
        '"file": "calc.py"}',
        '"file": "calc.py", "parallel_group": 1},'
        ' {"agent": "coder", "description": "Use mul in area.py", "file": "area.py", "parallel_group": 1}',
    )
    bench.desk.on("Step: Use mul in area.py", "BLOCKED: there is no mul yet", times=1)
    area = block("area.py", "from calc import mul\n\n\ndef area(a, b):\n    return mul(a, b)")
    bench.desk.on("def mul.*You answered that another step must come first.*Step: Use mul", area)
    bench.desk.on("You are a coder.*Step: Add mul", MUL)
    script(bench.desk, planner=plan)
    run = await bench.run()
    assert run.end.status == "verified"
    assert {file.path for edit in run.of("edit") for file in edit.files} >= {"area.py", "calc.py"}


@pytest.mark.parametrize("warm_after", [0.0, 60.0])
@pytest.mark.parametrize("kill", [0, 1, 2])
async def test_after_a_crash_no_call_is_made_again_and_the_files_are_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, kill: int, warm_after: float
) -> None:
    acts(bench, "coder", [EDIT, execute("echo '# one' >> calc.py")], [execute("echo '# two' >> calc.py")])
    script(bench.desk, coder="It is done.")
    store, stored = ToolCalls.store, list[str]()

    async def crash(self: ToolCalls, key: ToolCallKey, result: StoredResult) -> None:
        await store(self, key, result)
        stored.append(key.name)
        if len(stored) == kill + 1:
            raise SandboxError("killed")  # after the result was stored, and before the model saw it

    monkeypatch.setattr(ToolCalls, "store", crash)
    # A busy machine opens the session of the resumed run before the stored calls are read.
    monkeypatch.setattr("nodes.agent.tool_runs.WARM_AFTER", warm_after)
    with pytest.raises(SandboxError, match="killed"):
        await bench.run(thread="crashed")
    run = await bench.resume("crashed")
    assert run.end.status == "verified", run.end
    assert stored == ["edit_file", "execute", "execute"]
    assert (
        len(bench.desk.prompts("You are a coder")) == 3
        and len(bench.desk.prompts("You are the planner")) == 1
    )
    text = bench.repo.git("show", f"{run.end.branch}:calc.py")
    assert text.endswith("return a * b\n# one\n# two")


async def test_a_replay_tells_the_model_what_it_was_told_and_makes_the_edit_again(
    bench: Bench, tmp_path: Path
) -> None:
    acts(bench, "coder", [EDIT, execute("date +%N")])
    script(bench.desk, coder="It is done.")
    tape = tmp_path / "tape.jsonl"
    alone = {"enable_memory": False}  # else the second run is told of the first
    first = await bench.run(settings={"llm_record": tape, **alone})
    again = await bench.run(settings={"llm_mode": "replay", "llm_cassette": tape, **alone})
    assert (first.end.status, again.end.status) == ("verified", "verified")
    assert not [data.message for data in again.of("error")] and len(again.of("tool.call")) == 2
    assert again.proof.tree == first.proof.tree


async def test_a_model_that_refuses_tools_is_asked_without_them(bench: Bench) -> None:
    bench.desk.on(
        r"(?s)You can call tools", status=400, error={"message": "this model does not support tools"}
    )
    script(bench.desk)
    run = await bench.run()
    assert run.end.status == "verified" and run.of("tool.call") == []


async def test_without_steps_no_tools_are_offered(bench: Bench) -> None:
    script(bench.desk)
    run = await bench.run(settings={"max_agent_steps": 0})
    assert run.end.status == "verified"
    assert not any("tools" in request.body for request in bench.desk.requests)


async def test_instructions_lie_beside_the_code_and_may_have_another_name(bench: Bench) -> None:
    bench.repo.commit({"lib/AGENTS.md": "Use tabs.", "CLAUDE.md": "Be brief.", "docs/AGENTS.md": "Rhyme."})
    plan = PLAN.replace('"file": "calc.py"', '"file": "lib/more.py"')
    script(bench.desk, planner=plan, coder=f"{MUL}\n{block('lib/more.py', 'x = 1')}")
    await bench.run()
    (coder,) = bench.desk.prompts("You are a coder")
    assert "Be brief." in coder and "Use tabs." in coder and "Rhyme." not in coder
