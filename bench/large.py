"""Measure repositories of many files and of large files: seconds and peak memory.

    python bench/large.py [--backend bubblewrap|docker] [--only unpack|tasks] [--scale 1.0]

`unpack` sends the files of a repository to a sandbox, and compares that with `git archive | tar -x`. One
repository has 100,000 small files, the other 1.9 GB. `tasks` runs a one-function task in repositories of 100,
2,000 and 20,000 files, with a model that answers at once, in a process of its own, and prints the ratio of
the last to the first. The task runs again in each, which finds files unpacked. A plain pytest in the checkout
shows the cost of its walk over the files to any user. Processor time counts all processes but Docker's.
`--scale` makes all of it smaller.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from desk import Desk
from gitrepo import GitRepo
from runs import CALC, script

from sandbox.backends import Backend, open_sandbox
from sandbox.base import Delta, Limits
from tools.workspace import Workspace

MIB = 2**20
LARGE_FILE = 50 * MIB

MODULE = '''"""Module {number}."""

import os


class Thing{number}:
    """A thing."""

    def value(self, factor):
        """Return a value."""
        return factor * {number}
'''


def small_files(count: int) -> Iterator[tuple[str, bytes]]:
    """Yield modules in folders of a hundred, and a project with a test."""
    for number in range(count - len(CALC)):
        yield f"pkg/p{number // 100}/m{number}.py", MODULE.format(number=number).encode()
    yield from ((path, text.encode()) for path, text in CALC.items())


def large_files(size: int) -> Iterator[tuple[str, bytes]]:
    """Yield files of random bytes."""
    for number in range(size // LARGE_FILE):
        yield f"data/{number}.bin", os.urandom(LARGE_FILE)
    yield from ((path, text.encode()) for path, text in CALC.items())


def make(path: Path, files: Iterator[tuple[str, bytes]]) -> GitRepo:
    """Import files into a repository and check them out."""
    repo = GitRepo(path)
    repo.git("config", "core.compression", "0")
    command = ["git", "-c", "core.bigFileThreshold=1m", "fast-import", "--quiet"]
    with subprocess.Popen(command, cwd=path, stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(b"commit refs/heads/main\ncommitter U <u@example.org> 0 +0000\ndata 1\nm")
        for name, data in files:
            process.stdin.write(b"M 644 inline %s\ndata %d\n%s\n" % (name.encode(), len(data), data))
    repo.git("reset", "-q", "--hard", "main")
    return repo


def measured(work: Callable[[], object]) -> tuple[float, float, int]:
    """Return the seconds of work in child processes, their processor time, and the peak of one in MiB."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, spent, after.ru_maxrss // 1024


def archive(repo: Path) -> dict[str, float]:
    """Unpack with git and tar."""
    with tempfile.TemporaryDirectory() as folder:
        command = f"git -C '{repo}' archive HEAD | tar -xf - -C '{folder}'"
        seconds, cpu, peak = measured(lambda: subprocess.run(["sh", "-c", command], check=True))
    return {"seconds": seconds, "cpu": cpu, "peak": peak}


async def unpack(repo: Path, backend: Backend, home: Path) -> dict[str, float]:
    """Unpack in a sandbox, and return the peak of this process and of its children."""
    workspace = Workspace.open(repo)
    sandbox = await open_sandbox(backend, home)
    try:
        began = time.monotonic()
        snapshot = workspace.begin(from_head=True).snapshot
        room = workspace.room(snapshot)
        limits = Limits(seconds=120).with_room_for(room.bytes, room.files)
        async with sandbox.layer(workspace.tar(snapshot), limits) as layer:
            result = await layer.run(Delta(), ["true"], limits)
        assert result.exit_code == 0, result.stderr
        seconds = time.monotonic() - began
    finally:
        await sandbox.aclose()
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in both)
    return {"seconds": seconds, "cpu": cpu, "peak": sum(usage.ru_maxrss for usage in both) // 1024}


def measure_unpacking(repo: Path, backend: str, home: Path) -> None:
    """Print both ways, twice, so that the second finds the files in the cache."""
    for _ in range(2):
        plain = archive(repo)
        command = [sys.executable, __file__, "--unpack", str(repo), "--backend", backend, "--home", str(home)]
        ours = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        ratio = ours["seconds"] / plain["seconds"]
        for name, figures in (("git archive", plain), (backend, ours)):
            print(f"  {name:12}" + " ".join(f"{key} {value:8.1f}" for key, value in figures.items()))
        print(f"  ratio       {ratio:.2f}", flush=True)


def measure_tasks(counts: list[int], backend: str, folder: Path, home: Path) -> None:
    """Run a task in a repository of each size, and print the ratio of the last to the first."""
    walls, cpus = list[float](), list[float]()
    with Desk() as desk:
        script(desk)
        own = {"AUTOCODE_HOME": str(home), "LLM_MODE": "local", "LOCAL_LLM_URL": desk.url}
        environment = {**os.environ, **own, "SANDBOX_BACKEND": backend, "PYTHONPATH": str(ROOT)}
        for count in (counts[0], *counts):  # the first run builds the sandbox's environment
            repo = make(folder / f"tasks{len(walls)}", small_files(count))
            program = [sys.executable, "-m", "server.main", "run", "Add mul"]
            command = [*program, "--repo", str(repo.path), "--json"]

            def run(command: list[str] = command) -> None:
                subprocess.run(command, env=environment, capture_output=True, check=True)

            def suite(folder: Path = repo.path) -> None:
                tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
                subprocess.run(tests, cwd=folder, capture_output=True, check=True)

            seconds, cpu, _ = measured(run)
            again, _, _ = measured(run)
            plain, plain_cpu, _ = measured(suite)
            print(f"  {count:6} files {seconds:6.1f} s, {cpu:6.1f} s of processor time, again {again:6.1f} s")
            print(f"    a plain pytest {plain:6.1f} s, {plain_cpu:6.1f} s of processor time", flush=True)
            walls.append(seconds)
            cpus.append(cpu)
    print(f"  ratio {walls[-1] / walls[1]:.2f}, of processor time {cpus[-1] / cpus[1]:.2f}")


def main() -> None:
    """Make the repositories in a temporary folder, and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--backend", choices=("bubblewrap", "docker"), default="bubblewrap")
    parser.add_argument("--only", choices=("unpack", "tasks"))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--counts", default="100,2000,20000", help="files of the repositories of tasks")
    parser.add_argument("--unpack", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.unpack:
        print(json.dumps(asyncio.run(unpack(options.unpack, options.backend, options.home))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home = options.home or folder / "home"
        if options.only != "tasks":
            many, size = int(100_000 * options.scale), int(1900 * MIB * options.scale)
            for title, files in (
                (f"{many:,} files", small_files(many)),
                (f"{size:,} bytes", large_files(size)),
            ):
                print(title, flush=True)
                measure_unpacking(make(folder / title.partition(" ")[0], files).path, options.backend, home)
        if options.only != "unpack":
            print("one-function task")
            counts = [int(float(count) * options.scale) for count in options.counts.split(",")]
            measure_tasks(counts, options.backend, folder, home)


if __name__ == "__main__":
    main()
