"""Layers: one tree that many runs start from. Most tests run on both backends."""

import asyncio
import io
import os
import random
import signal
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from psutil import pid_exists

from graph.resources import ownership
from sandbox.base import REPORT, Delta, Layer, Limits, Result, Sandbox, SandboxError
from sandbox.bubblewrap.bubblewrap_sandbox import Bubblewrap
from sandbox.cgroup import Cgroups

LIMITS = Limits(seconds=20)
LIST = ["sh", "-c", "find . ! -name . -printf '%M %p %l\\n' | sort -k 2; cat -- *.txt pkg/*.py"]
ROOT = Path(__file__).parent.parent


Entries = dict[str, tuple[str, int]]
"""Content and mode of each file. A link has its target and the mode 0."""

TREE: Entries = {
    "a.txt": ("one\n", 0o644),
    "pkg/b.py": ("x = 1\n", 0o644),
    "pkg/deep/c.py": ("y = 2\n", 0o644),
    "run.sh": ("echo ran\n", 0o755),
    "link": ("pkg/b.py", 0),
}


def pack(entries: Entries) -> Iterator[bytes]:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, (content, mode) in entries.items():
            member = tarfile.TarInfo(path)
            if mode:
                member.mode, member.size = mode, len(content)
            else:
                member.type, member.linkname = tarfile.SYMTYPE, content
            archive.addfile(member, io.BytesIO(content.encode()) if mode else None)
    yield stream.getvalue()


def delta(entries: Entries, *removed: str) -> Delta:
    return Delta(removed, pack(entries) if entries else None)


@pytest.fixture
async def layer(sandbox: Sandbox) -> AsyncIterator[Layer]:
    async with sandbox.layer(pack(TREE), LIMITS) as opened:
        yield opened


async def python(layer: Layer, program: str, limits: Limits = LIMITS) -> Result:
    return await layer.run(Delta(), ["python", "-c", textwrap.dedent(program)], limits)


async def test_a_run_sees_what_an_unpacked_tree_with_the_delta_holds(layer: Layer, sandbox: Sandbox) -> None:
    changed: Entries = {
        "a.txt": ("two\n", 0o755),
        "pkg/new.py": ("z = 3\n", 0o644),
        "run.sh/inside": ("a file became a folder\n", 0o644),
        "link": ("a.txt", 0),
        "odd \n name": ("with a line end\n", 0o644),
    }
    removed = ("a.txt", "run.sh", "link", "pkg/deep")
    result = await layer.run(delta(changed, *removed), LIST, LIMITS)
    kept = {path: TREE[path] for path in ("pkg/b.py",)}
    plain = await sandbox.run(pack(kept | changed), LIST, LIMITS)
    assert result.stdout == plain.stdout and not result.exit_code
    untouched = await layer.run(Delta(), LIST, LIMITS)
    assert untouched.stdout == (await sandbox.run(pack(TREE), LIST, LIMITS)).stdout


async def test_a_folder_can_become_a_file_or_a_link(layer: Layer) -> None:
    both = delta({"pkg": ("a.txt", 0), "other": ("text\n", 0o644)}, "pkg")
    result = await layer.run(both, ["sh", "-c", "cat pkg other; ls"], LIMITS)
    assert result.stdout == "one\ntext\na.txt\nlink\nother\npkg\nrun.sh\n"


async def test_no_run_changes_what_the_next_one_finds(layer: Layer) -> None:
    before = (await layer.run(Delta(), LIST, LIMITS)).stdout
    vandal = """
        import os, shutil
        os.rename("pkg", "moved")
        open("moved/b.py", "a").write("evil")
        shutil.rmtree("moved/deep"); os.mkdir("moved/deep")
        os.chmod("run.sh", 0o777)
        os.replace("a.txt", "link")
        open("a.txt", "w").write("evil")
        os.link("run.sh", "hard")
        for path in ("/layer", "/layer/a.txt", "/workspace/../layer"):
            assert not os.path.exists(path)
        print(sorted(os.listdir(".")), open("moved/b.py").read())
    """
    result = await python(layer, vandal)
    assert result.stdout == "['a.txt', 'hard', 'link', 'moved', 'run.sh'] x = 1\nevil\n", result.stderr
    assert (await layer.run(Delta(), LIST, LIMITS)).stdout == before


async def test_runs_at_once_write_apart(layer: Layer) -> None:
    program = """
        import os, time
        for number in range(20):
            open("a.txt", "a").write("+")
            open(f"own-{number}", "x").close()
            time.sleep(0.02)
        print(open("a.txt").read().strip(), len(os.listdir(".")))
    """
    results = await asyncio.gather(*(python(layer, program) for _ in range(4)))
    assert [result.stdout for result in results] == [f"one\n{'+' * 20} 24\n"] * 4


async def test_the_mounts_of_a_layer_give_a_program_no_rights(layer: Layer) -> None:
    program = """
        import ctypes, os
        libc = ctypes.CDLL(None)
        print(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None), libc.umount2(b"/workspace", 2))
        print(os.getuid() > 0, os.path.ismount("/workspace"), os.path.exists("/layer"))
        for folder in ("/", "/etc", "/opt", "/usr", "/dev", "/workspace/.."):
            try: open(folder + "/intruder", "w"); print("wrote into", folder)
            except OSError: pass
    """
    assert (await python(layer, program)).stdout == "-1 -1\nTrue True False\n"


async def test_a_report_comes_back_from_a_layer(layer: Layer) -> None:
    test = delta({"test_b.py": ("from pkg.b import x\ndef test_x(): assert x == 1\n", 0o644)})
    result = await layer.run(test, ["python", "-m", "pytest", f"--junitxml={REPORT}"], LIMITS)
    assert result.report and [(case.id, case.outcome) for case in result.report] == [
        ("test_b::test_x", "passed")
    ]


async def test_limits_hold_on_a_layer(layer: Layer) -> None:
    fill = """
        written = 0
        try:
            with open("fill", "wb", buffering=0) as file:
                while written < 200_000_000: written += file.write(bytes(100_000))
        except OSError as error: print(error.strerror, written <= 2**24)
    """
    hog = "hoard = []\nwhile True: hoard.append(b'x' * 20_000_000)"
    crowd = """
        import os, time
        count = 0
        try:
            while os.fork(): count += 1
            time.sleep(20)
        except OSError: print(40 < count <= 64)
    """
    small = replace(LIMITS, workspace_mb=16)
    full, hungry, crowded, late = await asyncio.gather(
        python(layer, fill, small),
        python(layer, hog),
        python(layer, crowd),
        python(layer, "while True: pass", replace(LIMITS, seconds=1)),
    )
    assert full.stdout == "No space left on device True\n"
    assert hungry.out_of_memory and hungry.exit_code == 137
    assert crowded.stdout == "True\n"
    assert late.timed_out and late.exit_code == 137


async def test_files_that_do_not_fit_are_an_error_that_says_so(
    sandbox: Sandbox,
) -> None:
    noise = random.Random(0).randbytes(3_000_000).hex()
    small = replace(LIMITS, workspace_mb=2)
    with pytest.raises(SandboxError, match="workspace of 2 MiB"):
        async with sandbox.layer(pack({"blob": (noise, 0o644)}), small) as opened:
            await opened.run(Delta(), ["true"], small)
    async with sandbox.layer(pack(TREE), small) as opened:
        with pytest.raises(SandboxError, match="workspace of 2 MiB"):
            await opened.run(delta({"blob": (noise, 0o644)}), ["true"], small)
        assert (await opened.run(Delta(), ["cat", "a.txt"], small)).stdout == "one\n"


async def test_hostile_paths_lead_nowhere(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    evil: Entries = {"out": (str(tmp_path), 0), "out/evil": ("x", 0o644), "../../evil": ("x", 0o644)}
    with pytest.raises(SandboxError):
        async with sandbox.layer(pack(evil), LIMITS) as opened:
            await opened.run(Delta(), ["true"], LIMITS)
    async with sandbox.layer(pack({"out": (str(tmp_path), 0), "etc": ("/etc", 0)}), LIMITS) as opened:
        for removed in ("out/kept", f"../{tmp_path}/kept", "../workspace/../etc", "etc/hosts"):
            with suppress(SandboxError):
                await opened.run(delta({"out/evil": ("x", 0o644)}, removed), ["true"], LIMITS)
        result = await opened.run(Delta(), ["sh", "-c", "ls; cat /etc/hosts"], LIMITS)
    assert "localhost" in result.stdout and result.stdout.startswith("etc\nout\n")
    assert os.listdir(tmp_path) == ["kept"]


async def test_an_error_while_a_layer_is_read_is_passed_on(sandbox: Sandbox) -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(512)
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        async with sandbox.layer(broken(), LIMITS):
            pass


def held() -> int:
    """Count the processes of this one that hold a layer."""
    done = subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "sleep infinity"], capture_output=True)
    return len(done.stdout.split())


def cgroups() -> set[Path]:
    found = Cgroups.find().parents.values()
    return {path for _, parent in found for path in parent.glob(f"autocode-*:{os.getpid()}:*")}


async def test_cancelling_at_any_moment_leaves_nothing_of_a_layer(sandbox: Sandbox) -> None:
    async def use() -> None:
        async with sandbox.layer(pack(TREE), LIMITS) as opened:
            runs = (opened.run(Delta(), ["sleep", "60"], LIMITS) for _ in range(2))
            await asyncio.gather(*runs)

    tasks = [asyncio.create_task(use()) for _ in range(5)]
    for number, task in enumerate(tasks):
        await asyncio.sleep(0.02 * number**2)
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended)
    for _ in range(100):
        if not held() and not cgroups():
            break
        await asyncio.sleep(0.1)
    assert not held() and not cgroups()
    assert "/layer " not in await asyncio.to_thread(Path("/proc/self/mounts").read_text)


@pytest.mark.bubblewrap
async def test_without_overlay_mounts_a_layer_works_as_well(bubblewrap: Sandbox, sandbox_home: Path) -> None:
    bare = await Bubblewrap.open(sandbox_home, cgroups=Cgroups())
    async with bare.layer(pack(TREE), LIMITS) as packed, bubblewrap.layer(pack(TREE), LIMITS) as mounted:
        for change in ({}, {"pkg/b.py": ("x = 2\n", 0o755)}):
            removed = ("run.sh", *change)
            results = [await layer.run(delta(change, *removed), LIST, LIMITS) for layer in (packed, mounted)]
            assert results[0].stdout == results[1].stdout and not results[0].exit_code
        assert held() == (os.geteuid() == 0)


ORPHAN = """
import asyncio, sys
from pathlib import Path
from graph.resources import ownership
from sandbox.base import Delta, Limits
from sandbox.bubblewrap.bubblewrap_sandbox import Bubblewrap
async def main():
    bubblewrap = await Bubblewrap.open(Path(sys.argv[1]), ownership=ownership())
    async with bubblewrap.layer([bytes(10240)], Limits()) as layer:
        command = ["sh", "-c", "echo on; sleep 300"]
        await layer.run(Delta(), command, Limits(seconds=300), lambda _: print("on", flush=True))
asyncio.run(main())
"""


@pytest.mark.bubblewrap
async def test_the_layer_of_a_killed_owner_dies_and_is_swept(bubblewrap: Sandbox, sandbox_home: Path) -> None:
    orphan = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ORPHAN, str(sandbox_home)),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert orphan.stdout
    assert await asyncio.wait_for(orphan.stdout.readline(), 30) == b"on\n"
    found = Cgroups.find().parents.values()
    groups = {path for _, parent in found for path in parent.glob(f"autocode-*:{orphan.pid}:*")}
    inside = {int(pid) for group in groups for pid in (group / "cgroup.procs").read_text().split()}
    assert len(inside) > 2 or not groups
    orphan.send_signal(signal.SIGKILL)
    await orphan.wait()
    for _ in range(100):
        if not any(map(pid_exists, inside)):
            break
        await asyncio.sleep(0.1)
    assert not any(map(pid_exists, inside))
    await Bubblewrap.open(sandbox_home, ownership=ownership())
    assert not any(group.exists() for group in groups)
