"""Options of plugins that the sandbox lacks: they alone are left out."""

from collections.abc import Callable

import pytest
from projects import DOUBLE, MATHS, Files, Project, fates

from nodes.check.suites.pytest_config import PytestOptions
from nodes.check.suites.refused_options import refusal_of, without_refused
from nodes.check.suites.suite import FLAGS, PYTEST, Suite
from sandbox.base import Result

Make = Callable[[Files], Project]

UNRECOGNIZED = (
    "ERROR: usage: x [options] [file_or_dir] [...]\npython -m pytest: error: unrecognized arguments: "
)
IMPORT = "ImportError: Error importing plugin \"xdist\": No module named 'xdist'\n"
FILTER = "ERROR: while parsing the following warning configuration:\n\n  error::django.Old\n\nThis error:\n"


def ended(exit_code: int, stderr: str) -> Result:
    return Result(exit_code, "", stderr, seconds=0.1)


@pytest.mark.parametrize(
    ("words", "refusal", "kept"),
    [
        (
            ["--cov=shop", "--cov-report", "term", "-m", "not slow", "--strict-markers", "--ignore=a"],
            f"{UNRECOGNIZED}--cov=shop --cov-report",
            ["-m", "not slow", "--strict-markers", "--ignore=a"],
        ),
        (["-n", "4", "-k", "a", "tests"], f"{UNRECOGNIZED}-n tests", ["-k", "a", "tests"]),
        (["--cov", "--cov-branch", "-q"], f"{UNRECOGNIZED}--cov --cov-branch", ["-q"]),
        (["--cov-report=term missing", "-v"], f"{UNRECOGNIZED}--cov-report=term missing", ["-v"]),
        (
            ["-p", "xdist", "-p", "no:doctest", "-pxdist", "-p", "own"],
            IMPORT,
            ["-p", "no:doctest", "-p", "own"],
        ),
        (["--strict-config", "--strict-markers"], "ERROR: Unknown config option: a\n", ["--strict-markers"]),
        (["-W", "error", "-W", "error::django.Old", "-Werror::django.Old"], FILTER, ["-W", "error"]),
        (
            ["--import-mode=importlib", "--doctest-modules"],
            "",
            ["--import-mode=importlib", "--doctest-modules"],
        ),
    ],
)
def test_what_pytest_refuses_goes_and_the_rest_stays(words: list[str], refusal: str, kept: list[str]) -> None:
    code = 1 if refusal is IMPORT else 4
    assert without_refused(words, refusal_of(ended(code, refusal))) == tuple(kept)


def test_failing_tests_that_print_a_refusal_are_none() -> None:
    assert refusal_of(Result(1, UNRECOGNIZED, "", seconds=0.1, report=())) == ""
    assert refusal_of(ended(1, f"{UNRECOGNIZED}--cov")) == ""
    assert refusal_of(ended(1, IMPORT)).strip() == IMPORT.strip()


def test_a_suite_leaves_out_step_by_step_until_nothing_is_left() -> None:
    suite = Suite(
        (*PYTEST, "--timeout=9", *FLAGS), options=PytestOptions(addopts=("--cov", "-m", "not slow"))
    )
    refusals = (f"{UNRECOGNIZED}--timeout=9 --cov", "Missing required plugins: pytest-cov")
    for refusal in refusals:
        fewer = suite.without(refusal)
        assert fewer is not None
        suite = fewer
    assert suite.without(refusals[0]) is None
    assert suite.whole()[: len(PYTEST) + len(FLAGS)] == (*PYTEST, *FLAGS)
    assert {"addopts=-m 'not slow'", "required_plugins=", "strict_config=false"} <= set(suite.whole())


@pytest.mark.bubblewrap
async def test_a_selection_holds_without_a_plugin(project: Make) -> None:
    options = '-p nope -m "not slow" --strict-config --nope=maths --nope-report term --ignore=tests/old'
    slow = "import pytest\n\n\n@pytest.mark.slow\ndef test_slow():\n    assert False\n"
    config = (
        f"[pytest]\naddopts = {options}\nrequired_plugins = pytest-nope\nmarkers = slow\nnope_mode = auto\n"
    )
    config += "filterwarnings = error\n"
    files = {"pytest.ini": config, "tests/test_slow.py": slow, "tests/old/test_old.py": "import nothing\n"}
    proof = await project(MATHS | files).prove(DOUBLE)
    assert proof.proves and proof.uncollected == []
    assert [*fates(proof)] == ["tests.test_double::test_double", "tests.test_maths::test_add"]
    assert "addopts=-m 'not slow' --strict-config --ignore=tests/old" in proof.command
