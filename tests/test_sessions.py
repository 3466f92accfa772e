"""Sessions: places in which an agent works. Tests run on both backends, and without an overlay as well."""

import asyncio
import inspect
import io
import os
import signal
import subprocess
import tarfile
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
import test_sandbox

from graph.resources import ownership
from sandbox.base import (
    MAX_FILE_BYTES,
    Limits,
    OnText,
    Result,
    Sandbox,
    SandboxError,
    Session,
    SessionChanges,
    SessionError,
)
from sandbox.bubblewrap.bubblewrap_sandbox import Bubblewrap
from sandbox.cgroup import Cgroups
from sandbox.environment.backend import Environment
from sandbox.environment.environment_sandbox import EnvironmentSandbox
from sandbox.program import MAX_PROGRAMS

LIMITS = Limits(seconds=20)
TREE = {
    "a.txt": "one\n",
    "b.txt": "two\n",
    "pkg/c.py": "x = 1\n",
    "pkg/deep/d.py": "y = 2\n",
    "other/e.py": "z = 3\n",
    "run.sh": "echo ran\n",
    "link": "pkg/c.py",
}
BACKENDS = [
    pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
    pytest.param("bare", marks=pytest.mark.bubblewrap),
    pytest.param("docker", marks=pytest.mark.docker),
]

Content = str | bytes


def pack(tree: dict[str, str]) -> list[bytes]:
    """Return a tar stream. `run.sh` is executable, and `link` is a link."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path, content in tree.items():
            member = tarfile.TarInfo(path)
            if path == "link":
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.mode, member.size = 0o755 if path == "run.sh" else 0o644, len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
    return [stream.getvalue()]


@pytest.fixture(scope="session")
def bare(bubblewrap: Sandbox, sandbox_home: Path) -> Sandbox:
    """Bubblewrap without cgroups, and so without overlays."""
    return asyncio.run(Bubblewrap.open(sandbox_home, cgroups=Cgroups()))


@pytest.fixture(params=BACKENDS)
def place(request: pytest.FixtureRequest) -> Sandbox:
    """Each backend in turn."""
    found: Sandbox = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def session(place: Sandbox) -> AsyncIterator[Session]:
    async with place.session(pack(TREE), LIMITS) as opened:
        yield opened


async def sh(session: Session, script: str, limits: Limits | None = None) -> Result:
    return await session.run(["sh", "-c", script], limits)


async def python(session: Session, program: str) -> str:
    result = await session.run(["python", "-c", textwrap.dedent(program)])
    assert result.exit_code == 0, result
    return result.stdout


def shown(changes: SessionChanges) -> dict[str, Content | None]:
    """Return the content of changed files, with a star for executable ones, the targets of links, and None
    for what was removed."""
    entries: dict[str, Content | None] = dict.fromkeys(changes.removed)
    for path, file in changes.files.items():
        entries[path + "*" * file.executable] = file.content.decode("utf-8", "replace")
    return entries | {path: f"-> {target}" for path, target in changes.links.items()}


STEPS: dict[str, dict[str, str | None]] = {
    "true": {},
    "cat a.txt pkg/*.py; touch a.txt; mkdir -p empty; mkfifo pipe; mkdir -p .git; echo x >.git/HEAD": {},
    "echo 1 >>a.txt": {"a.txt": "one\n1\n"},
    "printf 'one\n' >a.txt": {},
    "touch -r a.txt stamp; printf 'ONE\n' >a.txt; touch -r stamp a.txt; rm stamp": {"a.txt": "ONE\n"},
    "touch -r a.txt stamp; printf 'Two\n' >a.txt; touch -r stamp a.txt; rm stamp": {"a.txt": "Two\n"},
    "printf 'one\n' >new; mv new a.txt": {},
    "mkdir -p n/m; echo n >n/m/f; cp n/m/f n/g": {"n/m/f": "n\n", "n/g": "n\n"},
    "rm -r n": {},
    "chmod +x a.txt; chmod 600 b.txt": {"a.txt*": "one\n"},
    "chmod 644 a.txt; chmod -x run.sh": {"run.sh": "echo ran\n"},
    "chmod 755 run.sh; rm b.txt": {"b.txt": None},
    "printf 'two\n' >b.txt": {},
    "mv a.txt b.txt": {"a.txt": None, "b.txt": "one\n"},
    "mv b.txt a.txt; printf 'two\n' >b.txt": {},
    "mv pkg moved": {
        "pkg/c.py": None,
        "pkg/deep/d.py": None,
        "moved/c.py": "x = 1\n",
        "moved/deep/d.py": "y = 2\n",
    },
    "mv other pkg; mv moved other": {
        "pkg/c.py": None,
        "pkg/deep/d.py": None,
        "other/e.py": None,
        "pkg/e.py": "z = 3\n",
        "other/c.py": "x = 1\n",
        "other/deep/d.py": "y = 2\n",
    },
    "mv pkg moved; mv other pkg; mv moved other": {},
    "rm -r pkg; mkdir -p pkg/deep; printf 'x = 1\n' >pkg/c.py; echo new >pkg/deep/d.py": {
        "pkg/deep/d.py": "new\n"
    },
    "rm -r pkg; echo file >pkg": {"pkg": "file\n", "pkg/c.py": None, "pkg/deep/d.py": None},
    "rm -r pkg; ln -s /etc pkg": {"pkg": "-> /etc", "pkg/c.py": None, "pkg/deep/d.py": None},
    "rm pkg; mkdir -p pkg/deep; printf 'x = 1\n' >pkg/c.py; printf 'y = 2\n' >pkg/deep/d.py": {},
    "rm a.txt; mkdir a.txt; echo in >a.txt/in": {"a.txt": None, "a.txt/in": "in\n"},
    "rm -r a.txt; ln -s b.txt a.txt; rm link; echo text >link": {"a.txt": "-> b.txt", "link": "text\n"},
    "rm a.txt link; printf 'one\n' >a.txt; ln -s a.txt link": {"link": "-> a.txt"},
    "rm link; mkfifo link": {"link": None},
    "rm link; ln -s pkg/c.py link; ln a.txt hard": {"hard": "one\n"},
    "echo both >>hard": {"a.txt": "one\nboth\n", "hard": "one\nboth\n"},
    "rm -rf * .git": dict.fromkeys(TREE),
}


async def test_changes_are_exact_after_every_command(session: Session) -> None:
    for step, expected in STEPS.items():
        result = await sh(session, step)
        assert result.exit_code == 0, result
        assert shown(await session.changes()) == expected, step


async def test_writes_that_change_no_time_stamp_are_found(session: Session) -> None:
    program = """
        import mmap, os
        with open("a.txt", "r+b") as file:
            status = os.stat("a.txt")
            memory = mmap.mmap(file.fileno(), 0)
            first = memory[0]  # maps the page, so that the write is no fault of the page any more
            memory[0:1] = b"O"
            memory.close()
    """
    await python(session, program)
    assert shown(await session.changes()) == {"a.txt": "One\n"}
    await python(session, program.replace('b"O"', 'b"o"'))
    assert shown(await session.changes()) == {}
    program = """
        import os
        status = os.stat("a.txt")
        for byte in (b"1", b"2", b"o", b"E"):  # within one tick of the clock
            with open("a.txt", "r+b") as file: file.write(byte)
            os.utime("a.txt", ns=(status.st_atime_ns, status.st_mtime_ns))
    """
    await python(session, program)
    assert shown(await session.changes()) == {"a.txt": "Ene\n"}


async def test_a_file_without_a_new_change_is_the_same_object_and_some_can_be_left_out(
    session: Session,
) -> None:
    asked: list[str] = []

    def leave_out(path: str) -> bool:
        asked.append(path)
        return path in ("node_modules/", "pkg/build/", "log")

    await sh(
        session, "mkdir node_modules pkg/build; echo x | tee node_modules/a pkg/build/b log pkg/kept >a.txt"
    )
    await sh(session, "truncate -s 1T node_modules/huge; rm b.txt")
    first = await session.changes(leave_out)
    assert shown(first) == {"a.txt": "x\n", "pkg/kept": "x\n", "b.txt": None}
    assert "a.txt" not in asked and "pkg/" not in asked and "node_modules/a" not in asked
    second = await session.changes(leave_out)
    assert second == first and all(second.files[path] is file for path, file in first.files.items())


async def test_files_stay_and_processes_do_not(session: Session) -> None:
    serve = """
        import os, signal, socket, time
        if not os.fork():
            os.setsid()
            for number in (signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
            server = socket.create_server(("127.0.0.1", 8123))
            open("/tmp/ready", "w").close()
            os.closerange(0, 3)
            time.sleep(60)
        while not os.path.exists("/tmp/ready"): time.sleep(0.01)
        open("/tmp/t", "w").write("tmp"); open("w", "w").write("workspace")
    """
    result = await session.run(["python", "-c", textwrap.dedent(serve)])
    assert (result.exit_code, result.left_running) == (0, 1), result
    connect = """
        import os, socket
        try: socket.create_connection(("127.0.0.1", 8123), 1); print("reached")
        except OSError: print(open("/tmp/t").read(), open("w").read())
    """
    assert await python(session, connect) == "tmp workspace\n"
    result = await sh(session, "sleep 60 & sleep 60 & (sleep 60 &); echo on; ls /proc | grep -c '^[0-9]'")
    assert result.stdout.startswith("on\n") and result.left_running == 3
    result = await sh(session, "echo out; echo err >&2; exit 7")
    assert (result.exit_code, result.stdout, result.stderr, result.left_running) == (7, "out\n", "err\n", 0)


async def test_a_command_that_writes_our_marks_leaves_no_process_either(session: Session) -> None:
    forge = """
        import os, signal, time
        words = open(f"/proc/{os.getppid()}/cmdline", "rb").read().split(b"\\0")
        at = len(words) - 1 - words[::-1].index(b"sh")
        shell = os.getppid()
        if not os.fork():
            os.closerange(0, 3)
            time.sleep(60)
        os.write(2, words[at + 2] + words[at + 1] + b" 0 0 137\\n")
        os.kill(shell, signal.SIGKILL)
    """
    assert (await session.run(["python", "-c", textwrap.dedent(forge)])).exit_code == 137
    result = await sh(session, "cat /proc/[0-9]*/cmdline")
    assert "time.sleep" not in result.stdout


async def test_output_is_heard_and_what_looks_like_our_marks_is_output(session: Session) -> None:
    heard: list[str] = []  # xyz cannot be in the random mark, which is hexadecimal
    spy = "tr '\\0' '\\n' </proc/$PPID/cmdline >&2; printf xyz >&2; printf '{report}'"
    result = await session.run(["sh", "-c", spy], None, heard.append)
    assert result.exit_code == 0 and result.stdout == "{report}" and result.stderr.endswith("xyz")
    assert "{report}" in "".join(heard) and "".join(heard).count("xyz") == 2


async def test_a_command_that_runs_out_of_time_leaves_the_session_its_files(session: Session) -> None:
    bomb = """
        import os, time
        open("before", "w").write("x")
        while True:
            try: os.fork()
            except OSError: time.sleep(0.01)
    """
    result = await session.run(["python", "-c", textwrap.dedent(bomb)], replace(LIMITS, seconds=1.5))
    assert result.timed_out and result.exit_code == 137 and result.seconds < 4
    assert shown(await session.changes()) == {"before": "x"}
    assert (await sh(session, "cat before; ls -d /proc/[0-9]* | wc -l")).stdout.startswith("x")
    murder = (
        "import os, signal, time\nos.kill(-1, signal.SIGKILL)\nopen('after', 'w').close()\ntime.sleep(60)"
    )
    result = await session.run(["python", "-c", murder], replace(LIMITS, seconds=1.5))
    assert result.exit_code == 137
    assert set((await session.changes()).files) == {"before", "after"}
    detach = "import os, time\nos.closerange(0, 9)\nos.kill(os.getppid(), 9)\ntime.sleep(60)"
    token = f"detached-{uuid4().hex}"
    result = await session.run(["python", "-c", detach, token], replace(LIMITS, seconds=5))
    assert result.exit_code == 137
    assert not test_sandbox.processes(token)


async def test_limits_hold_for_every_command(session: Session) -> None:
    hog = "hoard = []\nwhile True: hoard.append(b'x' * 20_000_000)"
    result = await session.run(["python", "-c", hog])
    assert result.out_of_memory and result.exit_code == 137
    result = await sh(session, "echo first; yes | head -c 3000000; echo last")
    assert result.truncated and result.stdout.startswith("first\n") and result.stdout.endswith("last\n")
    assert len(result.stdout) < 1_000_100 and not result.out_of_memory
    short = await sh(session, "yes | head -c 3000", replace(LIMITS, output_bytes=100))
    assert short.truncated and len(short.stdout) < 200
    crowd = """
        import os, time
        count = 0
        try:
            while os.fork(): count += 1
            time.sleep(20)
        except OSError: print(40 < count <= 64)
    """
    assert await python(session, crowd) == "True\n"
    fill = """
        written = 0
        try:
            with open("fill", "wb", buffering=0) as file:
                while written < 2_000_000_000: written += file.write(bytes(1_000_000))
        except OSError as error: print(error.strerror, 200 * 2**20 < written <= 256 * 2**20)
    """
    assert await python(session, fill) == "No space left on device True\n"
    assert await python(session, fill.replace('"fill"', '"/tmp/fill"')) == "No space left on device False\n"
    with pytest.raises(SessionError, match=r"a\.txt.*No space left|No space left"):
        await session.write("a.txt", bytes(1_000_000))
    assert await session.read("a.txt") == b"one\n"
    with pytest.raises(SessionError, match=r"more than 64 MiB.*'fill'"):
        await session.changes()
    await sh(session, "rm fill /tmp/fill")
    assert shown(await session.changes()) == {}


async def test_what_is_too_much_is_named_and_the_session_goes_on(session: Session) -> None:
    await sh(session, "mkdir many; cd many; seq 25000 | xargs touch")
    with pytest.raises(SessionError, match=r"more than 20,000 paths.*'many/"):
        await session.changes()
    await sh(session, "rm -r many; truncate -s 1T sparse")
    with pytest.raises(SessionError, match="'sparse' alone 1,099,511,627,776 bytes"):
        await session.changes()
    with pytest.raises(SessionError, match="cannot read sparse: it has more than 16 MiB"):
        await session.read("sparse")
    await python(session, "import os\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')")
    await sh(session, "rm sparse; find d -delete 2>/dev/null; rm -rf d")
    assert shown(await session.changes()) == {}


async def test_hostile_files_are_reported_as_what_they_are(session: Session, tmp_path: Path) -> None:
    program = f"""
        import os, socket
        os.symlink("{tmp_path}", "out"); os.symlink("../../../../etc/passwd", "up")
        os.symlink("loop", "loop"); os.symlink(b"\\xfe", b"l\\xff")
        os.mkfifo("fifo"); socket.socket(socket.AF_UNIX).bind("socket")
        os.makedirs("shut/in"); open("shut/in/file", "w").write("secret")
        for path in ("shut/in/file", "shut/in", "shut"): os.chmod(path, 0)
        open(b"bad\\xff\\n\\x1b[2Jname", "w").write("odd")
        os.mkdir("-rf"); open("-rf/ * ", "w").write("dash")
        for name in ("null", "whiteout"):
            try: os.mknod(name, 0o20666, os.makedev(1, 3) if name == "null" else 0)
            except OSError: pass
    """
    await python(session, program)
    (tmp_path / "file").write_text("host")
    changes = await session.changes()
    assert shown(changes) == {
        "out": f"-> {tmp_path}",
        "up": "-> ../../../../etc/passwd",
        "loop": "-> loop",
        os.fsdecode(b"l\xff"): "-> " + os.fsdecode(b"\xfe"),
        "shut/in/file": "secret",
        os.fsdecode(b"bad\xff\n\x1b[2Jname"): "odd",
        "-rf/ * ": "dash",
    }
    assert await session.read(os.fsdecode(b"bad\xff\n\x1b[2Jname")) == b"odd"
    assert await session.read("-rf/ * ") == b"dash"
    assert await session.read("out/file") is None and await session.read("loop") is None
    await sh(session, "rm -rf pkg; ln -s / pkg; rm -rf other; ln -s /proc/self/root other")
    for path in ("out/evil", f"pkg{tmp_path}/evil", f"other{tmp_path}/evil"):
        with suppress(SessionError):  # the sandbox's /tmp may be written, as a program could
            await session.write(path, b"x")
    assert (await session.changes()).removed == {"pkg/c.py", "pkg/deep/d.py", "other/e.py"}
    assert os.listdir(tmp_path) == ["file"]


async def test_files_are_read(session: Session) -> None:
    assert await session.read("a.txt") == await session.read("/workspace/a.txt") == b"one\n"
    assert await session.read("link") == b"x = 1\n"
    assert await session.read("no") is None and await session.read("a.txt/no") is None
    blob = os.urandom(MAX_FILE_BYTES)
    await session.write("/tmp/blob", blob)
    assert await session.read("/tmp/blob") == blob
    assert b"sandbox" in (await session.read("/etc/passwd") or b"")
    assert await session.read("/proc/self/status")
    await sh(session, "mkfifo fifo; ln -s fifo pipe; echo x >shut; chmod 0 shut; echo >>/tmp/blob")
    refused = {
        "pkg": "it is a folder",
        "/": "it is a folder",
        "fifo": "no regular file",
        "pipe": "no regular file",
        "/dev/zero": "no regular file",
        "shut": "Permission denied",
        "/tmp/blob": "more than 16 MiB",
        "": "is no path",
        "a\0b": "is no path",
    }
    for path, reason in refused.items():
        with pytest.raises(SessionError, match=reason):
            await session.read(path)


async def test_files_are_written(session: Session) -> None:
    await session.write("a.txt", b"new\n")
    await session.write("/workspace/run.sh", b"echo other\n")
    await session.write("link", b"through the link")
    odd = os.fsdecode(b"deep/\xff\n/-n \n")
    await session.write(odd, b"\0\xff")
    await session.write("empty", b"")
    await session.write("/tmp/t", b"tmp")
    assert shown(await session.changes()) == {
        "a.txt": "new\n",
        "run.sh*": "echo other\n",
        "pkg/c.py": "through the link",
        odd: "\0\ufffd",
        "empty": "",
    }
    assert (
        await sh(session, "stat -c %a a.txt run.sh empty; ./run.sh; cat /tmp/t; ls -A . deep")
    ).stdout == (
        "644\n755\n644\nother\ntmp.:\na.txt\nb.txt\ndeep\nempty\nlink\nother\npkg\nrun.sh\n\ndeep:\n"
        "\ufffd\n\n"
    )
    await sh(session, "mkfifo fifo; chmod 440 a.txt")
    await session.write("a.txt", b"again")
    assert (await sh(session, "stat -c %a a.txt")).stdout == "440\n"
    refused = {"pkg": "folder", "fifo": "regular file", "/usr/x": "Read-only", "b.txt/x": "mkdir|directory"}
    for path, reason in refused.items():
        with pytest.raises(SessionError, match=reason):
            await session.write(path, b"x")
    with pytest.raises(SessionError, match="16 MiB"):
        await session.write("huge", bytes(MAX_FILE_BYTES + 1))


@dataclass
class InSessions:
    """A sandbox that runs every command in a session. Other tests' escapes are tried in it."""

    sandbox: Sandbox

    async def run(
        self, files: Iterable[bytes], command: Sequence[str], limits: Limits, on_output: OnText | None = None
    ) -> Result:
        async with self.sandbox.session(files, limits) as session:
            return await session.run(command, limits, on_output)


ESCAPES: list[Callable[..., Awaitable[None]]] = [
    test_sandbox.test_nothing_can_be_written_outside_of_the_workspace,
    test_sandbox.test_the_hosts_files_and_environment_stay_unseen,
    test_sandbox.test_there_is_no_network,
    test_sandbox.test_links_in_the_tar_lead_nowhere_outside,
    test_sandbox.test_files_that_do_not_fit_are_an_error_that_says_so,
    test_sandbox.test_an_error_while_files_are_read_is_passed_on,
    test_sandbox.test_the_first_process_cannot_be_killed_from_inside,
    test_sandbox.test_daemons_die_with_their_program,
    test_sandbox.test_a_program_that_kills_its_parent_gains_nothing,
    test_sandbox.test_a_program_has_no_privileges_and_gets_none,
    test_sandbox.test_cancelling_kills_the_program,
]


@pytest.mark.parametrize("escape", ESCAPES, ids=lambda escape: escape.__name__.removeprefix("test_"))
async def test_a_session_contains_what_a_run_contains(
    place: Sandbox, request: pytest.FixtureRequest, escape: Callable[..., Awaitable[None]]
) -> None:
    others = [name for name in inspect.signature(escape).parameters if name != "sandbox"]
    await escape(InSessions(place), **{name: request.getfixturevalue(name) for name in others})


async def test_calls_wait_for_each_other_and_a_cancelled_one_harms_none(session: Session) -> None:
    ticks = "for n in 1 2 3; do echo $0 >>log; sleep 0.02; done"
    await asyncio.gather(*(session.run(["sh", "-c", ticks, name]) for name in "abc"), session.changes())
    written = await session.read("log")
    assert written and sorted(written.split()[::3]) == [b"a", b"b", b"c"]
    assert written.split() == sorted(written.split(), key=written.split().index)
    token = f"session-{os.getpid()}"
    begun = asyncio.Event()
    command = ["sh", "-c", "echo on; sleep 60", token]
    task = asyncio.create_task(session.run(command, None, lambda _: begun.set()))
    await asyncio.wait_for(begun.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not test_sandbox.processes(token)
    for delay in (0.001, 0.005, 0.01, 0.02, 0.05):
        task = asyncio.create_task(session.run(["sleep", "60", token]))
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not test_sandbox.processes(token)
    for delay in (0, 0.001, 0.02):
        survey = asyncio.create_task(session.changes())
        reading = asyncio.create_task(session.read("a.txt"))
        await asyncio.sleep(delay)
        survey.cancel()
        reading.cancel()
        await asyncio.gather(survey, reading, return_exceptions=True)
    assert shown(await session.changes()) == {"log": written.decode()}


async def test_a_session_that_waits_holds_no_slot(place: Sandbox) -> None:
    async def use(barrier: asyncio.Barrier) -> str:
        async with place.session(pack(TREE), LIMITS) as session:
            await barrier.wait()
            return (await session.run(["cat", "a.txt"])).stdout

    count = MAX_PROGRAMS + 1
    barrier = asyncio.Barrier(count)
    assert await asyncio.gather(*(use(barrier) for _ in range(count))) == ["one\n"] * count


async def refused(reason: str, *calls: Awaitable[object]) -> None:
    for call in calls:
        with pytest.raises(SandboxError, match=reason):
            await call


async def test_a_closed_session_and_one_that_lost_its_place_say_so(place: Sandbox) -> None:
    async with place.session(pack(TREE), LIMITS) as session:
        await session.run(["true"])
        if place.name == "docker":
            mine = f"docker ps -q -f label=autocode.owner={ownership().label} | xargs docker kill"
            await (await asyncio.create_subprocess_shell(mine, stdout=subprocess.DEVNULL)).wait()
        else:
            for child in psutil.Process().children(recursive=True):
                if child.cmdline()[:2] == ["sleep", "infinity"]:
                    child.send_signal(signal.SIGKILL)
        await asyncio.sleep(0.2)
        await refused("the session has ended", session.run(["true"]), session.changes())
        await refused("the session has ended", session.write("a.txt", b""))
    async with place.session(pack(TREE), LIMITS) as session:
        pass
    await refused("was closed", session.run(["true"]), session.read("a.txt"), session.changes())


async def test_an_environment_brings_its_files_variables_and_path(place: Sandbox, tmp_path: Path) -> None:
    generated = tmp_path / "generated.tar"
    generated.write_bytes(
        pack({"built/lib.so": "binary", "a.txt": "generated"})[0].rstrip(b"\0") + bytes(511)
    )
    data = generated.read_bytes()
    generated.write_bytes(data[: -(len(data) % 512) or None])
    environment = Environment(
        key="k", path=("/workspace/bin",), variables=(("COLOUR", "blue"),), generated=generated, memory_mb=900
    )
    sandbox = EnvironmentSandbox(place, environment, Limits(memory_mb=1000))
    async with sandbox.session(pack(TREE), LIMITS) as session:
        assert await session.changes() == SessionChanges()
        await session.write("bin/hello", b"#!/bin/sh\necho $COLOUR\n")
        await sh(session, "chmod +x bin/hello; cat a.txt built/lib.so >all")
        assert (await session.run(["hello"])).stdout == "blue\n"
        assert await session.read("all") == b"one\nbinary"
        assert set((await session.changes(lambda path: path == "all")).files) == {"bin/hello"}


@pytest.mark.bubblewrap
async def test_nothing_of_a_session_stays_on_the_machine(bubblewrap: Sandbox) -> None:
    parents = [parent for _, parent in Cgroups.find().parents.values()]
    others = set(psutil.Process().children(recursive=True))  # such as a server that tests share

    def left() -> list[str]:
        groups = [str(path) for parent in parents for path in parent.glob(f"autocode-*:{os.getpid()}:*")]
        children = set(psutil.Process().children(recursive=True)) - others
        return groups + [" ".join(child.cmdline()) for child in children]

    async def use() -> None:
        async with bubblewrap.session(pack(TREE), LIMITS) as session:
            await session.run(["sh", "-c", "sleep 60 & sleep 60"])

    before = set(os.listdir("/proc/self/fd"))
    tasks = [asyncio.create_task(use()) for _ in range(4)]
    for number, task in enumerate(tasks):
        await asyncio.sleep(0.03 * number**2)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for _ in range(50):
        if not left():
            break
        await asyncio.sleep(0.1)
    assert not left()
    assert "/layer " not in await asyncio.to_thread(Path("/proc/self/mounts").read_text)
    assert len(set(os.listdir("/proc/self/fd")) - before) < 4


@pytest.mark.bubblewrap
async def test_a_home_behind_a_link_serves_as_well(
    bubblewrap: Sandbox, sandbox_home: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home, with a comma: and more"
    home.mkdir()
    (home / "sandbox").symlink_to(sandbox_home / "sandbox")
    linked = await Bubblewrap.open(home)
    async with linked.session(pack(TREE), LIMITS) as session:
        await sh(session, "echo x >new")
        assert shown(await session.changes()) == {"new": "x\n"}
