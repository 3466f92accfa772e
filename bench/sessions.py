"""Measure sessions on a repository of 3,000 files and 50 MB.

    python bench/sessions.py [--sandbox bubblewrap|docker|bare …] [--rounds 10]

The script prints the milliseconds of a start, of a trivial command, of reading and writing a file, and of the
changes after a command that changed nothing, after one that changed three files, and after one that read all.
Then eight sessions at once take ten turns each, a turn being a command and its changes. `bare` is bubblewrap
without an overlay, as an ordinary user has it. Medians are printed, with the worst value behind them.
"""

import argparse
import asyncio
import io
import random
import statistics
import sys
import tarfile
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from graph.resources import ownership
from sandbox.backends import open_sandbox
from sandbox.base import Limits, Sandbox, Session
from sandbox.bubblewrap.bubblewrap_sandbox import Bubblewrap
from sandbox.cgroup import Cgroups

Kind = Literal["bubblewrap", "bare", "docker"]

LIMITS = Limits()
FILES, BYTES = 3_000, 17_000
EDIT = ["sh", "-c", "echo '# edited' >>d1/e1/f1.py; echo new >d2/new.py; rm -f d3/e3/f3.py"]
SESSIONS, TURNS = 8, 10


def archive() -> bytes:
    """Return a tar stream of random files in 400 folders."""
    source, out = random.Random(1), io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for number in range(FILES):
            member = tarfile.TarInfo(f"d{number % 40}/e{number % 10}/f{number}.py")
            member.size = BYTES
            tar.addfile(member, io.BytesIO(source.randbytes(BYTES)))
    return out.getvalue()


async def timed(work: Awaitable[object]) -> float:
    """Return the milliseconds that something takes."""
    began = time.monotonic()
    await work
    return (time.monotonic() - began) * 1000


def show(label: str, times: Sequence[float]) -> None:
    """Print the median and the worst value."""
    print(f"  {label:38} {statistics.median(times):7.1f} ms   {max(times):7.1f}")


async def start(sandbox: Sandbox, tree: bytes) -> float:
    """Return the milliseconds until a session is open. The rest is not timed."""
    began = time.monotonic()
    async with sandbox.session([tree], LIMITS):
        return (time.monotonic() - began) * 1000


async def one(session: Session, rounds: int) -> None:
    """Print the figures of one session."""
    commands = [await timed(session.run(["true"])) for _ in range(rounds)]
    show("trivial command", commands)
    show("changes, none", [await timed(session.changes()) for _ in range(rounds)])
    await session.run(EDIT)
    show("changes, three files, first time", [await timed(session.changes())])
    show("changes, three files, again", [await timed(session.changes()) for _ in range(rounds)])
    await session.run(["grep", "-rq", "no such text", "."])
    show("changes, all files were read", [await timed(session.changes())])
    show("read a file", [await timed(session.read("d1/e1/f1.py")) for _ in range(rounds)])
    show("write a file", [await timed(session.write("d4/w.py", b"x\n")) for _ in range(rounds)])


async def turns(sandbox: Sandbox, tree: bytes) -> list[float]:
    """Return the milliseconds of each turn of one session among several."""
    async with sandbox.session([tree], LIMITS) as session:

        async def turn() -> None:
            await session.run(EDIT)
            await session.changes()

        return [await timed(turn()) for _ in range(TURNS)]


async def main(kind: Kind, rounds: int) -> None:
    """Measure one backend."""
    home = Path.home() / ".autocode"
    if kind == "bare":
        sandbox: Sandbox = await Bubblewrap.open(home, cgroups=Cgroups())
    else:
        sandbox = await open_sandbox(kind, home, ownership=ownership())
    tree = archive()
    try:
        print(kind)
        show("start", [await start(sandbox, tree) for _ in range(max(3, rounds // 3))])
        sandbox.prepare()
        await asyncio.sleep(2)
        show("start, prepared", [await start(sandbox, tree)])
        async with sandbox.session([tree], LIMITS) as session:
            await one(session, rounds)
        began = time.monotonic()
        together = await asyncio.gather(*(turns(sandbox, tree) for _ in range(SESSIONS)))
        show(f"a turn, {SESSIONS} sessions at once", [each for times in together for each in times])
        print(f"  {SESSIONS} sessions of {TURNS} turns, with starts    {time.monotonic() - began:7.2f} s")
    finally:
        await sandbox.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sandbox", choices=("bubblewrap", "bare", "docker"), nargs="*")
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    for each in arguments.sandbox or ("bubblewrap", "bare", "docker"):
        asyncio.run(main(each, arguments.rounds))
