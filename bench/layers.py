"""Measure the runs of a check with a shared tree and without.

    python bench/layers.py REPO [--sandbox bubblewrap|docker] [--edits 10] [-- COMMAND …]

The sequence is that of a check: the base, the change, then small edits of it, one after another and four at a
time. The script prints seconds with and without a layer, and their ratio. It changes no file and no branch.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from nodes.check.execution.shared_tree import SharedTree
from sandbox.backends import Backend, open_sandbox
from sandbox.base import Limits, Sandbox
from tools.workspace import Workspace

_SIDE_BY_SIDE = 4

Run = Callable[[str, dict[str, str]], Coroutine[Any, Any, object]]


async def sequence(run: Run, base: str, head: str, edits: Sequence[dict[str, str]]) -> tuple[float, float]:
    """Return the seconds of base and change, and the seconds of an edit when they run side by side."""
    began = time.monotonic()
    await run(base, {})
    await run(head, {})
    middle = time.monotonic()
    waiting = list(edits)

    async def worker() -> None:
        while waiting:
            await run(head, waiting.pop())

    async with asyncio.TaskGroup() as group:
        for _ in range(_SIDE_BY_SIDE):
            group.create_task(worker())
    return middle - began, time.monotonic() - middle


async def measure(
    sandbox: Sandbox, workspace: Workspace, is_small: bool, count: int, command: Sequence[str]
) -> tuple[float, float]:
    """Time one sequence on the repository's HEAD. Its change is a comment in the first Python file."""
    base = workspace.begin(from_head=True).snapshot
    files = workspace.files(base)
    path = next(name for name in files if name.endswith(".py") and workspace.text(base, name))
    text = workspace.text(base, path) or ""
    head = workspace.write(base, {path: f"{text}\n# changed\n"}, "A change to measure")
    edits = [{path: f"{text}\n# edit {number}\n"} for number in range(count)]
    limits = Limits(seconds=120, workspace_mb=max(256, (sum(files.values()) >> 20) * 3 // 2 + 128))
    async with SharedTree(workspace.path, sandbox, base, limits, is_small) as tree:

        async def run(snapshot: str, changed: dict[str, str]) -> object:
            return await tree.run(snapshot, changed, command, limits)

        sandbox.prepare(2)
        return await sequence(run, base, head, edits)


async def main(repo: Path, backend: Backend, count: int, command: Sequence[str]) -> None:
    """Measure both ways twice, and print the better one of each."""
    workspace = Workspace.open(repo)
    sandbox = await open_sandbox(backend, Path.home() / ".autocode")
    try:
        best: dict[str, tuple[float, float]] = {}
        for name, is_small in (("without a layer", True), ("with a layer", False)) * 2:
            times = await measure(sandbox, workspace, is_small, count, command)
            best[name] = min(times, best.get(name, times), key=sum)
        for name, (first, rest) in best.items():
            print(f"{name:16} base and change {first:6.2f} s, {count} edits {rest:6.2f} s")
        plain, layered = (sum(times) for times in best.values())
        print(f"without / with   {plain / layered:.2f}")
    finally:
        await sandbox.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("repo", type=Path)
    parser.add_argument("--sandbox", choices=("bubblewrap", "docker"), default="bubblewrap")
    parser.add_argument("--edits", type=int, default=10)
    parser.add_argument("command", nargs="*", default=["python", "-c", "pass"])
    arguments = parser.parse_args(sys.argv[1:])
    asyncio.run(main(arguments.repo, arguments.sandbox, arguments.edits, arguments.command))
