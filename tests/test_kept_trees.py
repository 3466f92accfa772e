"""Trees that stay on disk between runs: who may use them, and when they go."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from test_sandbox_layers import LIMITS, LIST, TREE, delta, pack, python
from test_shared_tree import BASE

from nodes.check.execution.shared_tree import SharedTree
from sandbox.base import Delta, Sandbox, SandboxError
from sandbox.bubblewrap.bubblewrap_sandbox import Bubblewrap
from sandbox.bubblewrap.interpreter import Interpreter
from sandbox.bubblewrap.kept_trees import KeptTree, KeptTrees
from sandbox.environment.disk import folder_bytes, remove_tree, take_ownership
from tools.workspace import Workspace

ROOT = Path(__file__).parent.parent
WEEK = 7 * 86_400


@pytest.fixture
async def home(tmp_path: Path, sandbox_home: Path, bubblewrap: Sandbox) -> Path:
    """A home without trees, with the interpreter of the others."""
    if os.geteuid():
        pytest.skip("an ordinary user may not mount trees")
    own = Interpreter.find(sandbox_home)
    assert own
    place = tmp_path / own.venv.parent.relative_to(sandbox_home)
    place.mkdir(parents=True)
    for entry in own.venv.parent.iterdir():
        if entry.name not in ("trees", "layer", "workspaces"):
            (place / entry.name).symlink_to(entry)
    return tmp_path


@pytest.fixture
async def opened(home: Path) -> AsyncIterator[Bubblewrap]:
    sandbox = await Bubblewrap.open(home)
    yield sandbox
    await sandbox.aclose()


def unread() -> Iterator[bytes]:
    raise AssertionError("the files were read again")
    yield b""


def trees(home: Path) -> list[Path]:
    """Return the folders and locks of trees."""
    return sorted(home.rglob("trees/*"))


def records(home: Path) -> list[Path]:
    return [*home.rglob("trees/*/record.json")]


async def listed(sandbox: Sandbox, files: Iterator[bytes], key: str = "tree") -> str:
    async with sandbox.layer(files, LIMITS, key) as layer:
        return (await layer.run(Delta(), LIST, LIMITS)).stdout


async def test_a_later_process_finds_the_tree_as_it_was_whatever_programs_did(
    opened: Bubblewrap, home: Path
) -> None:
    vandal = """
        import os, shutil
        open("a.txt", "a").write("evil")
        os.rename("pkg", "moved"); shutil.rmtree("moved")
        os.chmod("run.sh", 0o777); os.link("run.sh", "hard")
    """
    async with opened.layer(pack(TREE), LIMITS, "tree") as layer:
        before = (await layer.run(Delta(), LIST, LIMITS)).stdout
        assert not (await python(layer, vandal)).exit_code
        assert not (await layer.run(delta({"a.txt": ("two\n", 0o755)}, "pkg"), ["true"], LIMITS)).exit_code
    assert await opened.kept_layers() == ["tree"]
    later = await Bubblewrap.open(home)
    assert await listed(later, unread()) == before
    await later.aclose()


async def test_no_program_reaches_the_folder_of_a_tree(opened: Bubblewrap, home: Path) -> None:
    async with opened.layer(pack(TREE), LIMITS, "tree") as layer:
        folder = str(trees(home)[0] / "tree")
        result = await layer.run(Delta(), ["ls", folder, str(home), "/layer"], LIMITS)
    assert result.exit_code and not result.stdout


async def test_a_session_begins_with_the_kept_tree_and_leaves_it_alone(opened: Bubblewrap) -> None:
    before = await listed(opened, pack(TREE))
    crowd = "for n in $(seq 40); do sleep 1 & done; wait; echo all"
    async with (
        opened.session(unread(), LIMITS, "tree") as session,
        opened.session(unread(), LIMITS, "tree") as other,
    ):
        await session.run(["sh", "-c", "echo two >>a.txt; rm -r pkg/deep; mv run.sh moved"])
        both = await asyncio.gather(*(each.run(["sh", "-c", crowd]) for each in (session, other)))
        assert [result.stdout for result in both] == ["all\n"] * 2
        changes = await session.changes()
        assert (await other.changes()).removed == frozenset()
    assert set(changes.files) == {"a.txt", "moved"} and changes.removed == {"pkg/deep/c.py", "run.sh"}
    assert changes.files["a.txt"].content == b"one\ntwo\n"
    assert await listed(opened, unread()) == before


async def test_runs_at_once_unpack_a_tree_once(opened: Bubblewrap) -> None:
    reads = list[int]()

    def files() -> Iterator[bytes]:
        reads.append(1)
        yield from pack(TREE)

    seen = await asyncio.gather(*(listed(opened, files()) for _ in range(3)))
    assert len(set(seen)) == len(reads) == 1


@pytest.mark.parametrize("moment", ["an error", "a cancelled task"])
async def test_an_unpacking_that_ends_early_leaves_no_tree_that_counts(
    opened: Bubblewrap, moment: str
) -> None:
    def broken() -> Iterator[bytes]:
        yield next(pack(TREE))[:2048]
        if moment == "an error":
            raise LookupError("gone")
        time.sleep(1)

    task = asyncio.create_task(listed(opened, broken()))
    if moment == "a cancelled task":
        await asyncio.sleep(0.3)
        task.cancel()
    with pytest.raises((LookupError, asyncio.CancelledError)):
        await task
    assert await opened.kept_layers() == []
    assert "pkg/deep/c.py" in await listed(opened, pack(TREE))


KILLED = """
import asyncio, sys, time
from pathlib import Path
from sandbox.base import Limits
from sandbox.bubblewrap.bubblewrap_sandbox import Bubblewrap
def files():
    print("on", flush=True)
    yield bytes(512)
    time.sleep(60)
async def main():
    bubblewrap = await Bubblewrap.open(Path(sys.argv[1]))
    async with bubblewrap.layer(files(), Limits(), "tree"):
        pass
asyncio.run(main())
"""


async def test_the_next_process_removes_what_a_killed_one_left(home: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", KILLED, str(home)),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout
    assert await asyncio.wait_for(process.stdout.readline(), 60) == b"on\n"
    process.send_signal(signal.SIGKILL)
    await process.wait()
    assert trees(home)
    later = await Bubblewrap.open(home)
    await later.aclose()
    assert not trees(home)


async def test_an_old_tree_goes_unless_it_is_in_use(opened: Bubblewrap, home: Path) -> None:
    await listed(opened, pack(TREE), "old")
    async with opened.layer(pack(TREE), LIMITS, "used"):
        for record in records(home):
            os.utime(record, (time.time() - WEEK, time.time() - WEEK))
        later = await Bubblewrap.open(home)
        await later.aclose()
        assert await opened.kept_layers() == ["used"]


async def test_a_tree_of_an_earlier_boot_is_unpacked_again(opened: Bubblewrap, home: Path) -> None:
    await listed(opened, pack(TREE))
    (record,) = records(home)
    record.write_text(record.read_text().replace('"boot": "', '"boot": "0'))
    assert await opened.kept_layers() == []
    with pytest.raises(AssertionError, match="read again"):
        await listed(opened, unread())


async def test_a_tree_beyond_the_limit_is_not_kept(opened: Bubblewrap, home: Path) -> None:
    large = pack({"blob": ("x" * 3_000_000, 0o644)})
    with pytest.raises(SandboxError, match="workspace of 2 MiB"):
        async with opened.layer(large, LIMITS.__class__(workspace_mb=2), "tree"):
            pass
    assert await opened.kept_layers() == []


async def test_a_check_takes_the_kept_tree_that_is_nearest(opened: Bubblewrap, tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "repo")
    first = workspace.write(workspace.begin().snapshot, BASE, "first")
    near = workspace.write(first, {"pkg/b.py": "x = 7\n", "old/deep/only.txt": None}, "near")
    far = workspace.write(first, {f"new/{number}": "" for number in range(400)}, "far")
    for base, kept in ((first, [first]), (near, [first]), (far, [far, first])):
        async with SharedTree(workspace.path, opened, base, LIMITS, is_small=False) as tree:
            seen = await tree.run(base, {"a.txt": "edited\n"}, LIST, LIMITS)
        async with SharedTree(workspace.path, opened, base, LIMITS, is_small=True) as tree:
            assert (await tree.run(base, {"a.txt": "edited\n"}, LIST, LIMITS)).stdout == seen.stdout
        assert await opened.kept_layers() == [workspace.tree(snapshot) for snapshot in kept]


async def test_a_cancelled_unpacking_leaves_nothing_that_goes_on(tmp_path: Path) -> None:
    kept = KeptTrees(tmp_path / "trees")

    async def unpack(tree: KeptTree) -> int:
        for number in range(300):
            (tree.folder / str(number)).mkdir()
        return 0

    async def hold() -> None:
        async with kept.tree("key", os.geteuid(), unpack):
            pass

    def settled() -> list[tuple[str, int]]:
        return sorted((str(path), path.lstat().st_ctime_ns) for path in kept.root.rglob("*"))

    for milliseconds in range(0, 60, 2):
        holding = asyncio.ensure_future(hold())
        await asyncio.sleep(milliseconds / 1000)
        holding.cancel()
        await asyncio.wait({holding})
        before = settled()
        await asyncio.sleep(0.05)
        assert settled() == before, milliseconds
        for record in kept.root.glob("*/record.json"):
            record.unlink()


@pytest.mark.parametrize("planted", ["link", "folder"])
async def test_trees_that_another_user_has_made_are_neither_used_nor_removed(
    home: Path, planted: str
) -> None:
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "record.json").write_text("theirs")
    (elsewhere / "closed").mkdir(mode=0o755)
    opened = await Bubblewrap.open(home)
    root = Interpreter.find(home).venv.parent / "trees"  # type: ignore[union-attr]  # as `opened` needs one
    root.mkdir(mode=0o700, exist_ok=True)
    (root / "place").symlink_to(elsewhere)
    if planted == "link":
        root.rename(home / "moved")
        root.symlink_to(home / "moved")
    else:
        os.chown(root, 54321, 54321)
    assert "a.txt" in await listed(opened, pack(TREE))
    assert await opened.kept_layers() == []
    await opened.aclose()
    await asyncio.to_thread(KeptTrees(root).prune)
    assert (elsewhere / "record.json").read_text() == "theirs"
    assert (elsewhere / "closed").stat().st_mode & 0o777 == 0o755


def test_removing_a_folder_follows_no_link(tmp_path: Path) -> None:
    inside = tmp_path / "target" / "inside"
    inside.mkdir(parents=True)
    inside.chmod(0o555)
    (tmp_path / "link").symlink_to(inside.parent)
    remove_tree(tmp_path / "link")
    assert inside.stat().st_mode & 0o777 == 0o555 and not (tmp_path / "link").is_symlink()


def test_folders_that_are_nested_beyond_any_path_are_counted_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path / "top"
    top.mkdir()
    monkeypatch.chdir(top)  # and back at the end
    for _ in range(2500):
        os.mkdir("d")
        os.chdir("d")
    Path("large").write_bytes(b"x" * 10_000)
    os.chdir(tmp_path)
    assert folder_bytes(top, 10**9) > 10**9  # what nobody can count is too much
    with pytest.raises(SandboxError, match="too deeply"):
        take_ownership(top)
    remove_tree(top)
    assert not top.exists()
