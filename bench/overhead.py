"""A one-step task with a model that answers at once: where the seconds of the whole process go.

    python bench/overhead.py [--runs 5] [--backend bubblewrap|docker]

Each run is a process of its own (`autocode run --json`) on a small repository. The least of all runs is
printed for each part; a part is told from the times of events, the rest from the process's start and end.
"""

import argparse
import json
import os
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
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--backend", choices=("bubblewrap", "docker"), default="bubblewrap")
    return parser.parse_args()


def once(desk: Desk, repo: Path, home: Path, backend: str) -> dict[str, float]:
    """Seconds of each part of one process."""
    own = {
        "AUTOCODE_HOME": str(home),
        "LLM_MODE": "local",
        "LOCAL_LLM_URL": desk.url,
        "SANDBOX_BACKEND": backend,
    }
    command = [
        sys.executable,
        str(ROOT / "server" / "main.py"),
        "run",
        "Add mul",
        "--repo",
        str(repo),
        "--json",
    ]
    began = time.time()
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT), **own}, capture_output=True, text=True
    )
    ended = time.time()
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
    }


def main() -> None:
    """Measure, and print the least of each part."""
    options = parse()
    with tempfile.TemporaryDirectory() as folder, Desk() as desk:
        script(desk)
        repo = GitRepo(Path(folder) / "repo")
        repo.commit(dict(CALC))
        home = Path(folder) / "home"
        once(desk, repo.path, home, options.backend)  # makes the sandbox's environment, fills the caches
        runs = [once(desk, repo.path, home, options.backend) for _ in range(options.runs)]
    for part in runs[0]:
        print(f"{part:20} {min(run[part] for run in runs):6.2f} s")


if __name__ == "__main__":
    main()
