"""What a thread has delivered and its user has not applied, task after task."""

import pytest
from runs import Bench, Run, block, script

from graph.delivery import Delivery, undo
from tools.workspace import Workspace, WorkspaceError


async def power(bench: Bench, name: str, formula: str, thread: str | None = None, **replies: str) -> Run:
    """Run a task that appends a function to calc.py, with a test of it."""
    bench.desk.rules.clear()
    expected = formula.replace("a", "2")
    tests = f"from calc import {name}\n\n\ndef test_{name}():\n    assert {name}(2) == {expected}"
    script(
        bench.desk,
        coder=whole_file(bench, name, formula, thread),
        tester=block(f"tests/test_{name}.py", tests),
        **replies,
    )
    return await bench.run(f"Add {name}", thread=thread)


def whole_file(bench: Bench, name: str, formula: str, thread: str | None) -> str:
    """Return the reply that writes calc.py as the thread has it, and a function more."""
    place = (
        f"autocode/{thread}"
        if thread and bench.repo.git("branch", "--list", f"autocode/{thread}")
        else "main"
    )
    return block("calc.py", bench.repo.show(place, "calc.py") + f"\n\n\ndef {name}(a):\n    return {formula}")


async def delivery(bench: Bench, thread: str, whole: bool = False) -> Delivery:
    async with bench.supervisor(foreground=True) as supervisor:
        return await Delivery.of_thread(supervisor.journal, thread, whole=whole)


async def test_what_was_not_applied_is_covered_however_many_tasks_it_took(bench: Bench) -> None:
    first = await power(bench, "square", "a * a")
    thread = first.thread
    await power(bench, "cube", "a * a * a", thread)
    both = await delivery(bench, thread)
    assert both.verified and "+def square" in await both.diff() and "+def cube" in await both.diff()

    calc = bench.repo.path / "calc.py"
    calc.write_text('"""Sums and products."""\n\n' + calc.read_text())  # the user's own lone line
    with pytest.raises(WorkspaceError, match=r"tests/test_\w+.py lies in AUTOCODE_HOME"):
        await both.apply(bench.repo.path / "tests")
    await both.apply(bench.home)
    assert all(text in calc.read_text() for text in ("Sums and products", "def square", "def cube"))
    assert await (await delivery(bench, thread)).diff() == ""

    await power(bench, "quad", "a * a * a * a", thread)
    rest = await delivery(bench, thread)
    assert "+def quad" in await rest.diff() and "+def cube" not in await rest.diff()
    calc.write_text(calc.read_text().replace("Sums and", "Sums, powers and"))
    assert await rest.apply(bench.home) == ("calc.py", "tests/test_quad.py")
    assert "powers" in calc.read_text() and "def quad" in calc.read_text()
    everything = await delivery(bench, thread, whole=True)
    assert "+def square" in await everything.diff() and "+def quad" in await everything.diff()
    assert await everything.apply(bench.home) == ()


async def test_an_unverified_result_is_no_part_of_what_follows_and_a_merge_counts_as_applied(
    bench: Bench,
) -> None:
    thread = (await power(bench, "square", "a * a")).thread
    refused = await power(bench, "cube", "a * a * a", thread, critic='{"verdict": "FAIL", "reasons": ["no"]}')
    assert refused.end.status == "unverified"
    open_one = await delivery(bench, thread)
    assert not open_one.verified and open_one.branch == f"autocode/{thread}-unverified"
    assert open_one.verified_branch == f"autocode/{thread}"
    assert "+def square" in await open_one.diff() and "+def cube" in await open_one.diff()

    bench.repo.git("merge", "-q", "--ff-only", f"autocode/{thread}")
    await power(bench, "quad", "a * a * a * a", thread)
    rest = await delivery(bench, thread)
    assert rest.verified and "+def quad" in await rest.diff()
    assert "+def square" not in await rest.diff() and "cube" not in await rest.diff()


async def test_a_fork_covers_what_its_parent_delivered_unless_it_is_applied(bench: Bench) -> None:
    thread = (await power(bench, "square", "a * a")).thread
    async with bench.supervisor(foreground=True) as supervisor:
        await (await delivery(bench, thread)).apply(bench.home)
        fork = await supervisor.history.fork(thread)
        bench.repo.git("branch", f"autocode/{fork}", f"autocode/{thread}")
        await power(bench, "cube", "a * a * a", fork)
        assert "+def square" not in await (await delivery(bench, fork)).diff()
        await undo(supervisor.journal, thread, bench.home)
    both = await delivery(bench, fork)
    assert "+def square" in await both.diff() and "+def cube" in await both.diff()
    await both.apply(bench.home)
    assert "def cube" in (bench.repo.path / "calc.py").read_text()


async def test_a_thread_of_an_earlier_version_is_covered_from_its_first_task(bench: Bench) -> None:
    thread = (await power(bench, "square", "a * a")).thread
    await power(bench, "cube", "a * a * a", thread)
    Workspace.open(bench.repo.path).release(thread)
    both = await delivery(bench, thread)
    assert "+def square" in await both.diff() and "+def cube" in await both.diff()


async def test_after_a_run_only_what_was_delivered_is_kept_of_it(bench: Bench) -> None:
    bench.repo.put("draft.py", "DRAFT = 1\n")
    thread = (await power(bench, "square", "a * a")).thread

    def refs() -> list[str]:
        return bench.repo.git("for-each-ref", "--format=%(refname)", "refs/autocode").splitlines()

    assert refs() == [f"refs/autocode/{thread}/result", f"refs/autocode/{thread}/start"]
    bench.repo.git("gc", "-q", "--prune=now")
    await power(bench, "cube", "a * a * a", thread)
    both = await delivery(bench, thread)
    assert "+def square" in await both.diff() and "+def cube" in await both.diff()
    assert "DRAFT" not in await both.diff()

    bench.desk.rules.clear()
    script(bench.desk, coder="NO CHANGE: it is there")
    nothing = await bench.run("Add nothing")
    assert nothing.end.branch is None and not any(nothing.thread in ref for ref in refs())
    async with bench.supervisor(foreground=True) as supervisor:
        assert thread in await supervisor.history.prune(0)
    assert refs() == []
