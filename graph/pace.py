"""When the next run may begin: beginnings are work for the one event loop, which live readers wait for."""

import asyncio

FEW = 4
"""So many runs begin at once; more of them begin one after another."""

TICK = 0.2
"""Seconds between two beginnings while others are at work."""

LATE = 0.01
"""Seconds by which a timer may fire late in a loop that keeps up."""

LONGEST = 5
"""Ticks after which a run begins, however busy the loop is."""


class Pace:
    """Lets runs begin one by one, the next when the loop keeps up with those that are at work."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def turn(self, at_work: int) -> None:
        """Wait for a run's turn to begin, itself counted among those at work."""
        if at_work <= FEW:
            return
        clock = asyncio.get_running_loop().time
        async with self._turn:
            for _ in range(LONGEST):
                due = clock() + TICK
                await asyncio.sleep(TICK)
                if clock() - due < LATE:
                    return
