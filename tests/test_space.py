"""Large files and many files: what a run takes of memory, and when a repository is refused."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from desk import Desk
from gitrepo import GitRepo
from runs import CALC, Bench, script

from sandbox.base import Delta, Limits, Sandbox
from sandbox.bubblewrap.bubblewrap_sandbox import Bubblewrap
from sandbox.cgroup import Cgroups
from tools.workspace import Workspace, WorkspaceError

ROOT = Path(__file__).parent.parent
MIB = 2**20
MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


@pytest.fixture
def project(tmp_path: Path) -> GitRepo:
    """A small project, whose git is quick with large files."""
    repo = GitRepo(tmp_path / "repo")
    repo.git("config", "core.compression", "1")
    repo.commit(dict(CALC))
    return repo


def add_zeros(repo: GitRepo, path: str, megabytes: int) -> None:
    """Commit a file of zeros that takes no space on the disk."""
    with (repo.path / path).open("wb") as file:
        file.truncate(megabytes * MIB)
    repo.commit()


async def test_a_repository_beyond_the_limit_is_refused_with_its_largest_files(
    project: GitRepo, tmp_path: Path, desk: Desk
) -> None:
    add_zeros(project, "model.bin", 300)
    bench = Bench(script(desk), tmp_path / "home", project)
    with pytest.raises(WorkspaceError, match=r"64 MB.*model\.bin \(300\.0 MB\).*MAX_WORKSPACE_MB"):
        await bench.run(settings={"max_workspace_mb": 64})
    assert not desk.requests


def test_a_run_beside_a_large_file_stays_small(project: GitRepo, tmp_path: Path, desk: Desk) -> None:
    add_zeros(project, "model.bin", 200)
    settings = {
        "AUTOCODE_HOME": str(tmp_path / "home"),
        "LLM_MODE": "local",
        "LOCAL_LLM_URL": script(desk).url,
        "SANDBOX_BACKEND": "bubblewrap",
        "ENABLE_MEMORY": "false",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, str(ROOT / "server/main.py"), "run", "Add mul", "--json"]
    # A process begins with the peak of the one that forks it, so a small one stands between.
    measured = [sys.executable, "-c", MEASURE, *command, "--repo", str(project.path)]
    done = subprocess.run(measured, env={**os.environ, **settings}, stdout=subprocess.PIPE, check=True)
    *events, peak = done.stdout.splitlines()
    assert json.loads(events[-1])["data"]["status"] == "verified"
    # Of the process and of the one that reads the file, in KiB. It was 3.2 GB once.
    assert int(peak) < 700 * 1024


def test_large_files_are_packed_as_they_are(project: GitRepo) -> None:
    content = os.urandom(9 * MIB) + b"end"
    project.commit({"large.bin": content, "large.txt": b"text\n" * MIB})
    workspace = Workspace.open(project.path)
    pieces = list(workspace.tar(workspace.begin().snapshot))
    assert max(map(len, pieces)) < 8 * MIB
    with tarfile.open(fileobj=BytesIO(b"".join(pieces))) as archive:
        large = archive.extractfile("large.bin")
        text = archive.extractfile("large.txt")
        assert large and text
        assert large.read() == content
        assert text.read() == b"text\n" * MIB


async def test_many_tiny_files_fit(sandbox: Sandbox, tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "many")
    repo.grow(9_000)
    workspace = Workspace.open(repo.path)
    snapshot = workspace.begin().snapshot
    room = workspace.room(snapshot)
    limits = Limits(workspace_mb=32).with_room_for(room.bytes, room.files)
    command = ["sh", "-c", "find . -type f | wc -l"]
    result = await sandbox.run(workspace.tar(snapshot), command, limits)
    assert result.stdout.strip() == "9000"
    async with sandbox.layer(Workspace.open(repo.path).tar(snapshot), limits) as layer:
        again = await layer.run(Delta(), command, limits)
    assert again.stdout.strip() == "9000"


@pytest.mark.parametrize("without_cgroups", [False, True])
async def test_a_large_workspace_lies_on_disk(
    sandbox: Sandbox,
    sandbox_home: Path,
    project: GitRepo,
    monkeypatch: pytest.MonkeyPatch,
    without_cgroups: bool,
) -> None:
    monkeypatch.setattr("sandbox.base.MOST_IN_MEMORY", 1)
    if without_cgroups:  # so that there is no overlay
        if sandbox.name == "docker":
            pytest.skip("cgroups are Docker's own affair")
        sandbox = await Bubblewrap.open(sandbox_home, cgroups=Cgroups())
    project.commit({"data.bin": os.urandom(8 * MIB)})
    limits = Limits(workspace_mb=64)
    overflow = ["sh", "-c", "head -c 200000000 /dev/zero >zeros || exit 9; sleep 20"]

    def files() -> Iterator[bytes]:
        workspace = Workspace.open(project.path)
        return workspace.tar(workspace.begin(from_head=True).snapshot)

    async with sandbox.layer(files(), limits) as layer:
        result = await layer.run(Delta(), ["sh", "-c", "wc -c <data.bin; echo 1 >new"], limits)
        assert result.stdout.split() == [str(8 * MIB)], result.stderr
        assert (await layer.run(Delta(), ["ls"], limits)).stdout.split() == ["calc.py", "data.bin", "tests"]
        beyond = await layer.run(Delta(), overflow, limits)
        # An overlay's own part is in memory, and full at once. Other places are watched.
        assert beyond.exit_code == 9 or beyond.out_of_memory
    async with sandbox.session(files(), limits) as session:
        await session.run(["rm", "tests/test_calc.py"])
        await session.write("calc.py", b"mine")
        changes = await session.changes()
        assert changes.files["calc.py"].content == b"mine"
        assert changes.removed == {"tests/test_calc.py"}
