"""Measure the parts of a whole process that runs a one-step task, with a model that answers at once.

    python bench/overhead.py [--runs 5] [--backend bubblewrap|docker] [--against FOLDER]

Each run is a process of its own (`autocode run --json`) on a small repository. The script prints the shortest
time of each part. `--against` names another checkout with its own .venv. Its runs alternate with ours, so
that both meet the same load, and the ratio of our times to the other's is printed too.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from desk import Desk
from gitrepo import GitRepo
from runs import CALC, script

PARTS = {
    "planning": ("planner",),
    "coding": ("coder",),
    "testing": ("tester",),
    "sandbox": ("sandbox",),
    "reviewing": ("critic",),
    "git": ("snapshot", "merge", "commit"),
}


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--backend", choices=("bubblewrap", "docker"), default="bubblewrap")
    parser.add_argument("--against", type=Path)
    return parser.parse_args()


def once(desk: Desk, repo: Path, home: Path, backend: str, root: Path) -> dict[str, float]:
    """Run the task in one process of the checkout `root`, and return the seconds of each part."""
    own = {
        "AUTOCODE_HOME": str(home),
        "LLM_MODE": "local",
        "LOCAL_LLM_URL": desk.url,
        "SANDBOX_BACKEND": backend,
    }
    python = sys.executable if root == ROOT else str(root / ".venv/bin/python")
    command = [python, str(root / "server/main.py"), "run", "Add mul", "--repo", str(repo), "--json"]
    began, usage = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(root), **own}, capture_output=True, text=True
    )
    ended, used = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode}\n{done.stderr}")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    at = {event["seq"]: datetime.fromisoformat(event["ts"]).timestamp() for event in events}
    spent = {
        part: sum(e["data"]["seconds"] for e in events if e["type"] == "node.finished" and e["node"] in nodes)
        for part, nodes in PARTS.items()
    }
    running = at[events[-1]["seq"]] - at[1]
    return {
        "start-up": at[1] - began,
        **spent,
        "checkpoints, events": running - sum(spent.values()),
        "shutdown": ended - at[events[-1]["seq"]],
        "whole process": ended - began,
        "its processor time": used.ru_utime + used.ru_stime - usage.ru_utime - usage.ru_stime,
    }


def main() -> None:
    """Measure, and print the shortest time of each part."""
    options = parse()
    roots = [ROOT, *([options.against.resolve()] if options.against else [])]
    runs: dict[Path, list[dict[str, float]]] = {root: [] for root in roots}
    with tempfile.TemporaryDirectory() as folder, Desk() as desk:
        script(desk)
        repo = GitRepo(Path(folder) / "repo")
        repo.commit(dict(CALC))
        for _ in range(options.runs + 1):
            for number, root in enumerate(roots):
                home = Path(folder) / f"home{number}"
                runs[root].append(once(desk, repo.path, home, options.backend, root))
    for part in runs[ROOT][0]:
        # The first run builds the sandbox's environment and fills the caches, so it does not count.
        least = [min(run[part] for run in runs[root][1:]) for root in roots]
        ratio = f"{least[0] / least[1]:6.2f}" if len(least) > 1 and least[1] > 0.05 else ""
        print(f"{part:20}", *(f"{seconds:6.2f} s" for seconds in least), ratio)


if __name__ == "__main__":
    main()
