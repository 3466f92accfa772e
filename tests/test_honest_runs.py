"""Whole runs whose proof is weak: what goes to which agent, what is verified, and what the user reads."""

import json
from typing import Any

import pytest
from runs import BROKEN_MUL, CALC, MUL, TESTS, Bench, block, script

FLASK = "import flask\n\n\ndef test_app():\n    assert flask\n"
SORTING = block("conftest.py", "def pytest_collection_modifyitems(items):\n    items.sort(key=str)")


@pytest.fixture
def mutants(bench: Bench) -> None:
    """Switch on what the small project switches off."""
    bench.repo.commit({".autocode.toml": ""})


def verdict(**answers: Any) -> str:
    return json.dumps({"verdict": "PASS", "reasons": [], **answers})


async def test_a_red_that_the_base_shows_too_is_no_work_for_the_debugger(bench: Bench) -> None:
    bench.repo.commit({"tests/conftest.py": "import flask\n"})
    script(bench.desk)
    run = await bench.run()
    assert run.nodes() == ["planner", "coder", "tester", "sandbox", "commit"]
    assert run.end.status == "unverified" and run.proof.base_shows_it
    assert "flask" in (run.end.reason or "")
    assert "the base fails in the same way" in run.end.missing[1]
    assert "own tests run in the sandbox first" in run.summary.advice


async def test_a_module_that_cannot_be_imported_and_tests_the_change_is_a_gap(bench: Bench) -> None:
    bench.repo.commit({"tests/test_app.py": "from calc import add\n" + FLASK})
    script(bench.desk)
    run = await bench.run()
    assert run.nodes() == ["planner", "coder", "tester", "sandbox", "commit"]
    assert run.end.status == "unverified" and run.of("check")[-1].green
    assert "tests/test_app.py" in (run.end.reason or "") and "flask" in (run.end.reason or "")
    assert run.of("check")[-1].gaps == run.end.missing


async def test_a_module_that_cannot_be_imported_is_named_to_critic_and_user(bench: Bench) -> None:
    bench.repo.commit({"tests/test_app.py": FLASK})
    script(bench.desk)
    run = await bench.run()
    assert run.end.status == "verified"
    (prompt,) = bench.desk.prompts("You are the critic")
    (weakness,) = run.summary.weaknesses
    assert weakness.startswith("Not imported: tests/test_app.py could not be imported: ")
    assert "Cannot be imported before and after the change: tests/test_app.py (" in prompt
    assert "tests are green" not in prompt
    assert "1 test module could not be imported" in run.summary.figures
    message = bench.repo.git("log", "-1", "--format=%B", f"autocode/{run.thread}")
    assert "Autocode-Weakness: Not imported: tests/test_app.py" in message


async def test_the_debugger_sees_what_is_not_its_own(bench: Bench) -> None:
    bench.repo.commit(
        {"tests/test_old.py": "def test_old():\n    assert False\n", "tests/test_app.py": FLASK}
    )
    script(bench.desk, coder=BROKEN_MUL)
    run = await bench.run()
    assert run.end.status == "verified"
    (prompt,) = bench.desk.prompts("You are the debugger")
    assert "- tests.test_old::test_old fails on the base as well: not yours" in prompt
    assert "- tests/test_app.py cannot be imported on the base as well" in prompt
    assert (
        "tests.test_old"
        not in prompt.partition("Output of the failing cases")[2].partition("## What the base")[0]
    )


async def test_suspicions_are_verified_with_their_answers_and_not_without(bench: Bench) -> None:
    script(bench.desk, coder=f"{MUL}\n{SORTING}", critic=verdict(suspicions={"1": "It only sorts."}))
    run = await bench.run()
    assert run.end.status == "verified"
    assert run.summary.headline == "Verified, with 1 suspicion"
    assert run.proof.suspicious[0].answer == "It only sorts."
    (prompt,) = bench.desk.prompts("You are the critic")
    assert "1. conftest.py:1: " in prompt
    bench.desk.rules.clear()
    script(bench.desk, coder=f"{MUL}\n{SORTING}", critic=verdict(suspicions={"2": "It only sorts."}))
    silent = await bench.run()
    assert silent.end.status == "unverified" and silent.nodes()[-2:] == ["critic", "commit"]
    assert "conftest.py:1: " in bench.desk.prompts("You are the critic.*could not be used")[-1]
    assert "suspicious and without an answer: conftest.py:1" in (silent.end.reason or "")


async def test_the_users_notes_can_be_quoted_like_the_task(bench: Bench) -> None:
    changed = CALC["tests/test_calc.py"].replace("== 3", "== -1")
    script(
        bench.desk,
        coder=block("calc.py", "def add(a, b):\n    return a - b"),
        tester=block("tests/test_calc.py", changed)
        + "\n"
        + block(
            "tests/test_less.py", "from calc import add\n\n\ndef test_less():\n    assert add(5, 2) == 3"
        ),
        critic=verdict(demanded={"tests/test_calc.py::test_add": "add should subtract from now on"}),
    )
    parked = await bench.run("Change calc", options={"approve_plan": True})
    (asked,) = parked.of("approval.required")
    async with bench.supervisor() as supervisor:
        await supervisor.log.note(parked.thread, "add should subtract from now on, please")
    run = await bench.resume(parked.thread, {asked.id: {"decision": "approve"}})
    assert run.end.status == "verified"
    assert list(run.proof.demanded) == ["tests.test_calc::test_add"]


UNGUARDED = MUL.replace("+1,6 @@", "+1,10 @@").replace(
    "+    return a * b", "+    return a * b\n+\n+\n+def power(a):\n+    return a * a"
)
GUARD = block(
    "tests/test_power.py", "from calc import power\n\n\ndef test_power():\n    assert power(3) == 9"
)


@pytest.mark.usefixtures("mutants")
async def test_lines_that_no_test_guards_go_to_the_tester_once(bench: Bench) -> None:
    bench.desk.on("You are the tester.*No test notices", GUARD)
    script(bench.desk, coder=UNGUARDED)
    run = await bench.run()
    assert run.nodes() == [
        *("planner", "coder", "tester", "sandbox", "tester", "sandbox", "critic", "commit"),
    ]
    assert run.end.status == "verified" and run.summary.weaknesses == []
    assert run.proof.fail_to_pass == ["tests.test_mul::test_mul", "tests.test_power::test_power"]
    prompt = bench.desk.prompts("You are the tester")[1]
    assert "calc.py 10" in prompt and "power()" in prompt


@pytest.mark.usefixtures("mutants")
@pytest.mark.parametrize(
    ("reply", "calls", "check"),
    [
        ("NO TESTS: power() is too simple", 2, []),
        ("I would rather not.", 3, []),
        (TESTS, 2, []),
        (GUARD.replace("== 9", "== 10"), 2, ["sandbox"]),
    ],
)
async def test_the_round_for_unguarded_lines_never_costs_the_result(
    bench: Bench, reply: str, calls: int, check: list[str]
) -> None:
    bench.desk.on("You are the tester.*No test notices", reply)
    script(bench.desk, coder=UNGUARDED)
    run = await bench.run()
    assert run.nodes() == ["planner", "coder", "tester", "sandbox", "tester", *check, "critic", "commit"]
    assert run.end.status == "verified" and run.of("check")[-1].green
    assert len(bench.desk.prompts("You are the tester")) == calls
    (weakness,) = run.summary.weaknesses
    # A mutant of the line that a busy machine gives no time is left out.
    assert weakness.startswith("Unguarded: calc.py 10: no test notices when ")
    (prompt,) = bench.desk.prompts("You are the critic")
    assert weakness in prompt
    assert ("Further tests were left out" in prompt) is bool(check)
    assert "tests/test_power.py" not in bench.repo.names(f"autocode/{run.thread}")
