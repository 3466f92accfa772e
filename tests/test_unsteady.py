"""Tests that fail by chance, as those that measure time do on a busy machine."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from projects import ADD, DOUBLE, MATHS, SUBTRACT, Files, Project, SandboxAround, fates
from story import PROOF

from nodes.dialogue.results import summarize
from sandbox.base import Limits, Result, Sandbox

pytestmark = [pytest.mark.bubblewrap]

NEW = "tests.test_double::test_double"
OUT = "the failed cases alone"
OUT_ON_BASE = "the failed cases on the base"


class Busy(SandboxAround):
    """A sandbox in which a case fails in the first run on the change, or in all runs but the very first."""

    def __init__(self, real: Sandbox, case: str, always: bool = False) -> None:
        super().__init__(real)
        self._case, self._always, self._runs = case, always, 0

    def altered(self, result: Result, limits: Limits, told: bool) -> Result:
        self._runs += told or self._always
        if self._runs < 2 if self._always else not told or self._runs > 1:
            return result
        report = tuple(
            replace(case, outcome="failed", message="E   assert 2.1 < 1") if case.id == self._case else case
            for case in result.report or ()
        )
        return replace(result, exit_code=1, report=report)


@pytest.mark.parametrize("case", [ADD, NEW])
async def test_a_case_that_passes_alone_passed_and_is_named(
    tmp_path: Path, recorded: Sandbox, case: str
) -> None:
    here = Project(tmp_path / "repo", Busy(recorded, case), MATHS)
    proof = await here.prove(DOUBLE)
    assert proof.proves and proof.unsteady == [case] and proof.exit_code == 0
    assert proof.contradicted == [] and fates(proof)[case][1] == "passed"
    assert here.started.count(OUT) == 1
    told = summarize(proof.model_dump(), ())
    fate = "failed at first, then passed alone, or failed on the base as well"
    assert f"Unsteady: 1 case {fate}: {case}" in told.weaknesses


async def test_a_case_that_fails_on_the_base_too_when_it_runs_again_is_not_blamed_on_the_change(
    tmp_path: Path, recorded: Sandbox
) -> None:
    here = Project(tmp_path / "repo", Busy(recorded, ADD, always=True), MATHS)
    proof = await here.prove(DOUBLE)
    assert proof.proves and proof.unsteady == [ADD] and fates(proof)[ADD] == ("failed", "failed")
    assert here.started.count(OUT_ON_BASE) == 1


async def test_a_case_that_fails_alone_is_red_after_one_run_more(project: Callable[[Files], Project]) -> None:
    here = project(MATHS)
    proof = await here.prove(SUBTRACT)
    assert not proof.green and proof.unsteady == [] and fates(proof) == {ADD: ("passed", "failed")}
    assert here.started.count(OUT) == 1


async def test_a_change_that_spoils_later_tests_is_no_chance(project: Callable[[Files], Project]) -> None:
    leaves = "SEEN = []\n\n\ndef add(a, b):\n    SEEN.append(a)\n    return a + b if len(SEEN) < 2 else 0\n"
    later = {"tests/test_zz.py": MATHS["tests/test_maths.py"]}
    proof = await project(MATHS | later).prove({"maths.py": leaves})
    assert not proof.green and proof.unsteady == []


async def test_a_name_that_is_missing_is_no_chance(project: Callable[[Files], Project]) -> None:
    here = project(MATHS)
    proof = await here.prove({"maths.py": "def add(a, b):\n    return a + c\n"})
    assert not proof.green and OUT not in here.started


def test_several_unsteady_cases_are_counted() -> None:
    (told,) = summarize(PROOF | {"vacuous": [], "unsteady": ["t::a", "t::b"]}, ()).weaknesses
    assert told == (
        "Unsteady: 2 cases failed at first, then passed alone, or failed on the base as well: t::a, t::b"
    )
