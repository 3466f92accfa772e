"""Measure what a tool call costs, and eight coders with ten calls each beside each other.

    python bench/agents.py [--calls 10] [--coders 8] [--backend bubblewrap|docker]

The model is scripted and answers at once. The commands are trivial, so that what is measured is ours: a
call's cost is the time from one request of the model to the next, without the command's own `sleep 0`. The
script prints the median and the worst call of one coder, then the coding phase of all coders at once,
compared with its slowest step.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "tests")]

from desk import Desk
from gitrepo import GitRepo
from parallel import coding
from runs import CALC, MUL, Bench, Run, block, script


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument("--coders", type=int, default=8)
    parser.add_argument("--backend", choices=("bubblewrap", "docker"), default="bubblewrap")
    return parser.parse_args()


async def run(options: argparse.Namespace, desk: Desk, **settings: Any) -> Run:
    """Run one task on a small repository."""
    with tempfile.TemporaryDirectory() as folder:
        repo = GitRepo(Path(folder) / "repo")
        repo.commit(dict(CALC))
        bench = Bench(desk, Path(folder) / "home", repo)
        return await bench.run(settings={"sandbox_backend": options.backend, **settings})


async def one(options: argparse.Namespace) -> list[float]:
    """Return the seconds between the requests of a coder that calls one trivial command after another."""
    with Desk() as desk:
        for number in range(options.calls):
            desk.on("You are a coder", [("execute", {"command": f"echo {number}"})], times=1)
        script(desk, coder=MUL)
        await run(options, desk)
        at = [request.at for request in desk.requests if "You are a coder" in request.prompt]
    return [after - before for before, after in pairwise(at)]


async def many(options: argparse.Namespace) -> dict[str, float]:
    """Return the seconds of the coding phase with all coders at once, and of its slowest step."""
    steps = [
        {"agent": "coder", "description": f"Write part {n}.", "file": f"part{n}.py", "parallel_group": 1}
        for n in range(options.coders)
    ]
    with Desk() as desk:
        for n in range(options.coders):
            for call in range(options.calls):
                command = {"command": f"echo {n} {call}"}
                desk.on(rf"coder.*Step: Write part {n}\.", [("execute", command)], times=1)
            desk.on(rf"coder.*Step: Write part {n}\.", block(f"part{n}.py", f"N = {n}"))
        test = block("tests/test_part.py", "import part0\n\n\ndef test_part():\n    assert part0.N == 0")
        script(desk, planner=json.dumps({"explanation": "", "steps": steps}), tester=test)
        return coding(await run(options, desk, max_parallel_workers=options.coders))


async def main() -> None:
    """Measure and print."""
    options = parse()
    spent = await one(options)
    # The first call opens the session.
    print(f"first call         {1000 * spent[0]:7.0f} ms")
    print(f"median of the rest {1000 * statistics.median(spent[1:]):7.0f} ms")
    print(f"worst of the rest  {1000 * max(spent[1:]):7.0f} ms")
    phase = await many(options)
    for name, seconds in phase.items():
        print(f"{name:18} {seconds:7.2f} s")
    print(f"ratio              {phase['coding phase'] / phase['slowest step']:7.2f}")


if __name__ == "__main__":
    asyncio.run(main())
