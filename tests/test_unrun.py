"""Test modules that cannot run, and red checks that the base shows as well."""

from collections.abc import Callable

import pytest
from projects import DOUBLE, MATHS, Files, Project

from nodes.check.unrun.causes import cause_of, skipped_import, start_cause
from nodes.proof import Uncollected
from sandbox.base import Result

pytestmark = [pytest.mark.bubblewrap]

Make = Callable[[Files], Project]

APP = MATHS | {
    "shop/app.py": "import nosuch\nfrom maths import add\n\n\ndef view():\n    return add(1, 2)\n",
    "tests/test_app.py": "from shop.app import view\n\n\ndef test_view():\n    assert view() == 3\n",
}
LACKING = Uncollected(file="tests/test_app.py", reason="ModuleNotFoundError: No module named 'nosuch'")
WORDS = {
    "words.py": "WORD = 'a'\n",
    "tests/test_words.py": "from words import WORD\n\n\ndef test_word():\n    assert WORD == 'a'\n",
}
"""A change that has nothing to do with the module that cannot be imported."""


async def test_what_only_an_unrun_module_tests_is_a_gap(project: Make) -> None:
    here = project(APP)
    broken = {"shop/app.py": APP["shop/app.py"].replace("1, 2", "1, 9")}
    proof = await here.prove(WORDS | broken)
    assert proof.green and proof.uncollected == [LACKING]
    assert proof.gaps == [
        "not verified: tests/test_app.py cannot be imported here (No module named 'nosuch') "
        "and it tests shop/app.py, which the change edits"
    ]
    untested = await here.prove(WORDS | {"shop/lone.py": "x = 1\n"})
    assert untested.gaps == [
        "not verified: no test module that runs here imports shop/lone.py, which the change edits, "
        "and tests/test_app.py cannot be imported (No module named 'nosuch')"
    ]
    proof = await here.prove(WORDS)
    assert proof.proves and proof.uncollected == [LACKING] and not proof.gaps


async def test_a_new_test_of_what_cannot_be_imported_is_not_the_changes_fault(project: Make) -> None:
    test = APP["tests/test_app.py"].replace("test_view", "test_again")
    here = project(APP)
    proof = await here.prove({"tests/test_again.py": test})
    assert proof.base_shows_it and not proof.green
    assert proof.problems[0].startswith("tests.test_again cannot run here: no module named 'nosuch', which")
    foreign = await here.prove({"tests/test_again.py": "import hypothetical\n" + test})
    assert not foreign.green and not foreign.base_shows_it


async def test_a_suite_that_cannot_start_says_why_and_is_not_the_changes_fault(project: Make) -> None:
    proof = await project(MATHS | {"tests/conftest.py": "import nosuch\n"}).prove(DOUBLE)
    assert proof.base_shows_it and proof.baseline == "unknown"
    assert proof.problems[0].startswith(
        "the suite cannot start here, on the base either: tests/conftest.py: No module named 'nosuch'"
    )
    assert proof.uncollected == [
        Uncollected(file="tests/conftest.py", reason="ModuleNotFoundError: No module named 'nosuch'")
    ]
    assert proof.baseline_reason.startswith("the tests of the base ended with exit code 4 (tests/conftest.py")


async def test_a_module_that_skips_itself_is_named_and_optional(project: Make) -> None:
    optional = {"tests/test_app.py": "import pytest\n\npytest.importorskip('nosuch')\nimport maths\n"}
    proof = await project(MATHS | optional).prove(DOUBLE)
    assert proof.proves and not proof.gaps
    assert [module.file for module in proof.uncollected] == ["tests/test_app.py"]


def test_causes_are_read_from_outputs() -> None:
    traceback = (
        "ImportError while importing test module '/workspace/tests/test_a.py'.\nTraceback:\n"
        "tests/test_a.py:1: in <module>\n    import app\nshop/app.py:3: in <module>\n    import yaml.x\n"
        "E   ModuleNotFoundError: No module named 'yaml'"
    )
    cause = cause_of(traceback)
    assert (cause.reason, cause.file) == ("ModuleNotFoundError: No module named 'yaml'", "shop/app.py")
    assert cause.missing == "yaml" and cause_of("").reason == ""
    assert skipped_import("('/w/t.py', 2, \"Skipped: could not import 'a': No module named 'a'\")") == (
        "could not import 'a': No module named 'a'"
    )
    assert skipped_import("('/w/t.py', 2, 'Skipped: not on this system')") == ""
    usage = "usage: pytest [options]\npython -m pytest: error: unrecognized arguments: --cov\n  inifile: None"
    assert start_cause(Result(4, "", usage, 0.1)).reason == (
        "python -m pytest: error: unrecognized arguments: --cov"
    )
    assert start_cause(Result(1, "", "/usr/bin/python: No module named pytest\n", 0.1)).missing == "pytest"
