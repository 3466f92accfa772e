"""What only bubblewrap does: make do without cgroups, and serve ordinary users."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from graph.resources import ownership
from sandbox.base import Limits, Sandbox
from sandbox.bubblewrap.bubblewrap_sandbox import Bubblewrap
from sandbox.bubblewrap.interpreter import Interpreter, pinned
from sandbox.cgroup import Cgroups

pytestmark = pytest.mark.bubblewrap

EMPTY = [bytes(10_240)]
ROOT = Path(__file__).parent.parent


@pytest.fixture
async def bare(bubblewrap: Sandbox, sandbox_home: Path) -> Bubblewrap:
    """Bubblewrap as on a machine that lets us make no cgroup."""
    return await Bubblewrap.open(sandbox_home, cgroups=Cgroups())


def groups(owner: int) -> set[Path]:
    found = Cgroups.find().parents.values()
    return {path for _, parent in found for path in parent.glob(f"autocode-*:{owner}:*")}


async def python(sandbox: Sandbox, program: str, seconds: float = 10) -> tuple[int, str, bool]:
    command = ["python", "-c", textwrap.dedent(program)]
    result = await sandbox.run(EMPTY, command, Limits(seconds=seconds))
    return result.exit_code, result.stdout, result.out_of_memory


HOG = """
    hoard = []
    for _ in range(160): hoard.append(bytearray(b"x" * 20_000_000))
"""
CROWD = """
    import os, time
    shared = b"x" * 200_000_000
    for number in range({count}):
        if not os.fork():
            own = b"x" * {own}
            time.sleep(2)
            os._exit(0)
    for number in range({count}): os.wait()
    print("lived")
"""


async def test_without_a_cgroup_memory_is_watched(bare: Bubblewrap) -> None:
    assert await python(bare, HOG) == (137, "", True)


async def test_without_a_cgroup_all_processes_count_and_shared_memory_once(bare: Bubblewrap) -> None:
    assert await python(bare, CROWD.format(count=6, own=100_000_000)) == (137, "", True)
    assert await python(bare, CROWD.format(count=6, own=1_000)) == (0, "lived\n", False)


async def test_without_a_cgroup_memory_that_nobody_maps_is_denied(bare: Bubblewrap) -> None:
    program = "import os\ntry: os.memfd_create('x')\nexcept OSError: print('denied')"
    assert await python(bare, program) == (0, "denied\n", False)


async def test_without_a_cgroup_dangerous_system_calls_are_denied_too(bare: Bubblewrap) -> None:
    program = """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        ring = ctypes.create_string_buffer(256)
        for arguments in ((425, 1, ring), (427, 0, 0, 0), (438, 0, 0, 0)):
            print(libc.syscall(*arguments), ctypes.get_errno(), end=" ")
        print(libc.ptrace(0, 0, 0, 0), ctypes.get_errno())
    """
    assert await python(bare, program) == (0, "-1 38 -1 38 -1 1 -1 1\n", False)


async def test_without_a_cgroup_processes_are_counted_and_time_is_shared(bare: Bubblewrap) -> None:
    program = """
        import os, resource, time
        print(os.nice(0) > 0, resource.getrlimit(resource.RLIMIT_CPU)[1] < 60)
        count = 0
        try:
            while os.fork(): count += 1
            time.sleep(30)
        except OSError: print(40 < count <= 64)
    """
    assert await python(bare, program) == (0, "True True\nTrue\n", False)


async def test_system_calls_that_lead_out_of_the_namespaces_are_denied(bubblewrap: Sandbox) -> None:
    program = """
        import ctypes, os, platform, socket
        clone = {"x86_64": 56, "aarch64": 220}[platform.machine()]
        libc = ctypes.CDLL(None, use_errno=True)
        for flag in (0x10000000, 0x00020000, 0x20000000):
            print(libc.syscall(clone, flag | 17, 0, 0, 0, 0), end=" ")
        for family in (socket.AF_VSOCK, socket.AF_PACKET, 38):
            try: socket.socket(family, socket.SOCK_STREAM)
            except OSError as error: print(error.strerror)
        for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6): socket.socket(family).close()
        print(os.popen("echo child").read(), end="")
    """
    code, stdout, _ = await python(bubblewrap, program)
    denied = "Operation not permitted\n"
    assert (code, stdout) == (0, f"-1 -1 -1 {denied}{denied}{denied}child\n")


ORPHAN = """
import asyncio, sys
from pathlib import Path
from graph.resources import ownership
from sandbox.base import Limits
from sandbox.bubblewrap.bubblewrap_sandbox import Bubblewrap
async def main():
    bubblewrap = await Bubblewrap.open(Path(sys.argv[1]), ownership=ownership())
    command = ["sh", "-c", "echo on; sleep 300", sys.argv[2]]
    await bubblewrap.run([bytes(10240)], command, Limits(seconds=300), lambda _: print("on", flush=True))
asyncio.run(main())
"""


async def test_what_a_killed_owner_ran_dies_and_its_cgroups_are_swept(
    bubblewrap: Sandbox, sandbox_home: Path
) -> None:
    token = f"orphan-{uuid4().hex}"
    command = [sys.executable, "-c", ORPHAN, str(sandbox_home), token]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    orphan = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, env=environment)
    assert orphan.stdout
    assert await asyncio.wait_for(orphan.stdout.readline(), 30) == b"on\n"
    orphan.send_signal(signal.SIGKILL)
    await orphan.wait()
    for _ in range(100):
        running = [
            found for found in psutil.process_iter(["cmdline"]) if token in (found.info["cmdline"] or ())
        ]
        if not running:
            break
        await asyncio.sleep(0.1)
    assert not running
    assert groups(orphan.pid) or not Cgroups.find().parents
    await Bubblewrap.open(sandbox_home, ownership=ownership())
    assert not groups(orphan.pid)


def test_the_files_of_cgroup_version_2_are_written_as_the_kernel_reads_them(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").touch()
    cgroup = Cgroups({"memory": (2, tmp_path), "cpu": (2, tmp_path), "pids": (2, tmp_path)}).create(
        Limits(), ownership()
    )
    (directory,) = cgroup.directories
    written = {file.name: file.read_text() for file in directory.iterdir()}
    assert written == {
        "memory.max": str(832 * 2**20),
        "cpu.max": "50000 100000",
        "cpu.weight": "12",
        "pids.max": "64",
    }
    assert cgroup.ooms() == 0
    (directory / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n")
    assert cgroup.ooms() == 1


async def test_no_cgroup_stays_behind(bubblewrap: Sandbox) -> None:
    await bubblewrap.run(EMPTY, ["sh", "-c", "sleep 60 & sleep 60"], Limits(seconds=0.5))
    assert not groups(os.getpid())


async def test_closing_ends_programs_whose_callers_do_not_wait_for_them(sandbox_home: Path) -> None:
    opened = await Bubblewrap.open(sandbox_home, ownership=ownership())
    began = asyncio.Event()
    program = opened.run(EMPTY, ["sh", "-c", "echo on; sleep 60"], Limits(), lambda _: began.set())
    running = asyncio.ensure_future(program)
    await began.wait()
    mine = groups(os.getpid())
    running.cancel()  # and nobody waits for its end
    await opened.aclose()
    assert mine and not groups(os.getpid()) & mine
    await asyncio.wait({running})


async def test_the_environment_holds_pytest_alone_at_the_dockerfiles_versions(bubblewrap: Sandbox) -> None:
    program = """
        from importlib.metadata import distributions
        print(*sorted(f"{found.name.lower()}=={found.version}" for found in distributions()))
    """
    code, stdout, _ = await python(bubblewrap, program)
    assert (code, stdout.split()) == (0, sorted(pinned()))


async def test_the_pytest_command_works_too(bubblewrap: Sandbox) -> None:
    result = await bubblewrap.run(EMPTY, ["pytest", "--version"], Limits())
    assert "pytest 9" in result.stdout + result.stderr


def test_an_environment_that_is_there_needs_no_network(
    bubblewrap: Sandbox, sandbox_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    told: list[str] = []
    assert Interpreter.make(sandbox_home, told.append).venv.is_dir()
    assert not told


ORDINARY = """
import asyncio, os, sys
from pathlib import Path
from sandbox.backends import open_sandbox
from sandbox.base import REPORT, Delta, Limits
async def main():
    sandbox = await open_sandbox("bubblewrap", Path(os.environ["HOME"]) / "autocode")
    suite = "import os\\ndef test_a(): assert os.getuid() == 10001"
    test = f"echo '{suite}' > test_a.py; pytest -q --junitxml={REPORT}"
    result = await sandbox.run([bytes(10240)], ["sh", "-c", test], Limits(seconds=20))
    print(result.exit_code, [case.outcome for case in result.report or ()])
    result = await sandbox.run([bytes(10240)], ["ls", os.environ["HOME"]], Limits())
    print(result.exit_code)
    bomb = (
        "import os, time\\ncount = 0\\ntry:\\n while os.fork(): count += 1\\n time.sleep(20)\\n"
        "except OSError: print(40 < count <= 64)"
    )
    result = await sandbox.run([bytes(10240)], ["python", "-c", bomb], Limits())
    print(result.stdout.strip())
    hog = "x = []\\nwhile True: x.append(b'x' * 20_000_000)"
    result = await sandbox.run([bytes(10240)], ["python", "-c", hog], Limits())
    print(result.exit_code, result.out_of_memory)
    trace = "import ctypes; libc = ctypes.CDLL(None); print(libc.ptrace(0, 0, 0, 0), libc.syscall(425, 1, 0))"
    result = await sandbox.run([bytes(10240)], ["python", "-c", trace], Limits())
    print(result.stdout.strip())
    async with sandbox.layer([bytes(10240)], Limits()) as layer:
        move = "mkdir a; echo moved > a/b; mv a c; cat c/b"
        print((await layer.run(Delta(("none",)), ["sh", "-c", move], Limits())).stdout.strip())
    async with sandbox.session([bytes(10240)], Limits()) as session:
        move = "mkdir a; echo x > a/b; mv a c; cp c/b /tmp; sleep 60 &"
        left = (await session.run(["sh", "-c", move])).left_running
        await session.write("c/d", b"y")
        result = await session.run(["python", "-c", bomb])
        changes = await session.changes()
        files = {path: file.content for path, file in changes.files.items()}
        print(left, await session.read("/tmp/b"), result.stdout.strip(), files)
asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="every test of an ordinary user's run is this one")
def test_an_ordinary_user_has_a_sandbox_too(bubblewrap: Sandbox, tmp_path: Path) -> None:
    system = "/usr/bin/python3"
    asked = [system, "-c", "import sys; print(sys.version_info[:2] == tuple(map(int, sys.argv[1:])))"]
    version = [str(number) for number in sys.version_info[:2]]
    if not Path(system).exists() or subprocess.check_output([*asked, *version], text=True) != "True\n":
        pytest.skip("there is no interpreter of our version that any user may read")
    with tempfile.TemporaryDirectory() as folder:
        assert ordinary_run(Path(folder), system) == (
            "0 ['passed']\n2\nTrue\n137 True\n-1 -1\nmoved\n1 b'x\\n' True {'c/b': b'x\\n', 'c/d': b'y'}\n"
        )


def ordinary_run(folder: Path, system: str) -> str:
    """Run ORDINARY as a user of no rights, on copies of what it imports, in a home made beforehand."""
    home, lib = folder / "home", folder / "lib"
    (home / "autocode").mkdir(parents=True)
    shutil.copytree(ROOT / "sandbox", lib / "sandbox")
    for name in ("psutil", "defusedxml", "tenacity"):
        found = find_spec(name)
        assert found and found.origin
        shutil.copytree(Path(found.origin).parent, lib / name)
    make = "from sandbox.bubblewrap.interpreter import *; Interpreter.make(Path(sys.argv[1]), print)"
    imports = {"PYTHONPATH": str(lib)}
    command = [system, "-c", make, str(home / "autocode")]
    subprocess.run(command, env={**os.environ, **imports}, cwd=folder, check=True)
    subprocess.run(["chown", "-R", "54321:54321", str(folder)], check=True)
    drop = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "--inh-caps=-all"]
    environment = {**imports, "PATH": os.environ["PATH"], "HOME": str(home)}
    command = [*drop, system, "-c", ORDINARY]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return done.stdout
