"""Whole runs: real git, real sandbox, a scripted model; what is delivered, and what is never called done."""

import json

import pytest
from desk import Request, Rule
from runs import BROKEN_MUL, CALC, MEND, MUL, MULTIPLY, PLAN, TESTS, Bench, block, script

from graph.errors import RunnerError
from nodes.check import NoSuite
from nodes.events import FilesEdited, Retried
from tools.workspace import WorkspaceError


async def test_a_task_becomes_a_verified_branch_with_its_proof(bench: Bench) -> None:
    script(bench.desk)
    before = bench.repo.fingerprint()
    run = await bench.run("Add mul\n\nIt multiplies.")
    assert run.nodes() == ["planner", "coder", "tester", "sandbox", "critic", "commit"]
    assert (run.end.status, run.end.missing) == ("verified", [])
    assert bench.repo.fingerprint() == before
    branch = f"autocode/{run.thread}"
    assert run.end.branch == branch
    message = bench.repo.git("log", "-1", "--format=%B", branch)
    tree = bench.repo.git("rev-parse", f"{branch}^{{tree}}")
    assert message.startswith("Add mul\n\nIt multiplies.\n\nAutocode-Run: ")
    assert f"Autocode-Tree: {tree}\nAutocode-Verified: 2/2" in message
    assert bench.repo.git("log", "-1", "--format=%an/%cn", branch) == "Ursula/AutoCodeAI"
    assert bench.repo.git("rev-list", "--count", f"main..{branch}") == "1"
    note = json.loads(bench.repo.git("notes", "--ref=autocode", "show", branch))
    assert (note["tree"], note["exit_code"], note["verdict"]) == (tree, 0, "PASS")
    assert {case["id"]: (case["base"], case["head"]) for case in note["cases"]} == {
        "tests.test_calc::test_add": ("passed", "passed"),
        "tests.test_mul::test_mul": ("error", "passed"),
    }


async def test_a_red_check_goes_to_the_debugger_with_the_failing_output(bench: Bench) -> None:
    script(bench.desk, coder=BROKEN_MUL)
    run = await bench.run()
    assert run.nodes() == ["planner", "coder", "tester", "sandbox", "debugger", "sandbox", "critic", "commit"]
    assert run.end.status == "verified"
    (prompt,) = bench.desk.prompts("You are the debugger")
    assert "assert mul(3, 4) == 12" in prompt and "E       assert -1 == 12" in prompt


async def test_a_model_that_always_says_pass_delivers_nothing_red(bench: Bench) -> None:
    script(bench.desk, coder=BROKEN_MUL, debugger="PASS", critic="PASS")
    run = await bench.run()
    assert run.end.status == "unverified"
    assert run.end.branch == f"autocode/{run.thread}-unverified"
    assert any("test_mul" in reason for reason in run.end.missing)
    assert "Autocode-Verified" not in bench.repo.git("log", "-1", "--format=%B", run.end.branch)
    assert bench.desk.prompts("You are the critic") == []


async def test_debugging_ends_after_its_rounds(bench: Bench) -> None:
    rounds = iter("+/%^")

    def other_mistake(request: Request) -> str:
        operator = next(rounds)
        return block("calc.py", f"{CALC['calc.py']}\n\n{MULTIPLY.replace('*', operator)}")

    script(bench.desk, coder=BROKEN_MUL)
    bench.desk.rules.insert(0, Rule("You are the debugger", other_mistake))
    run = await bench.run(options={"max_debug_rounds": 2})
    assert run.nodes().count("debugger") == 2
    assert run.end.status == "unverified"


@pytest.mark.parametrize(("repair", "rounds"), [("I see nothing wrong.", 1), (BROKEN_MUL, 2)])
async def test_a_repair_in_vain_ends_debugging_early(bench: Bench, repair: str, rounds: int) -> None:
    script(bench.desk, coder=BROKEN_MUL, debugger=repair)
    run = await bench.run()
    assert run.nodes().count("debugger") == rounds
    assert any("changed nothing" in reason for reason in run.end.missing)
    assert "test_mul" in (run.end.reason or "") and "changed nothing" not in (run.end.reason or "")


async def test_tests_that_pass_without_the_change_are_asked_for_once_more(bench: Bench) -> None:
    vacuous = block(
        "tests/test_more.py", "from calc import add\n\n\ndef test_more():\n    assert add(2, 2) == 4"
    )
    bench.desk.on("You are the tester.*Your earlier tests.*tests.test_more::test_more", TESTS)
    script(bench.desk, tester=vacuous)
    run = await bench.run()
    assert run.nodes() == [
        "planner", "coder", "tester", "sandbox", "tester", "sandbox", "critic", "commit"
    ]  # fmt: skip
    assert run.end.status == "verified"
    assert run.proof.vacuous == ["tests.test_more::test_more"]
    assert run.proof.fail_to_pass == ["tests.test_mul::test_mul"]


async def test_without_a_test_that_fails_on_the_base_nothing_is_verified(bench: Bench) -> None:
    vacuous = "### tests/test_more.py\n```python\ndef test_more():\n    assert True\n```"
    script(bench.desk, tester=vacuous)
    run = await bench.run()
    assert run.end.status == "unverified"
    assert any("no new test fails on the base" in reason for reason in run.end.missing)


async def test_the_tester_may_say_why_nothing_can_be_tested(bench: Bench) -> None:
    consent = '{"verdict": "PASS", "reasons": [], "no_tests": "agree"}'
    words = "NO TESTS: only words have changed"
    script(bench.desk, coder=block("README.md", "Hello"), tester=words, critic=consent)
    run = await bench.run("Write a README")
    assert run.end.status == "verified"
    assert (run.proof.untestable, run.proof.consent) == ("only words have changed", True)
    assert run.proof.fail_to_pass == []
    (prompt,) = bench.desk.prompts("You are the critic")
    assert "only words have changed" in prompt and '"no_tests"' in prompt
    assert run.summary.headline == "Verified, but no test was added"
    assert run.summary.weaknesses == ["No test was added: only words have changed (the critic agrees)"]
    message = bench.repo.git("log", "-1", "--format=%B", f"autocode/{run.thread}")
    assert "Autocode-Weakness: No test was added: only words have changed (the critic agrees)\n" in message


async def test_a_critic_that_is_silent_on_no_tests_is_asked_once_more_and_verifies_nothing(
    bench: Bench,
) -> None:
    script(bench.desk, coder=block("README.md", "Hello"), tester="NO TESTS: only words have changed")
    run = await bench.run("Write a README")
    assert run.end.status == "unverified"
    assert "has not agreed that no test is possible" in (run.end.reason or "")
    assert len(bench.desk.prompts("You are the critic")) == 2
    assert bench.desk.prompts("You are the debugger") == []


async def test_a_critic_that_wants_a_test_sends_the_task_back_to_the_tester(bench: Bench) -> None:
    bench.repo.commit({".autocode.toml": ""})  # mutants tell that no test guards the change
    disagree = '{"verdict": "PASS", "reasons": [], "no_tests": "disagree: mul(3, 4) is 12"}'
    bench.desk.on("You are the critic", disagree, times=1)
    bench.desk.on("You are the tester.*The critic wants a test.*mul\\(3, 4\\) is 12", TESTS)
    script(bench.desk, tester="NO TESTS: it is too simple")
    run = await bench.run()
    first, guards, *_ = bench.desk.prompts("You are the tester")
    assert "calc.py:6 `*` becomes `/`" in first.split("## What your tests should notice")[1]
    assert "## What your tests should notice" not in guards
    # The tester is asked about the lines that no test guards before the critic is.
    assert run.nodes() == [
        *("planner", "coder", "tester", "sandbox", "tester", "critic"),
        *("tester", "sandbox", "critic", "commit"),
    ]
    assert [verdict.verdict for verdict in run.of("verdict")] == ["FAIL", "PASS"]
    assert run.end.status == "verified" and run.summary.weaknesses == []


async def test_a_debugger_may_say_that_a_failure_is_not_the_changes(bench: Bench) -> None:
    diagnosis = "I looked at it.\n\n**NOT THE CHANGE:** the sandbox has no network.\n"
    script(bench.desk, coder=BROKEN_MUL, debugger=diagnosis)
    run = await bench.run()
    assert run.nodes() == ["planner", "coder", "tester", "sandbox", "debugger", "commit"]
    assert len(bench.desk.prompts("You are the debugger")) == 1
    assert run.end.status == "unverified"
    assert "failed" in run.end.missing[0] and "the sandbox has no network." in run.end.missing[1]
    assert run.proof.not_the_change == "the sandbox has no network."
    assert not any("changed nothing" in reason for reason in run.end.missing)


SUBTRACT = {
    "calc.py": "def add(a, b):\n    return a - b\n",
    "tests/test_calc.py": "from calc import add\n\n\ndef test_add():\n    assert add(1, 2) == -1\n",
}


@pytest.mark.parametrize(
    ("key", "quote", "status", "asked"),
    [
        ("tests.test_calc::test_add", "Let add() subtract its second argument", "verified", 1),
        ("tests/test_calc.py::test_add", "let ADD() subtract its  second argument.", "verified", 1),
        ("tests.test_calc::test_add", "The test was wrong before", "unverified", 2),
        ("tests.test_calc::test_other", "Let add() subtract its second argument", "unverified", 2),
    ],
)
async def test_what_the_base_tests_contradict_needs_a_sentence_of_the_task(
    bench: Bench, key: str, quote: str, status: str, asked: int
) -> None:
    reply = json.dumps({"verdict": "PASS", "reasons": [], "demanded": {key: quote}})
    tests = block("tests/test_calc.py", SUBTRACT["tests/test_calc.py"])
    more = block(
        "tests/test_less.py", "from calc import add\n\n\ndef test_less():\n    assert add(5, 2) == 3"
    )
    script(
        bench.desk,
        coder=block("calc.py", SUBTRACT["calc.py"]),
        tester=f"{tests}\n{more}",
        critic=reply,
        debugger="NOT THE CHANGE: the task wants it",
    )
    run = await bench.run("Let add() subtract its second argument.")
    assert (run.end.status, len(bench.desk.prompts("You are the critic"))) == (status, asked)
    (weak,) = [text for text in run.summary.weaknesses if text.startswith("Contradicted")]
    error = run.proof.old_errors["tests.test_calc::test_add"]
    assert error.startswith("assert -1 == 3") and error in weak
    assert f"1. tests.test_calc::test_add: {error}" in bench.desk.prompts("You are the critic")[0]
    if status == "verified":
        assert f"the task demands it: “{' '.join(quote.split())}”" in weak
    else:
        again = bench.desk.prompts("You are the critic")[1]
        assert "no sentence of the task demands that tests.test_calc::test_add fails now" in again
        misquoted = f"these words stand nowhere in the task: {quote}"
        assert (misquoted in again) is (quote == "The test was wrong before")
        assert "no sentence of the task demands" in run.end.missing[0]
        assert "the task wants it" in run.end.missing[1]


async def test_a_fail_of_the_critic_goes_back_with_its_reasons(bench: Bench) -> None:
    bench.desk.on("You are the critic", '{"verdict": "FAIL", "reasons": ["calc.py: no docstring"]}', times=1)
    documented = MEND.replace("return a - b", "return a * b").replace(
        "+    return a * b", '+    """Multiply."""\n+    return a * b'
    )
    script(bench.desk, debugger=documented)
    run = await bench.run()
    assert [verdict.verdict for verdict in run.of("verdict")] == ["FAIL", "PASS"]
    assert run.end.status == "verified"
    assert "- calc.py: no docstring" in bench.desk.prompts("You are the debugger")[0]
    assert '"""Multiply."""' in bench.repo.show(f"autocode/{run.thread}", "calc.py")


async def test_what_the_critic_never_passes_is_not_verified(bench: Bench) -> None:
    changes = iter(range(9))

    def touch(request: Request) -> str:
        return f"### notes{next(changes)}.txt\n```\nmore\n```"

    script(bench.desk, critic='{"verdict": "FAIL", "reasons": ["I do not like it"]}')
    bench.desk.rules.insert(0, Rule("You are the debugger", touch))
    run = await bench.run()
    assert len(run.of("verdict")) == 3
    assert run.end.missing == ["the critic: I do not like it"]
    assert run.end.status == "unverified"


async def test_an_unusable_plan_goes_back_once_then_one_step_carries_the_task(bench: Bench) -> None:
    script(bench.desk, planner="I would start by reading the code.")
    run = await bench.run("Add mul")
    (plan,) = run.of("plan")
    assert plan.fallback and [step["description"] for step in plan.plan["steps"]] == ["Add mul"]
    assert "could not be used" in bench.desk.prompts("You are the planner")[1]
    assert run.end.status == "verified"


async def test_steps_that_come_with_the_task_are_carried_out_as_given_and_only_once(bench: Bench) -> None:
    script(bench.desk)
    steps = [{"agent": "coder", "description": "Add mul as they want it", "file": "calc.py"}]
    run = await bench.run(steps=steps)
    assert run.end.status == "verified" and not bench.desk.prompts("You are the planner")
    assert run.of("plan")[0].plan["steps"][0]["description"] == "Add mul as they want it"
    await bench.run(thread=run.thread)
    assert len(bench.desk.prompts("You are the planner")) == 1
    with pytest.raises(RunnerError, match=r"steps\.0\.description"):
        await bench.run(steps=[{"agent": "coder", "description": " "}])


async def test_a_diff_that_does_not_apply_goes_back_with_the_nearest_text(bench: Bench) -> None:
    bench.desk.on("You are a coder.*could not be used", MUL)
    script(bench.desk, coder=MUL.replace("return a + b", "return sum([first, second])"))
    run = await bench.run()
    assert run.end.status == "verified"
    again = bench.desk.prompts("You are a coder")[1]
    assert (
        "calc.py" in again.split("could not be used")[1]
        and "return a + b" in again.split("could not be used")[1]
    )
    assert [retry.reason.startswith("unusable reply") for retry in run.of("retry")] == [True]


async def test_a_step_that_fails_does_not_end_the_run_and_is_never_verified(bench: Bench) -> None:
    plan = {
        "explanation": "Three",
        "steps": [
            {"agent": "coder", "description": "Break down", "file": "other.py", "parallel_group": 1},
            {"agent": "coder", "description": "Add mul to calc.py", "file": "calc.py", "parallel_group": 1},
            {"agent": "coder", "description": "Build on it", "file": "other.py", "parallel_group": 2},
        ],
    }
    bench.desk.on("Step: Break down", "I cannot.")
    script(bench.desk, planner=json.dumps(plan))
    run = await bench.run()
    assert run.end.status == "unverified"
    assert [missing.partition(":")[0] for missing in run.end.missing] == ["step s1 failed", "step s3 failed"]
    assert "not run" in run.end.missing[1]
    assert bench.desk.prompts("Step: Build on it") == []
    assert run.of("check")[-1].green


async def test_a_step_may_find_that_nothing_is_to_be_changed(bench: Bench) -> None:
    step = {"agent": "coder", "description": "Mention it", "file": "tests/test_calc.py"}
    plan = json.loads(PLAN)
    plan["steps"].append(step)
    bench.desk.on("Step: Mention it", "NO CHANGE: there is nothing to mention")
    script(bench.desk, planner=json.dumps(plan))
    run = await bench.run()
    assert run.end.status == "verified"


async def test_of_a_long_file_the_tester_sees_what_is_around_the_change(bench: Bench) -> None:
    filler = "".join(f"def unrelated_{n}():\n    return {n}\n\n\n" for n in range(1500))
    bench.repo.commit({"calc.py": filler + CALC["calc.py"]})
    script(bench.desk)
    run = await bench.run(settings={"enable_memory": False})  # an index of so many functions takes long
    assert run.end.status == "verified"
    (prompt,) = bench.desk.prompts("You are the tester")
    assert " def add(a, b):" in prompt and "def unrelated_1400" not in prompt


async def test_parallel_steps_merge_and_a_conflict_is_redone_alone(bench: Bench) -> None:
    plan = {
        "explanation": "Two on one file",
        "steps": [
            {"agent": "coder", "description": "Add mul to calc.py", "file": "calc.py", "parallel_group": 1},
            {"agent": "coder", "description": "Add sub to calc.py", "file": "calc.py", "parallel_group": 1},
        ],
    }
    sub = MUL.replace("mul", "sub").replace("a * b", "a - b")
    both = (
        "### calc.py\n```python\n"
        + CALC["calc.py"]
        + ("\n\ndef mul(a, b):\n    return a * b\n\n\ndef sub(a, b):\n    return a - b\n```")
    )
    bench.desk.on("Step: Add sub.*", "", times=0)
    bench.desk.on("did not merge.*Step: Add sub", both).on("Step: Add sub", sub)
    script(bench.desk, planner=json.dumps(plan))
    run = await bench.run()
    assert run.end.status == "verified"
    assert run.nodes().count("coder") == 3
    (redo,) = bench.desk.prompts("did not merge")
    assert "def mul(a, b):" in redo and "<<<<<<<" in redo
    assert "def sub" in bench.repo.show(f"autocode/{run.thread}", "calc.py")


@pytest.mark.parametrize("parallel", [True, False])
async def test_steps_of_a_group_run_at_once_unless_that_is_switched_off(bench: Bench, parallel: bool) -> None:
    steps = [
        {"agent": "coder", "description": f"Write part {n}", "file": f"part{n}.py", "parallel_group": 1}
        for n in range(3)
    ]
    for n in range(3):
        bench.desk.on(f"Step: Write part {n}", f"### part{n}.py\n```python\nN = {n}\n```", delay=0.3)
    script(
        bench.desk,
        planner=json.dumps({"explanation": "", "steps": steps}),
        tester=block("tests/test_parts.py", "import part0\n\n\ndef test_it():\n    assert part0.N == 0"),
    )
    run = await bench.run(settings={"enable_parallel_execution": parallel, "max_parallel_workers": 2})
    assert run.end.status == "verified"
    assert bench.desk.max_in_flight == (2 if parallel else 1)


async def test_the_plan_waits_for_a_human_and_an_edit_is_what_is_done(bench: Bench) -> None:
    script(bench.desk)
    parked = await bench.run(options={"approve_plan": True})
    assert parked.end.status == "waiting"
    (asked,) = parked.of("approval.required")
    assert asked.request["kind"] == "plan" and asked.request["plan"]["steps"][0]["file"] == "calc.py"
    edited = {
        "explanation": "Mine",
        "steps": [{"agent": "coder", "description": "Add mul, please", "file": "calc.py"}],
    }
    run = await bench.resume(parked.thread, {asked.id: {"decision": "edit", "plan": edited}})
    assert run.end.status == "verified"
    assert bench.desk.prompts("Step: Add mul, please")
    assert [resolved.decision for resolved in run.of("approval.resolved")] == ["edit"]
    assert [event.seq for event in [*parked.events, *run.events]] == list(
        range(1, len(parked.events) + len(run.events) + 1)
    )


async def test_a_refused_plan_ends_the_run_and_leaves_no_branch(bench: Bench) -> None:
    script(bench.desk)
    parked = await bench.run(options={"approve_plan": True})
    (asked,) = parked.of("approval.required")
    run = await bench.resume(parked.thread, {asked.id: {"decision": "reject"}})
    assert (run.end.status, run.end.branch) == ("cancelled", None)
    assert run.end.reason == "the plan was rejected" and run.end.missing == [run.end.reason]


async def test_unknown_approvals_and_finished_threads_are_refused(bench: Bench) -> None:
    script(bench.desk)
    parked = await bench.run(options={"approve_plan": True})
    with pytest.raises(RunnerError, match="no such approval: nonsense; pending: "):
        await bench.resume(parked.thread, {"nonsense": {"decision": "approve"}})
    (asked,) = parked.of("approval.required")
    await bench.resume(parked.thread, {asked.id: {"decision": "approve"}})
    with pytest.raises(RunnerError, match="nothing to resume"):
        await bench.resume(parked.thread)
    with pytest.raises(RunnerError, match="there is no thread"):
        await bench.resume("unheard-of")


async def test_a_follow_up_starts_from_the_last_result_with_a_clean_state(bench: Bench) -> None:
    script(bench.desk)
    first = await bench.run()
    bench.desk.rules.clear()
    cube = "### cube.py\n```python\nfrom calc import mul\n\n\ndef cube(a):\n    return mul(a, mul(a, a))\n```"
    tests = block(
        "tests/test_cube.py", "from cube import cube\n\n\ndef test_cube():\n    assert cube(2) == 8"
    )
    script(bench.desk, coder=cube, tester=tests)
    second = await bench.run("Add cube", thread=first.thread)
    assert second.end.status == "verified"
    assert second.proof.total == 3
    subjects = bench.repo.git("log", "--format=%s", f"main..autocode/{first.thread}").splitlines()
    assert subjects == ["Add cube", "Add mul"]


async def test_work_in_progress_is_the_base_and_secrets_stay_out(bench: Bench) -> None:
    bench.repo.put("calc.py", CALC["calc.py"] + "\n\nOFFSET = 1\n")
    bench.repo.put("new.py", "NEW = 1\n")
    bench.repo.put(".env", "KEY=hidden\n")
    code = f"from calc import OFFSET\nfrom new import NEW\n\n\n{MULTIPLY} * NEW + OFFSET - 1"
    script(bench.desk, coder=block("mul.py", code), tester=TESTS.replace("from calc", "from mul"))
    before = bench.repo.fingerprint()
    run = await bench.run()
    assert run.end.status == "verified"
    assert bench.repo.fingerprint() == before
    branch = f"autocode/{run.thread}"
    assert bench.repo.git("log", "--format=%s", f"main..{branch}").splitlines() == [
        "Add mul",
        "Work in progress (not by AutoCodeAI)",
    ]
    assert ".env" not in bench.repo.names(branch)
    assert any(".env" in error.message for error in run.of("error"))


async def test_context_files_and_agents_md_reach_the_agents(bench: Bench) -> None:
    bench.repo.commit({"AGENTS.md": "Always use tabs.\n", "docs/format.md": "The wire format is XYZ.\n"})
    script(bench.desk)
    given = ["docs/format.md", {"path": "from-outside.txt", "content": "An outside word."}]
    run = await bench.run(context_files=given)
    assert run.end.status == "verified"
    for agent in ("planner", "coder", "tester", "critic"):
        (prompt,) = bench.desk.prompts(f"You are (the|a) {agent}")
        assert all(
            word in prompt for word in ("Always use tabs.", "wire format is XYZ", "An outside word.")
        ), agent


async def test_the_first_message_ends_with_the_one_line_that_names_the_step(bench: Bench) -> None:
    bench.repo.commit({"calc.py": CALC["calc.py"] + "\n\nTEXT = '''\nStep: trap\n'''\n"})
    script(bench.desk, coder=BROKEN_MUL)
    await bench.run()
    for request in bench.desk.requests:
        lines = [line for message in request.messages for line in message["content"].splitlines()]
        steps = [line for line in lines if line.startswith("Step:")]
        if "You are the planner" in request.prompt:
            assert steps == []
        else:
            expected = "Step: Add mul to calc.py" if "You are a coder" in request.prompt else "Step: Add mul"
            assert steps == [expected] and request.messages[1]["content"].splitlines()[-1] == expected


async def test_faults_that_a_person_must_mend_are_told_before_anything_is_spent(bench: Bench) -> None:
    script(bench.desk)
    with pytest.raises(WorkspaceError, match=r"no such context file.*gone\.md"):
        await bench.run(context_files=["gone.md"])
    with pytest.raises(RunnerError, match="task is empty"):
        await bench.run("  ")
    bench.repo.git("rm", "-rq", ".")
    bench.repo.commit({"main.go": "package main\n"})
    with pytest.raises(NoSuite, match=r"\.autocode\.toml"):
        await bench.run()
    assert bench.desk.requests == []


async def test_a_spent_budget_keeps_the_best_state_and_says_so(bench: Bench) -> None:
    script(bench.desk, coder=BROKEN_MUL)
    run = await bench.run(options={"max_tokens": 2000})
    assert run.end.status == "budget"
    assert "tokens" in (run.end.reason or "")
    assert sum(usage.input_tokens + usage.output_tokens for usage in run.end.usage) <= 2000


async def test_a_project_without_pytest_proves_by_its_commands_exit_code(bench: Bench) -> None:
    bench.repo.git("rm", "-rq", ".")
    bench.repo.commit(
        {"check.sh": "test -f done.txt\n", ".autocode.toml": '[test]\ncommand = "sh check.sh"\n'}
    )
    script(bench.desk, coder="### done.txt\n```\nyes\n```", tester="NO TESTS: check.sh tests it")
    run = await bench.run("Write done.txt")
    assert run.end.status == "verified"
    assert (run.proof.grade, run.proof.exit_code) == ("exit code", 0)
    assert run.of("check")[-1].counts == "sh check.sh ended with exit code 0"
    message = bench.repo.git("log", "-1", "--format=%B", f"autocode/{run.thread}")
    assert "No test was added: check.sh tests it" in message
    assert "Autocode-Verified: `sh check.sh` ended with exit code 0" in message


async def test_pruning_forgets_old_threads_and_keeps_their_branches(bench: Bench) -> None:
    script(bench.desk)
    run = await bench.run()
    parked = await bench.run(options={"approve_plan": True})
    async with bench.supervisor(foreground=True) as supervisor:
        assert await supervisor.history.prune(days=1) == []
        assert await supervisor.history.prune(days=0) == [run.thread]
        assert [row.id for row in await supervisor.journal.threads.all()] == [parked.thread]
        assert await supervisor.journal.events.read(run.thread) == []
    assert bench.repo.git("for-each-ref", f"refs/autocode/{run.thread}") == ""
    assert bench.repo.git("rev-parse", f"autocode/{run.thread}^{{tree}}") == run.proof.tree


async def test_a_reply_that_was_cut_off_is_never_read(bench: Bench) -> None:
    bench.desk.rules.insert(0, Rule("You are a coder", block("calc.py", "X = 1"), times=1, finish="length"))
    script(bench.desk)
    run = await bench.run()
    assert run.end.status == "verified"
    continued, again = [event.data for event in run.events if isinstance(event.data, Retried)]
    assert "is continued" in continued.reason and "cut off" in again.reason
    edits = [event.data for event in run.events if isinstance(event.data, FilesEdited)]
    assert [edit.added for edit in edits if edit.files[0].path == "calc.py"] == [4]


async def test_a_reply_that_was_cut_off_is_continued(bench: Bench) -> None:
    half, rest = MUL[: MUL.index("mul(a")], MUL[MUL.index("mul(a") :]
    bench.desk.rules.insert(0, Rule("The output limit cut your reply off", rest))
    bench.desk.rules.insert(1, Rule("You are a coder", half, times=1, finish="length"))
    script(bench.desk)
    run = await bench.run()
    assert run.end.status == "verified"
    assert [event.data.reason for event in run.events if isinstance(event.data, Retried)] == [
        "the reply was cut off, and is continued"
    ]
    assert bench.repo.show(f"autocode/{run.thread}", "calc.py").endswith("def mul(a, b):\n    return a * b")


async def test_a_verdict_that_the_critic_only_thought_of_does_not_count(bench: Bench) -> None:
    fail = '<think>{"verdict": "PASS", "reasons": []}?</think>{"verdict": "FAIL", "reasons": ["calc.py: no"]}'
    script(bench.desk, critic=fail, debugger="I see nothing wrong.")
    assert (await bench.run()).end.status == "unverified"


@pytest.mark.parametrize(
    ("path", "half"),
    [
        ("calc.py", "def add(a, b):\n    return a + b\n\n# ... rest of the code stays the same ...\n"),
        ("calc.py", "<<<<<<< SEARCH\nreturn a + b\n=======\nreturn b + a\n>>>>>>> REPLACE\n"),
        ("README.md", "# Calc\n\n```\npip install calc\n```\n\nMIT\n"),
    ],
)
async def test_a_file_that_is_not_whole_goes_back_to_its_author(bench: Bench, path: str, half: str) -> None:
    bench.desk.rules.insert(0, Rule("You are a coder", block(path, half), times=1))
    script(bench.desk)
    run = await bench.run()
    assert run.end.status == "verified"
    assert len([event for event in run.events if isinstance(event.data, Retried)]) == 1
    written = [
        file.path for event in run.events if isinstance(event.data, FilesEdited) for file in event.data.files
    ]
    assert written == ["calc.py", "tests/test_mul.py"]


async def test_halves_of_surrogate_pairs_in_a_reply_do_not_break_the_run(bench: Bench) -> None:
    script(bench.desk, coder=MUL.replace("a * b", "a * b  # \ud83d and \ud83d\ude00"))
    run = await bench.run()
    assert run.end.status == "verified"
    text = bench.repo.git("show", f"autocode/{run.thread}:calc.py")
    assert "# \ufffd and \U0001f600" in text


async def test_people_read_what_is_wrong_and_not_what_the_model_is_told_to_do(bench: Bench) -> None:
    script(bench.desk, coder="I would rather not.", planner="no plan")
    run = await bench.run()
    (told,) = bench.desk.prompts("assistant: I would rather not")
    assert "It holds no edit. Change an existing file with a ```diff block" in told
    shown = [retry.reason for retry in run.of("retry")] + [error.message for error in run.of("error")]
    shown += [*run.end.missing, run.end.reason or ""]
    assert any("It holds no edit." in text for text in shown)
    assert not [text for text in shown if "```" in text or "Answer" in text or "write a whole" in text]
