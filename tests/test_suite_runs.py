"""Suites that take too long, use too much, or do not end."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from projects import ADD, DOUBLE, MATHS, Files, Project, SandboxAround, fates

from nodes.check import compare
from sandbox.base import Limits, Result, Sandbox

pytestmark = [pytest.mark.bubblewrap]

Make = Callable[[Files], Project]

NEW = "tests.test_double::test_double"
TRUE = "def test_true():\n    assert True\n"
SLOW = "import time\n\n\ndef test_slow():\n    time.sleep(60)\n"
ENDLESS = "def loop():\n    print('counting')\n    while True:\n        pass\n"
FEW_SECONDS = Limits(seconds=8)


async def test_a_change_that_never_ends_is_red_and_says_where(project: Make) -> None:
    proof = await project(MATHS).prove({"maths.py": ENDLESS.replace("loop()", "add(a, b)")}, FEW_SECONDS)
    assert not proof.green
    assert re.match(r"timed out after \d+ s; last output:", proof.problems[0])
    assert fates(proof) == {ADD: ("passed", "unknown")}


async def test_a_change_that_wants_too_much_memory_is_red_and_says_so(project: Make) -> None:
    proof = await project(MATHS).prove({"maths.py": "hoard = ['x' * 1_000_000_000]\n" + MATHS["maths.py"]})
    assert not proof.green
    assert any("memory" in text for text in (*proof.problems, *(failure.text for failure in proof.failures)))


async def test_too_slow_a_suite_gives_way_to_what_the_change_reaches(project: Make) -> None:
    here = project(MATHS | {"lone.py": "", "other.py": "", "tests/test_other.py": "import other\n" + SLOW})
    proof = await here.prove(DOUBLE, FEW_SECONDS)
    assert proof.proves and (proof.scope, proof.baseline) == ("affected", "known")
    assert fates(proof) == {ADD: ("passed", "passed"), NEW: ("error", "passed")}
    here.events.clear()
    again = await here.prove(DOUBLE, FEW_SECONDS)
    assert compare(proof, again) == []
    runs = ["the base's tests on the change", "the cases of the change", "the change"]
    assert here.started == [*runs, "the change's tests on the base"]
    alone = await here.prove({"lone.py": "x = 1\n"}, FEW_SECONDS)
    assert not alone.green and "no test file imports what the change touches" in alone.problems[0]


async def test_what_the_suite_leaves_out_is_not_run_where_it_shrinks(project: Make) -> None:
    typed = "import maths\n1 / 0\n"
    config = "[pytest]\nnorecursedirs = tests/types\ntestpaths = tests\n"
    left_out = {"pytest.ini": config, "tests/types/test_types.py": typed, "examples/test_example.py": typed}
    here = project(MATHS | left_out | {".autocode.toml": '[test]\nscope = "affected"\n'})
    proof = await here.prove(DOUBLE)
    assert proof.proves and (proof.scope, proof.uncollected) == ("affected", [])


class Crowded(SandboxAround):
    """A sandbox in which the suite takes long, and a number of its runs on the change too long."""

    def __init__(self, real: Sandbox, late: int) -> None:
        super().__init__(real)
        self._late = late

    def altered(self, result: Result, limits: Limits, told: bool) -> Result:
        if told and self._late:
            self._late -= 1
            return replace(result, exit_code=137, timed_out=True, report=None)
        return replace(result, seconds=limits.seconds - 1)


@pytest.mark.parametrize(("late", "scope"), [(1, "all"), (2, "affected")])
async def test_a_suite_near_its_limit_runs_again_alone_before_it_counts_as_slow(
    tmp_path: Path, recorded: Sandbox, late: int, scope: str
) -> None:
    here = Project(tmp_path / "repo", Crowded(recorded, late), MATHS)
    proof = await here.prove(DOUBLE)
    assert proof.proves and proof.scope == scope and proof.baseline == "known"
    assert here.started.count("the change") == late + 1


async def test_a_base_that_is_always_too_slow_is_an_unknown_baseline(project: Make) -> None:
    slow = {"maths.py": "import time\n\ntime.sleep(60)\n\n\n" + MATHS["maths.py"]}
    here = project(MATHS | slow | {".autocode.toml": '[test]\nscope = "affected"\ntimeout = 15\n'})
    proof = await here.prove({"maths.py": MATHS["maths.py"]})
    assert proof.green and (proof.scope, proof.baseline) == ("affected", "unknown")
    assert fates(proof) == {ADD: ("unknown", "passed")}


async def test_a_new_case_of_an_edited_file_counts_where_the_base_never_ends(project: Make) -> None:
    slow = {"tests/test_slow.py": "import maths\n" + SLOW}
    here = project(MATHS | slow | {".autocode.toml": '[test]\nscope = "affected"\ntimeout = 6\n'})
    edited = MATHS["tests/test_maths.py"] + "\n\ndef test_double():\n    assert maths.double(2) == 4\n"
    change = {"maths.py": DOUBLE["maths.py"], "tests/test_maths.py": f"import maths\n{edited}"}
    proof = await here.prove(change | {"tests/test_slow.py": None})
    assert proof.baseline == "unknown"
    assert proof.fail_to_pass == ["tests.test_maths::test_double"]


async def test_a_new_test_that_hangs_on_the_base_fails_there(project: Make) -> None:
    test = f"from loop import loop\n\n\ndef test_loop():\n    assert loop() == 1\n\n\n{TRUE}"
    here = project(MATHS | {"loop.py": ENDLESS})
    change = {"loop.py": "def loop():\n    return 1\n", "tests/test_loop.py": test}
    proof = await here.prove(change, FEW_SECONDS)
    assert proof.fail_to_pass == ["tests.test_loop::test_loop"]
    assert proof.vacuous == ["tests.test_loop::test_true"]
