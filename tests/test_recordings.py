"""The sandbox that tests share replays exactly what a real one has said."""

import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from recordings import MUTANTS_OFF, RecordedSandbox, Recordings

from sandbox.base import Limits, Sandbox

pytestmark = [pytest.mark.bubblewrap]

LIMITS = Limits(seconds=30)
DICE = ["python", "-c", "import uuid; print(open('a').read(), uuid.uuid4())"]
"""A program whose output tells whether it ran again."""


OFF = MUTANTS_OFF.decode()


def tree(text: str) -> list[bytes]:
    """A tree with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("a")
        member.size, member.mode = len(text), 0o644
        archive.addfile(member, io.BytesIO(text.encode()))
    return [buffer.getvalue()]


@dataclass
class Dice:
    """Rolls in tests: each `begin` is another test of the session."""

    sandbox: Sandbox
    folder: Path
    recorded: RecordedSandbox = field(init=False)

    def begin(self) -> None:
        self.recorded = RecordedSandbox(self.sandbox, Recordings(self.folder))

    async def roll(
        self, text: str = OFF, limits: Limits = LIMITS, say: Callable[[str], None] | None = None
    ) -> str:
        return (await self.recorded.run(tree(text), DICE, limits, say)).stdout


@pytest.fixture
def dice(bubblewrap: Sandbox, tmp_path: Path) -> Dice:
    made = Dice(bubblewrap, tmp_path)
    made.begin()
    return made


async def test_another_test_gets_the_same_result_and_output(dice: Dice) -> None:
    said: list[str] = []
    first = await dice.roll(say=said.append)
    told = "".join(said)
    said.clear()
    dice.begin()
    assert await dice.roll(say=said.append) == first
    assert "".join(said) == told == first


async def test_one_test_runs_each_of_its_programs(dice: Dice) -> None:
    rolled = [await dice.roll(), await dice.roll()]
    assert rolled[0] != rolled[1]
    dice.begin()
    assert [await dice.roll(), await dice.roll()] == rolled


async def test_other_files_and_other_limits_make_another_program(dice: Dice) -> None:
    first = await dice.roll()
    dice.begin()
    assert await dice.roll(f"{OFF} y") != first
    assert await dice.roll(limits=replace(LIMITS, memory_mb=600)) != first


async def test_what_a_limit_ended_runs_again(dice: Dice) -> None:
    slow = ["sh", "-c", "cat /proc/sys/kernel/random/uuid; sleep 60"]
    limits = Limits(seconds=0.5)
    first = await dice.recorded.run(tree(OFF), slow, limits)
    dice.begin()
    assert first.timed_out
    assert (await dice.recorded.run(tree(OFF), slow, limits)).stdout != first.stdout


async def test_trees_with_mutants_run_again(dice: Dice) -> None:
    first = await dice.roll("mutants")
    dice.begin()
    assert await dice.roll("mutants") != first
