"""The runs of a check see the files of their snapshot, shared with the base or not."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from projects import ADD, DOUBLE, MATHS, SUBTRACT, Files, Project, fates
from test_sandbox_layers import held

from nodes.check.execution.shared_tree import SharedTree
from sandbox.base import Limits, Sandbox, SandboxError
from tools.workspace import Workspace

LIMITS = Limits(seconds=20)
LIST = ["sh", "-c", "find . ! -name . -printf '%M %p %l\\n' | sort -k 2; cat a.txt pkg/*"]

BASE = {
    "a.txt": "one\n",
    "pkg/b.py": "x = 1\n",
    "pkg/c.py": "y = 2\n",
    "old/deep/only.txt": "gone soon\n",
    "old/deeper/too.txt": "gone as well\n",
    "plain": "a file\n",
    "folder/inside": "in a folder\n",
    "run.sh": "echo ran\n",
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.init(tmp_path)


@pytest.fixture
def base(workspace: Workspace) -> str:
    return workspace.write(workspace.begin().snapshot, BASE, "base")


@pytest.fixture
def head(workspace: Workspace, base: str) -> str:
    changes: dict[str, str | None] = dict.fromkeys(("old/deep/only.txt", "old/deeper/too.txt", "pkg/c.py"))
    changes |= {
        "plain": None,
        "plain/inside": "now a folder\n",
        "folder/inside": None,
        "folder": "now a file\n",
    }
    changes |= {"pkg/b.py": "x = 3\n", "pkg/new.py": "z = 4\n"}
    return workspace.write(base, changes, "head", modes={"run.sh": 0o755})


@pytest.mark.parametrize(
    "edits", [{}, {"run.sh": "echo edited\n", "pkg/b.py": "x = 5\n", "pkg/d.py": "new\n"}]
)
async def test_shared_or_not_a_run_sees_the_files_of_its_snapshot(
    workspace: Workspace, bubblewrap: Sandbox, base: str, head: str, edits: dict[str, str]
) -> None:
    for snapshot in (base, head):
        seen = []
        for is_small in (True, False):
            async with SharedTree(workspace.path, bubblewrap, base, LIMITS, is_small) as tree:
                result = await tree.run(snapshot, edits, LIST, LIMITS)
                assert not result.exit_code, result.stderr
                seen.append(result.stdout)
        assert seen[0] == seen[1] and ("x = 5" in seen[0]) == bool(edits)


async def test_what_stands_in_the_runs_own_edits_is_not_written(
    workspace: Workspace, bubblewrap: Sandbox, base: str
) -> None:
    before = len(list((workspace.path / ".git" / "objects").rglob("*")))
    async with SharedTree(workspace.path, bubblewrap, base, LIMITS, is_small=False) as tree:
        result = await tree.run(base, {"pkg/b.py": "x = 99\n"}, ["cat", "pkg/b.py"], LIMITS)
    assert result.stdout == "x = 99\n"
    assert len(list((workspace.path / ".git" / "objects").rglob("*"))) == before


async def test_a_run_that_is_cancelled_leaves_the_tree_to_the_others(
    workspace: Workspace, bubblewrap: Sandbox, base: str
) -> None:
    async with SharedTree(workspace.path, bubblewrap, base, LIMITS, is_small=False) as tree:
        first, second = (asyncio.create_task(tree.run(base, {}, ["cat", "a.txt"], LIMITS)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).stdout == "one\n" and first.cancelled()


@pytest.mark.parametrize("pause", [0, 0.02, 0.3, 1])
async def test_a_check_that_is_cancelled_leaves_no_tree(
    workspace: Workspace, bubblewrap: Sandbox, base: str, pause: float
) -> None:
    async def check() -> None:
        async with SharedTree(workspace.path, bubblewrap, base, LIMITS, is_small=False) as tree:
            await asyncio.gather(*(tree.run(base, {}, ["sleep", "60"], LIMITS) for _ in range(2)))

    task = asyncio.create_task(check())
    await asyncio.sleep(pause)
    task.cancel()
    await asyncio.sleep(0.01)
    task.cancel()  # and again, while the tree is being removed
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(100):
        if not held():
            break
        await asyncio.sleep(0.1)
    assert not held()
    await bubblewrap.aclose()  # waits for what is still being removed


async def test_a_tree_that_does_not_fit_fails_every_run_with_the_reason(
    workspace: Workspace, bubblewrap: Sandbox, base: str
) -> None:
    large = workspace.write(base, {"blob": bytes(3_000_000)}, "large")
    small = Limits(workspace_mb=1)
    async with SharedTree(workspace.path, bubblewrap, large, small, is_small=False) as tree:
        for _ in range(2):
            with pytest.raises(SandboxError, match="workspace of 1 MiB"):
                await tree.run(large, {}, ["true"], small)


async def test_the_check_of_a_large_repository_shares_its_tree(
    project: Callable[[Files], Project],
) -> None:
    untouched = {f"more/{number}.txt": f"{number}\n" for number in range(500)}
    here = project(MATHS | untouched | {f"data/{number}.txt": f"{number}\n" for number in range(400)})
    good = await here.prove(DOUBLE | {f"data/{number}.txt": None for number in range(200)})
    assert good.proves and fates(good)[ADD] == ("passed", "passed")
    assert good.fail_to_pass == ["tests.test_double::test_double"]
    assert [word for word in good.command if "ignore" in word] == ["--ignore=more"]
    assert not (await here.prove(SUBTRACT)).green
    assert not held()
