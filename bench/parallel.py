"""Measure eight parallel coder steps: the time of the coding phase compared with its slowest step.

    python bench/parallel.py [--steps 8] [--workers 8] [--ttft 0.5] [--tokens-per-second 80] [--tokens 160]

The model is scripted, with a time to its first token and a rate. Everything else is real. The script prints
the coding phase (first start to last finish of the coder node), the slowest step, and their ratio.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from datetime import datetime
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "tests")]

from desk import Desk
from gitrepo import GitRepo
from runs import CALC, Bench, Run, block, script


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--ttft", type=float, default=0.5)
    parser.add_argument("--tokens-per-second", type=float, default=80.0)
    parser.add_argument("--tokens", type=int, default=160)
    return parser.parse_args()


def coding(run: Run) -> dict[str, float]:
    """Return the seconds of the coding phase, and of its slowest step."""
    spans: dict[str, list[float]] = {}
    for event in run.events:
        if event.node == "coder" and event.step_id and event.type in ("node.started", "node.finished"):
            spans.setdefault(event.step_id, []).append(datetime.fromisoformat(event.ts).timestamp())
    starts, ends = [span[0] for span in spans.values()], [span[-1] for span in spans.values()]
    return {
        "coding phase": max(ends) - min(starts),
        "slowest step": max(end - start for start, end in zip(starts, ends, strict=True)),
    }


async def measure(options: argparse.Namespace) -> dict[str, float]:
    """Run independent steps once. The planner and the other agents answer at once."""
    steps = [
        {"agent": "coder", "description": f"Write part {n}.", "file": f"part{n}.py", "parallel_group": 1}
        for n in range(options.steps)
    ]
    words = " ".join(f"w{n}" for n in range(options.tokens - 8))
    with tempfile.TemporaryDirectory() as folder, Desk() as desk:
        for n in range(options.steps):
            desk.on(rf"Step: Write part {n}\.", block(f"part{n}.py", f'N = {n}\nWORDS = "{words}"'))
        test = block("tests/test_part.py", "import part0\n\n\ndef test_part():\n    assert part0.N == 0")
        script(desk, planner=json.dumps({"explanation": "", "steps": steps}), tester=test)
        desk.ttft, desk.tokens_per_second = options.ttft, options.tokens_per_second
        repo = GitRepo(Path(folder) / "repo")
        repo.commit(dict(CALC))
        bench = Bench(desk, Path(folder) / "home", repo)
        run = await bench.run(settings={"max_parallel_workers": options.workers})
        if run.end.status != "verified":
            raise SystemExit(f"the run ended as {run.end.status}: {run.end.missing}")
        return coding(run) | {"model alone": options.ttft + options.tokens / options.tokens_per_second}


def main() -> None:
    """Measure once and print."""
    seconds = asyncio.run(measure(parse()))
    for name, value in seconds.items():
        print(f"{name:14} {value:6.2f} s")
    print(f"{'ratio':14} {seconds['coding phase'] / seconds['slowest step']:6.2f}   (phase to slowest step)")


if __name__ == "__main__":
    main()
