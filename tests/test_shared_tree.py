"""The runs of a check see the files of their snapshot, shared with the base or not."""

from pathlib import Path

import pytest

from nodes.check.shared_tree import SharedTree
from sandbox.base import Limits, Sandbox
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
