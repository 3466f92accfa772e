"""Prove the last fixes of real repositories, with their own tests, under our rules and others.

    python bench/proof.py CLONE… [--each 3] [--against FOLDER] [--backend bubblewrap|docker] [--only SHA]

A fix is a commit of at most eight files that changes tests and sources of Python, newest first. Its parent is
the base. Each proof runs in a process of its own: under the rules of the checkout `--against`, under ours
without mutants, and under ours with them. The script prints the fixes that only the other checkout lets
through, the ratio of the times, and the share of changed source lines that no test guards. It exits 1 if a
fix is refused that the other checkout lets through, or if checks without mutants take 2.5 times as long.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MOST_FILES = 8
MOST_RATIO = 2.5
OFF = '[test]\nmutants = "off"\n'


def fixes(clone: Path, count: int, only: str) -> Iterator[tuple[str, str]]:
    """Yield subject and id of the newest fixes."""
    log = git(
        clone, "log", "--no-merges", "--format=%x00%H %s", "--name-status", "-n", "2000", only or "HEAD"
    )
    for entry in log.split("\0")[1:]:
        (head, _, subject), *rows = entry.split("\n", 1)[0].partition(" "), *entry.split("\n")[1:]
        paths = [row.split("\t")[-1] for row in rows if "\t" in row]
        code = [path for path in paths if path.endswith(".py") and path != "setup.py"]
        tests = [path for path in code if "test" in path]
        if tests and len(tests) < len(code) and len(paths) <= MOST_FILES:
            yield subject, head
            count -= 1
        if not count or only:
            return


def git(folder: Path, *arguments: str) -> str:
    """Run git and return its output."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, errors="replace").stdout


async def prove_one(folder: Path, head: str, backend: Any, mutants: bool) -> dict[str, Any]:
    """Prove one fix with the checkout that this process imports."""
    from graph.settings import Settings
    from nodes.check import PackageSandboxes, prove
    from sandbox.backends import open_sandbox
    from sandbox.base import Limits
    from tools.workspace import Workspace

    class Forgetful:
        async def check(self, key: str) -> None:
            return None

        async def store_check(self, key: str, value: str) -> None:
            pass

    workspace = Workspace.open(folder)
    base = workspace.resolve(f"{head}^")
    if not mutants:
        base, head = (workspace.write(side, {".autocode.toml": OFF}, "no mutants") for side in (base, head))
    sandbox = await open_sandbox(backend, Settings().home)
    try:
        began = time.monotonic()
        proof = await prove(
            workspace,
            [PackageSandboxes.bare(sandbox)],
            base,
            head,
            limits=Limits(),
            cache=Forgetful(),
            notify=lambda type, data: None,
        )
        seconds = time.monotonic() - began
    finally:
        await sandbox.aclose()
    seen = json.loads(proof.model_dump_json())
    reasons = seen["problems"] + seen.get("gaps", [])
    reasons += [] if not proof.green or proof.proves else ["no new test fails on the base"]
    changed = [change for change in workspace.changes(base, head) if change.path.endswith(".py")]
    return {
        "verified": not reasons,
        "seconds": seconds,
        "reasons": reasons,
        "suspicious": seen.get("suspicious", []),
        "contradicted": seen.get("contradicted", []),
        "strength": seen.get("strength"),
        "unguarded": unguarded_lines(workspace, base, head, seen.get("unguarded", [])),
        "lines": sum(change.added for change in changed if "test" not in change.path),
    }


def unguarded_lines(workspace: Any, base: str, head: str, places: list[dict[str, Any]]) -> int:
    """Return how many of the changed lines are within these places."""
    if not places:
        return 0
    from tools.workspace import line_changes

    count = 0
    for path in {place["file"] for place in places}:
        hunks = line_changes(workspace.read(base, path) or b"", workspace.read(head, path) or b"")
        within = {
            line
            for place in places
            for line in range(place["first"], place["last"] + 1)
            if place["file"] == path
        }
        count += len(within & {line for hunk in hunks for line in hunk.added})
    return count


def run(root: Path, folder: Path, head: str, backend: str, mutants: bool) -> dict[str, Any]:
    """Prove in a process of the checkout `root`."""
    python = sys.executable if root == ROOT else str(root / ".venv/bin/python")
    options = ["--prove", head, "--backend", backend, *([] if mutants else ["--no-mutants"])]
    done = subprocess.run(
        [python, "-P", __file__, str(folder), *options],
        env={
            "PYTHONPATH": str(root),
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(Path.home()),
        },
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return {"verified": False, "seconds": 0.0, "reasons": [reason], "failed": True}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def report(name: str, label: str, result: dict[str, Any]) -> None:
    """Print one line for a proof, with the first reasons of a refusal."""
    word = "verified" if result["verified"] else "refused "
    extra = ""
    if strength := result.get("strength"):
        extra = f"  {strength['killed']} of {strength['tried']} mutants, "
        extra += f"{result['unguarded']} of {result['lines']} lines unguarded"
    if suspicions := result.get("suspicious"):
        extra += f"  {len(suspicions)} suspicious"
    if contradicted := result.get("contradicted"):
        extra += f"  {len(contradicted)} contradicted"
    print(f"{name:44} {label:12} {word} {result['seconds']:6.1f} s{extra}", flush=True)
    for reason in result["reasons"][:3]:
        print(f"{'':46}{reason[:180]}", flush=True)
    for each in result.get("suspicious", [])[:3]:
        print(f"{'':46}? {each['file']}:{each['line']} {each['text'][:120]}", flush=True)


def main() -> None:
    """Run the benchmark, or one proof for it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("clones", nargs="+", type=Path)
    parser.add_argument("--each", type=int, default=3)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--backend", choices=("bubblewrap", "docker"), default="bubblewrap")
    parser.add_argument("--only", default="", help="the id of one commit")
    parser.add_argument("--prove", help=argparse.SUPPRESS)
    parser.add_argument("--no-mutants", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prove:
        one = prove_one(options.clones[0], options.prove, options.backend, not options.no_mutants)
        print(json.dumps(asyncio.run(one)))
        return
    times, lost, lines, unguarded, verified = {"old": 0.0, "ours": 0.0, "mutants": 0.0}, [], 0, 0, 0
    for clone in options.clones:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "repo")
            subprocess.run(["git", "clone", "-q", "--no-checkout", str(clone), str(folder)], check=True)
            for subject, head in fixes(folder, options.each, options.only):
                name = f"{clone.resolve().parent.name.rpartition('+')[2]} {head[:8]} {subject}"[:44]
                old = run(options.against, folder, head, options.backend, True) if options.against else None
                ours = run(ROOT, folder, head, options.backend, False)
                mutants = run(ROOT, folder, head, options.backend, True)
                for label, result in (("old rules", old), ("ours", ours), ("with mutants", mutants)):
                    if result:
                        report(name, label, result)
                verified += mutants["verified"]
                lines, unguarded = lines + mutants.get("lines", 0), unguarded + mutants.get("unguarded", 0)
                if old and old["verified"]:
                    times["old"] += old["seconds"]
                    times["ours"] += ours["seconds"]
                    times["mutants"] += mutants["seconds"]
                    lost += [] if ours["verified"] and mutants["verified"] else [name]
    print(f"\n{verified} verified; {unguarded} of {lines} changed lines of source unguarded")
    if not options.against or not times["old"]:
        return
    ratio = times["ours"] / times["old"]
    with_mutants = times["mutants"] / times["old"]
    print(f"time without mutants {ratio:.2f} times the old, with mutants {with_mutants:.2f} times")
    print(f"refused, and let through by the old rules: {len(lost)}", *lost, sep="\n  ")
    sys.exit(bool(lost) or ratio > MOST_RATIO)


if __name__ == "__main__":
    main()
