"""What runs remember, and what later ones are told: whole runs with a scripted model."""

import json
import sqlite3
from contextlib import closing

import pytest
from runs import BROKEN_MUL, CALC, Bench, Run, block, script

from memory.records.database import Database
from memory.records.episodes import Episodes
from memory.repo_index import RepoIndex
from nodes.events import MemoryRecalled
from nodes.state import Input
from server.cli.views.outcomes import describe_recall

SUB = block("calc.py", f"{CALC['calc.py']}\n\ndef sub(a, b):\n    return a - b")
SUB_TESTS = block(
    "tests/test_sub.py", "from calc import sub\n\n\ndef test_sub():\n    assert sub(3, 4) == -1"
)
BROKEN_SUB = SUB.replace("a - b", "b - a")


def index(bench: Bench) -> None:
    """Bring the full text of the repository's index up to its files."""
    index = RepoIndex(bench.repo.path, bench.settings().index_settings())
    index.refresh()
    index.close()


async def remembered(bench: Bench) -> list[str]:
    """The tasks that are remembered."""
    database = await Database.open(bench.settings().database)
    try:
        return [title.task for title in await Episodes(database, ()).titles()]
    finally:
        await database.aclose()


async def test_a_similar_task_is_told_what_was_done_what_failed_and_how_it_was_mended(bench: Bench) -> None:
    script(bench.desk, coder=BROKEN_MUL)
    first = await bench.run("Add mul to the calculator")
    assert first.of("recall")[0].episodes == []
    bench.desk.rules.clear()
    bench.desk.requests.clear()
    script(bench.desk, coder=BROKEN_SUB, tester=SUB_TESTS, debugger=SUB)
    second = await bench.run("Add sub to the calculator")
    assert second.end.status == "verified"
    (known,) = second.of("recall")[0].episodes
    assert known.task == "Add mul to the calculator" and known.similarity > 0.35
    for agent in ("planner", "debugger"):
        (prompt,) = bench.desk.prompts(f"You are (the|a) {agent}")
        lesson = prompt.split("## Earlier tasks like this one")[1].split("```")[1]
        for told in (
            "Task: Add mul to the calculator",
            "this repository",
            "One function.",
            "+    return a * b",
            "assert -1 == 12",
            "Mended in calc.py: The operator is wrong.",
        ):
            assert told in lesson, agent
    assert "## Earlier" not in "".join(bench.desk.prompts("You are (the (tester|critic)|a coder)"))


async def test_a_task_of_another_kind_is_told_nothing_and_a_repository_may_keep_to_itself(
    bench: Bench,
) -> None:
    script(bench.desk)
    await bench.run("Add mul to the calculator")
    other = await bench.run("Translate the manual", options={"approve_plan": True})
    assert other.of("recall")[0].episodes == []
    bench.repo.git("checkout", "-q", "--orphan", "unrelated")
    bench.repo.git("commit", "-qm", "another beginning")
    moved = bench.repo.path.rename(bench.repo.path.with_name("moved"))
    bench.repo.path = moved
    ask = {"approve_plan": True}
    for scope, known in (("all", 1), ("repository", 0)):
        run = await bench.run("Add mul to the calculator", settings={"memory_scope": scope}, options=ask)
        recall = run.of("recall")[0]
        assert len(recall.episodes) == known and recall.scope == scope
        if known:
            elsewhere = recall.model_copy(update={"episodes": [*recall.episodes] * 2})
            assert recall.episodes[0].repo.endswith("/repo") and "(repo)" in describe_recall(elsewhere)


async def test_what_is_not_verified_is_not_remembered_and_what_is_survives_pruning(bench: Bench) -> None:
    script(bench.desk, coder=BROKEN_MUL)
    await bench.run(options={"max_debug_rounds": 0})
    assert await remembered(bench) == []
    bench.desk.rules.clear()
    script(bench.desk)
    await bench.run()
    async with bench.supervisor(foreground=True) as supervisor:
        assert len(await supervisor.history.prune(days=0)) == 2
    assert await remembered(bench) == ["Add mul"]


async def test_memory_that_fails_is_said_and_the_run_stands(bench: Bench) -> None:
    script(bench.desk)
    async with bench.supervisor(foreground=True) as supervisor:
        with closing(sqlite3.connect(bench.home / "autocode.db")) as database:
            database.execute("DROP TABLE episodes")
        given = Input(task="Add mul", repo=str(bench.repo.path))
        run = Run([event async for event in supervisor.watch(await supervisor.submit(given))])
    assert run.end.status == "verified"
    assert "earlier tasks cannot be searched" in run.of("recall")[0].index.note
    (warning,) = run.of("error")
    assert warning.kind == "warning" and "not remembered" in warning.message


async def test_a_damaged_index_and_a_chroma_that_is_gone_are_no_run_s_end(bench: Bench) -> None:
    script(bench.desk)
    gone = {"chroma_host": "127.0.0.1", "chroma_port": 1}
    await bench.run("Add mul to the calculator", settings=gone)
    (file,) = (bench.home / "index").glob("*.db")
    file.write_bytes(b"no database at all" * 500)
    run = await bench.run("Add mul to the calculator", settings=gone)
    assert run.end.status == "verified"
    recalled = run.of("recall")[0]
    assert len(recalled.episodes) == 1 and "damaged" in recalled.index.note


async def test_a_step_is_shown_what_the_run_has_changed_and_its_own_file_only_once(bench: Bench) -> None:
    steps = [
        {"agent": "coder", "description": "Write the gadget multiplier", "file": "gadget.py"},
        {"agent": "coder", "description": "Let mul use `gadget_multiplier`", "file": "calc.py"},
    ]
    bench.desk.on("Step: Write", block("gadget.py", "def gadget_multiplier(a, b):\n    return a * b"))
    code = f"from gadget import gadget_multiplier as mul\n\n\n{CALC['calc.py']}\n__all__ = ['add', 'mul']"
    bench.desk.on("Step: Let", block("calc.py", code))
    script(bench.desk, planner=json.dumps({"explanation": "", "steps": steps}))
    index(bench)
    run = await bench.run("Add mul to calc.py by way of a gadget")
    assert run.end.status == "verified"
    (prompt,) = bench.desk.prompts("Step: Let mul use")
    places = prompt.split("## Places in the repository")[1].split("\n## ")[0]
    assert "### gadget.py" in places and "def gadget_multiplier" in places and "### calc.py" not in places
    files = {e.step_id: e.data.files for e in run.events if isinstance(e.data, MemoryRecalled)}
    assert "gadget.py" in files["s2"] and "calc.py" not in files["s2"]
    assert "calc.py" in files[None]


async def test_a_long_class_is_shown_by_its_members(bench: Bench) -> None:
    methods = "".join(
        f"    def give_{n}(self):\n        return 'the goods number {n}'\n\n" for n in range(60)
    )
    bench.repo.commit({"shop.py": f'class Basket:\n    """Goods."""\n\n{methods}'})
    script(bench.desk)
    index(bench)
    await bench.run("Add mul to calc.py, as `Basket` needs it")
    (prompt,) = bench.desk.prompts("You are the planner")
    assert '"""Goods."""' in prompt and "    def give_59(self):  [line 181]" in prompt
    assert "the goods number 59" not in prompt


async def test_a_resumed_run_is_told_what_it_was_told_before(bench: Bench) -> None:
    bench.desk.on("You are the planner", "", status=400, times=1)
    script(bench.desk)
    with pytest.raises(Exception, match="400"):
        await bench.run(thread="first")
    index(bench)
    await bench.run(thread="second")
    bench.repo.put("mul_manual.py", "MUL = 'multiply, mul, add'\n")
    assert (await bench.resume("first")).end.status == "verified"
    first, _, again = bench.desk.prompts("You are the planner")
    assert first == again and "## Earlier tasks" not in again
    assert await remembered(bench) == ["Add mul", "Add mul"]


async def test_memory_that_is_switched_off_leaves_no_trace(bench: Bench) -> None:
    script(bench.desk)
    run = await bench.run(settings={"enable_memory": False})
    assert run.end.status == "verified" and run.of("recall") == []
    assert await remembered(bench) == []
    assert not bench.desk.prompts("## Places in|## Earlier tasks")
