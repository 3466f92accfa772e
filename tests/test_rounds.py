"""Rounds of the debugger: each goes on with the conversation of the last one."""

from pathlib import Path
from typing import Any

import pytest
from desk import Request
from runs import BROKEN_MUL, CALC, MEND, MULTIPLY, TESTS, Bench, block, script

from memory.calls.tool_calls import StoredResult, ToolCallKey, ToolCalls
from sandbox.base import SandboxError

pytestmark = [pytest.mark.bubblewrap]

DEBUGGER = "system: You are the debugger"
LOOK = ("execute", {"command": "grep -n return calc.py"})
VAIN = f"I turned the operands round.\n{MEND.partition(chr(10))[2].replace('a * b', 'b - a')}"
AT_LAST = MEND.replace("-    return a - b", "-    return b - a")


def in_vain_first(bench: Bench, **replies: Any) -> None:
    """Let the debugger look, and mend the change only in its second round."""
    bench.desk.on(DEBUGGER, [LOOK], times=1)
    bench.desk.on(DEBUGGER, VAIN, times=1)
    bench.desk.on(DEBUGGER, [LOOK], times=1)
    script(bench.desk, coder=f"It does not round.\n{BROKEN_MUL}", debugger=AT_LAST, **replies)


def asked(bench: Bench) -> list[Request]:
    return [request for request in bench.desk.requests if "You are the debugger" in request.prompt]


async def test_a_second_round_goes_on_with_the_first(bench: Bench) -> None:
    in_vain_first(bench)
    run = await bench.run()
    assert run.end.status == "verified"
    looked, answered, again, last = asked(bench)
    assert again.messages[: len(answered.messages)] == answered.messages
    reply, news = again.messages[len(answered.messages) :]
    assert reply == {"role": "assistant", "content": VAIN}
    assert "It is not right yet" in news["content"] and "E       assert 1 == 12" in news["content"]
    assert "Step:" not in news["content"] and "others have changed" not in news["content"]
    assert last.messages[: len(again.messages)] == again.messages
    assert looked.messages[1]["content"].splitlines()[-1] == "Step: Add mul"


async def test_without_tools_a_round_goes_on_as_well(bench: Bench) -> None:
    bench.desk.on(DEBUGGER, VAIN, times=1)
    script(bench.desk, coder=BROKEN_MUL, debugger=AT_LAST)
    run = await bench.run(settings={"max_agent_steps": 0})
    assert run.end.status == "verified"
    first, second = asked(bench)
    assert [message["role"] for message in second.messages] == ["system", "user", "assistant", "user"]
    assert second.messages[:2] == first.messages


async def test_who_goes_on_after_a_review_is_told_what_others_have_changed(bench: Bench) -> None:
    right = f"{CALC['calc.py']}\n\n{MULTIPLY}\n"
    wanted = '{"verdict": "FAIL", "reasons": ["calc.py: mul wants a docstring"]}'
    bench.desk.on("system: You are the critic", wanted, times=1)
    bench.desk.on(DEBUGGER, block("calc.py", right), times=1)
    bench.desk.on("## Your earlier tests", TESTS)
    idle = "from calc import add\n\n\ndef test_more():\n    assert add(2, 2) == 4"
    said = right.replace("b):\n    return a *", 'b):\n    """Multiply."""\n    return a *')
    broken, idle = (block("calc.py", right.replace("a + b", "a - b")), block("tests/test_more.py", idle))
    script(bench.desk, coder=broken, tester=idle, debugger=block("calc.py", said))
    run = await bench.run()
    assert run.end.status == "verified"
    news = asked(bench)[-1].messages[-1]["content"]
    assert "The check is green now" in news and "- calc.py: mul wants a docstring" in news
    others = news.partition("## What others have changed since your last answer")[2]
    assert "+++ b/tests/test_mul.py" in others and "+++ b/calc.py" not in others


async def test_a_conversation_that_is_too_long_begins_anew(bench: Bench) -> None:
    in_vain_first(bench)
    run = await bench.run(settings={"context_tokens": 2_000})
    assert run.end.status == "verified"
    *_, last = asked(bench)
    assert "1. I turned the operands round. (calc.py)" in last.messages[1]["content"]
    assert [message["role"] for message in last.messages] == ["system", "user", "assistant", "tool"]


async def test_a_new_run_of_the_thread_begins_anew(bench: Bench) -> None:
    in_vain_first(bench)
    first = await bench.run()
    bench.desk.rules.clear()
    tests = TESTS.replace("mul", "sub").replace("sub(3, 4) == 12", "sub(4, 3) == 1")
    wrong = block("sub.py", "def sub(a, b):\n    return b - a")
    tests = tests.replace("from calc", "from sub")
    script(bench.desk, coder=wrong, tester=tests, debugger="NOT THE CHANGE: subtraction it is")
    await bench.run("Add sub", first.thread)
    assert [message["role"] for message in asked(bench)[-1].messages] == ["system", "user"]


async def test_after_a_crash_in_the_second_round_no_call_is_made_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_vain_first(bench)
    store = ToolCalls.store

    async def crash(calls: ToolCalls, key: ToolCallKey, result: StoredResult) -> None:
        await store(calls, key, result)
        if key.step_id == "debug-2":
            raise SandboxError("killed")

    monkeypatch.setattr(ToolCalls, "store", crash)
    with pytest.raises(SandboxError, match="killed"):
        await bench.run(thread="crashed")
    before = len(asked(bench))
    run = await bench.resume("crashed")
    assert run.end.status == "verified" and len(asked(bench)) == before + 1


async def test_a_tape_of_two_rounds_plays(bench: Bench, tmp_path: Path) -> None:
    in_vain_first(bench)
    tape = tmp_path / "tape.jsonl"
    alone = {"enable_memory": False}  # else the second run is told of the first
    first = await bench.run(settings={"llm_record": tape, **alone})
    again = await bench.run(settings={"llm_mode": "replay", "llm_cassette": tape, **alone})
    assert again.end.status == "verified" and again.proof.tree == first.proof.tree
    assert not [data.message for data in again.of("error")]


async def test_cases_that_fail_alike_are_shown_once(bench: Bench) -> None:
    cases = TESTS.replace("def test_mul():", "@pytest.mark.parametrize('n', range(3))\ndef test_mul(n):")
    tests = cases.replace("from calc", "import pytest\nfrom calc")
    script(bench.desk, coder=BROKEN_MUL.replace("a - b", "a * c"), tester=tests, debugger="NOT THE CHANGE: c")
    await bench.run()
    (prompt,) = [request.prompt for request in asked(bench)]
    assert prompt.count("E       NameError: name 'c' is not defined") == 1
    assert prompt.count("] fails in the same way") == 2
