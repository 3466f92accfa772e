"""Beginnings are spread where the loop has much to do, and never held for long."""

import asyncio
import time

from graph.pace import FEW, LONGEST, TICK, Pace


def work() -> None:
    """What a run's beginning looks like to all others on the loop."""
    time.sleep(0.65 * TICK)


async def test_few_runs_begin_at_once() -> None:
    turn = asyncio.create_task(Pace().turn(FEW))
    await asyncio.sleep(0)
    assert turn.done()


async def test_many_begin_one_after_another_once_the_loop_keeps_up() -> None:
    pace, told = Pace(), list[str]()

    async def begin(name: str) -> None:
        await pace.turn(FEW + 1)
        told.append(name)

    async def busy() -> None:
        for _ in range(LONGEST):
            work()
            await asyncio.sleep(0)
        told.append("calm")

    await asyncio.gather(busy(), begin("first"), begin("second"))
    assert told == ["calm", "first", "second"]


async def test_a_loop_that_never_keeps_up_holds_nobody_for_ever() -> None:
    async def busy() -> None:
        while True:
            work()
            await asyncio.sleep(0)

    hog = asyncio.create_task(busy())
    await asyncio.wait_for(Pace().turn(FEW + 1), 60)
    assert hog.cancel()
