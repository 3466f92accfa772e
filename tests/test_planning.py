"""Plans: the files of their steps, and how they are read and shown."""

import re
from typing import Any

import pytest
from rich.console import Console
from runs import Bench, plan_of, script

from nodes.dialogue.replies import Unusable
from nodes.events import ApprovalRequired
from nodes.planning.plan_reply import read_plan
from server.cli.views.approval_prompts import show_request
from server.cli.views.editing import planner_format


async def test_a_coder_sees_all_files_of_its_step_and_those_that_it_must_read(bench: Bench) -> None:
    log = "Unreleased\n" + "- Add `mul`.\n- Something else.\n" * 2_000
    bench.repo.commit({"area.py": "SIDES = 4\n", "README.md": "About sums.\n", "CHANGES.md": log})
    step = {
        "description": "Add mul",
        "files": ["calc.py", "area.py", "CHANGES.md"],
        "context_files": ["README.md", "calc.py", "nowhere.py"],
    }
    script(bench.desk, planner=plan_of(step))
    run = await bench.run()
    assert run.end.status == "verified", run.end
    (made,) = run.of("plan")
    (planned,) = made.plan["steps"]
    assert (planned["file"], planned["files"]) == ("calc.py", step["files"])
    assert planned["context_files"] == ["README.md", "nowhere.py"]
    (prompt,) = bench.desk.prompts("You are a coder")
    _, read, edited = re.split("## (?:Files to read for|The files of) your step", prompt)
    assert "About sums." in read and "### nowhere.py\n(does not exist or is empty)" in read
    assert edited.index("def add") < edited.index("SIDES = 4") < edited.index("Unreleased")
    assert len(edited) < 8_000


async def test_the_first_prompt_of_a_planner_that_can_look_is_short(bench: Bench) -> None:
    text = "".join(
        f"def add_part_{n}(first: int, second: int) -> int:\n    return {n}\n\n\n" for n in range(40)
    )
    bench.repo.commit({f"pkg{n // 50}/module_{n}.py": text for n in range(300)})
    bench.repo.commit({"CHANGES.md": "Unreleased\n", "docs/use.md": text})
    script(bench.desk, planner='{"answer": "No."}')
    task = "Does add_part_7 of module_100 add? " + "It should. " * 100
    await bench.run(task)
    (prompt,) = bench.desk.prompts("You are the planner")
    assert "add_part_7" in prompt.partition("## The task")[0]
    assert len(prompt) - len(task) <= 4 * 3_000


async def test_a_step_that_names_any_file_of_a_failed_one_is_not_run(bench: Bench) -> None:
    steps = (
        {"description": "Break down", "files": ["one.py", "two.py"]},
        {"description": "Build on two", "files": ["three.py", "two.py"]},
        {"description": "Read one", "file": "four.py", "context_files": ["one.py"]},
        {"description": "Add mul to calc.py", "file": "calc.py"},
    )
    bench.desk.on("Step: Break down", "I cannot.")
    script(bench.desk, planner=plan_of(*steps))
    run = await bench.run()
    assert [missing.partition(":")[0] for missing in run.end.missing] == [
        "step s1 failed", "step s2 failed", "step s3 failed",
    ]  # fmt: skip
    assert "step s1, which failed, names the same file" in run.end.missing[1]
    assert not bench.desk.prompts("Step: (Build on two|Read one)")


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        ({"files": ["a.py", "../b.py"]}, "steps.0.files: Value error, '../b.py' must be a path"),
        ({"context_files": ["/etc/passwd"]}, "steps.0.context_files: Value error, '/etc/passwd'"),
        ({"files": [".git/config"]}, "steps.0.files"),
        ({"files": {"a.py": ""}}, "steps.0.files: Input should be a valid list"),
        ({"files": [f"{n}.py" for n in range(21)]}, "steps.0.files: Value should have at most 20 items"),
        ({"files": [7]}, "steps.0.files.0: Input should be a valid string"),
    ],
)
def test_paths_that_no_step_may_name_go_back_to_the_planner(step: dict[str, Any], fault: str) -> None:
    with pytest.raises(Unusable) as error:
        read_plan({"steps": [{"agent": "coder", "description": "x", **step}]})
    assert fault in str(error.value)


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ({"files": None, "context_files": None}, {}),
        ({"files": "./a.py"}, {"file": "a.py"}),
        ({"files": [" ", "a.py", "a.py"]}, {"file": "a.py"}),
        ({"file": "b.py", "files": ["a.py", "b.py"]}, {"file": "b.py", "files": ["b.py", "a.py"]}),
    ],
)
def test_files_are_read_as_models_write_them(reply: dict[str, Any], read: dict[str, Any]) -> None:
    plan = read_plan({"steps": [{"agent": "coder", "description": "x", **reply}]})
    assert plan["steps"] == [{"id": "s1", "agent": "coder", "description": "x", "group": 0} | read]


def test_a_tool_needs_no_description() -> None:
    plan = read_plan({"steps": [{"agent": "tool", "tool_name": "pwd", "tool_params": {}}]})
    assert plan["steps"][0]["description"] == "Run pwd"
    with pytest.raises(Unusable, match="description"):
        read_plan({"steps": [{"agent": "coder", "file": "a.py"}]})


def test_a_plan_shows_all_files_and_an_edit_of_it_names_each_once() -> None:
    step = {"agent": "coder", "description": "Add mul", "files": ["a.py", "b.py"], "context_files": ["c.py"]}
    plan = read_plan({"steps": [step]})
    console = Console(width=100)
    with console.capture() as shown:
        show_request(console, ApprovalRequired(id="1", request={"kind": "plan", "plan": plan}))
    assert "Add mul  (a.py, b.py; reads c.py)" in shown.get()
    written = planner_format(plan)
    assert "file" not in written["steps"][0]
    assert read_plan(written) == plan
