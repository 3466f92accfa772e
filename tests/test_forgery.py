"""Changes that want to look better than they are; on a real sandbox, through the whole check."""

from collections.abc import Callable

import pytest
from projects import ADD, MATHS, SUBTRACT, Files, Project, fates, suspects

pytestmark = [pytest.mark.bubblewrap]

Make = Callable[[Files], Project]

FORGED = """\
import os, re, subprocess, sys, time

def forge(arguments, times=1):
    path = next(word.partition("=")[2] for word in arguments if word.startswith("--junitxml="))
    case = '<testcase classname="tests.test_maths" name="test_add" time="0.01"/>'
    for _ in range(times):
        with open(path, "w") as file:
            file.write('<testsuites><testsuite name="pytest">' + case + '</testsuite></testsuites>')
        time.sleep(0.001)
    return path
"""


def forging(way: str) -> dict[str, str]:
    """A change that breaks `add` and forges the report."""
    return {"maths.py": FORGED + way + SUBTRACT["maths.py"]}


async def test_an_early_exit_is_not_trusted(project: Make) -> None:
    early = {"conftest.py": "import os\n\n\ndef pytest_collection_finish(session):\n    os._exit(0)\n"}
    proof = await project(MATHS).prove(SUBTRACT | early)
    assert proof.problems == ["report not trusted: pytest ended with exit code 0 and left no report"]
    assert suspects(proof) == {"conftest.py"} and proof.passed == 0


async def test_an_exit_at_import_is_red(project: Make) -> None:
    proof = await project(MATHS).prove({"maths.py": "raise SystemExit\n"})
    assert not proof.green and proof.passed == 0


async def test_a_report_at_a_guessed_path_is_never_read(project: Make) -> None:
    way = "for name in ('r.xml', '/tmp/r.xml', '/workspace/junit.xml'): forge(['--junitxml=' + name])\n"
    proof = await project(MATHS).prove(forging(way))
    assert fates(proof) == {ADD: ("passed", "failed")}
    assert proof.problems == [f"1 case failed that passed on the base: {ADD}"]


async def test_a_child_that_rewrites_the_report_is_caught_by_the_exit_code(project: Make) -> None:
    waits = (
        "arguments = open('/proc/%d/cmdline' % PARENT).read().split(chr(0))\n"
        "path = forge(arguments)\nos.unlink(path)\nuntil = time.time() + 10\n"
        "while time.time() < until and not os.path.exists(path): time.sleep(0.0005)\n"
        "forge(arguments, 3000)\n"
    )
    child = f"{FORGED}PARENT = int(sys.argv[1])\n{waits}"
    way = f"subprocess.Popen([sys.executable, '-c', {child!r}, str(os.getpid())], start_new_session=True)\n"
    proof = await project(MATHS).prove(forging(way))
    assert not proof.green and proof.passed == 0


async def test_a_report_forged_at_exit_disagrees_with_the_exit_code(project: Make) -> None:
    proof = await project(MATHS).prove(forging("import atexit\natexit.register(forge, sys.argv)\n"))
    assert proof.problems == ["report not trusted: exit code 1, but it holds no failure"]
    assert fates(proof) == {ADD: ("passed", "unknown")}


async def test_a_forged_report_that_leaves_cases_out_is_not_trusted(project: Make) -> None:
    way = "import atexit\natexit.register(lambda: (forge(sys.argv), os._exit(0)))\n"
    new = {"tests/test_new.py": "def test_new():\n    assert False\n"}
    proof = await project(MATHS).prove(forging(way) | new)
    assert proof.problems == [
        "report not trusted: it lacks cases that were collected: tests.test_new::test_new"
    ]


async def test_a_conftest_that_hides_tests_is_caught_by_the_base(project: Make) -> None:
    hidden = {"conftest.py": "collect_ignore_glob = ['*maths*']\n", "test_a.py": "def test_a():\n    pass\n"}
    proof = await project(MATHS).prove(SUBTRACT | hidden)
    assert proof.problems == [f"1 case passed on the base and vanished: {ADD}"]
    assert suspects(proof) == {"conftest.py", "test_a.py"}


async def test_a_test_that_removes_others_cannot_hide_them(project: Make) -> None:
    vandal = (
        "import pathlib, sys\n\nfor path in pathlib.Path('tests').glob('test_*.py'):\n    path.unlink()\n\n\n"
        "def test_a():\n    pass\n"
    )
    proof = await project(MATHS).prove(SUBTRACT | {"a/test_a.py": vandal})
    assert not proof.green
    assert proof.problems == [f"1 case passed on the base and vanished: {ADD}"]


async def test_a_module_that_shadows_pytest_is_shown(project: Make) -> None:
    proof = await project(MATHS).prove(SUBTRACT | {"pytest.py": "print('1 passed')\n"})
    assert not proof.green and "pytest.py" in suspects(proof)
    assert proof.problems == ["report not trusted: pytest ended with exit code 0 and left no report"]
