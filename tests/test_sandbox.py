"""What every sandbox must do and withstand: each test runs on both backends."""

import asyncio
import hashlib
import io
import os
import platform
import shutil
import socket
import tarfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from sandbox.base import REPORT, Limits, Result, Sandbox, SandboxError
from sandbox.program import MAX_PROGRAMS

PYTEST = ["python", "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={REPORT}"]


def tar(files: dict[str, str | bytes]) -> Iterator[bytes]:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    yield stream.getvalue()


def processes(token: str) -> list[psutil.Process]:
    """What runs on this machine, inside or outside of sandboxes, with `token` on its command line."""
    found = psutil.process_iter(["cmdline"])
    return [process for process in found if any(token in word for word in process.info["cmdline"] or ())]


async def python(
    sandbox: Sandbox, program: str, *arguments: str, seconds: float = 10, limits: Limits | None = None
) -> Result:
    """Run a program, and hold that nothing of it is left."""
    token = f"program-{uuid4().hex}"
    files = tar({"program.py": textwrap.dedent(program)})
    limits = limits or Limits(seconds=seconds)
    result = await sandbox.run(files, ["python", "program.py", *arguments, token], limits)
    assert not processes(token)
    return result


def empty(folder: Path) -> bool:
    return not list(folder.iterdir())


async def longest_pause(stop: asyncio.Event) -> float:
    """How long the event loop and a new process had to wait at worst."""
    worst = 0.0
    while not stop.is_set():
        began = time.monotonic()
        await (await asyncio.create_subprocess_exec("true")).wait()
        await asyncio.sleep(0.05)
        worst = max(worst, time.monotonic() - began - 0.05)
    return worst


async def test_a_test_suite_runs_and_its_report_comes_back(sandbox: Sandbox) -> None:
    heard: list[str] = []
    suite = """
        import pytest
        def test_good(): assert 1
        def test_bad(): assert 1 == 2, "sums"
        @pytest.fixture
        def broken(): raise RuntimeError("no")
        def test_broken(broken): pass
        @pytest.mark.skip(reason="later")
        def test_later(): pass
    """
    files = tar({"test_it.py": textwrap.dedent(suite)})
    result = await sandbox.run(files, PYTEST, Limits(), heard.append)
    assert result.exit_code == 1
    assert not (result.timed_out or result.out_of_memory or result.truncated)
    assert result.report is not None
    assert {case.id: case.outcome for case in result.report} == {
        "test_it::test_good": "passed",
        "test_it::test_bad": "failed",
        "test_it::test_broken": "error",
        "test_it::test_later": "skipped",
    }
    assert "AssertionError: sums" in result.report[1].message
    assert "2 passed" not in result.stdout and "1 failed, 1 passed, 1 skipped, 1 error" in result.stdout
    assert "rootdir: /workspace" in "".join(heard)
    assert f"generated xml file: {REPORT}" in result.stdout
    assert 0 < result.seconds < 10


async def test_a_src_layout_is_found_through_the_environment(sandbox: Sandbox) -> None:
    files = tar(
        {
            "src/thing/__init__.py": "x = 3\n",
            "tests/test_x.py": "import thing\ndef test_x(): assert thing.x\n",
        }
    )
    result = await sandbox.run(files, ["env", "PYTHONPATH=src", *PYTEST], Limits())
    assert result.exit_code == 0
    assert result.report and result.report[0].outcome == "passed"


async def test_exit_codes_and_signals_are_told_apart(sandbox: Sandbox) -> None:
    async def code(*command: str) -> int:
        return (await sandbox.run(tar({}), command, Limits(seconds=5))).exit_code

    codes = await asyncio.gather(
        code("true"), code("sh", "-c", "exit 7"), code("sh", "-c", "kill -SEGV $$"), code("no-such-program")
    )
    assert list(codes) == [0, 7, 139, 127]


async def test_streams_stay_apart_and_bytes_that_are_no_text_do_no_harm(sandbox: Sandbox) -> None:
    program = r"""
        import os
        os.write(1, b"out \xff\xc3\xa9\n"); os.write(2, b"err\n")
    """
    result = await python(sandbox, program)
    assert (result.stdout, result.stderr) == ("out \ufffdé\n", "err\n")


async def test_twenty_megabytes_arrive_whole(sandbox: Sandbox) -> None:
    blob = os.urandom(20_000_000)
    whole = next(tar({"blob": blob}))
    pieces = (whole[start : start + 77_777] for start in range(0, len(whole), 77_777))
    result = await sandbox.run(pieces, ["sha256sum", "blob"], Limits())
    assert result.stdout.split()[0] == hashlib.sha256(blob).hexdigest()


async def test_modes_and_links_of_the_files_are_kept(sandbox: Sandbox) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        script = tarfile.TarInfo("run.sh")
        script.mode, script.size = 0o755, len(b"#!/bin/sh\necho ran\n")
        archive.addfile(script, io.BytesIO(b"#!/bin/sh\necho ran\n"))
        link = tarfile.TarInfo("link.sh")
        link.type, link.linkname = tarfile.SYMTYPE, "run.sh"
        archive.addfile(link)
    result = await sandbox.run([stream.getvalue()], ["./link.sh"], Limits())
    assert result.stdout == "ran\n"


async def test_files_that_do_not_fit_are_an_error_that_says_so(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match="workspace of 2 MiB"):
        await sandbox.run(tar({"blob": bytes(4_000_000)}), ["true"], Limits(workspace_mb=2))


async def test_a_command_that_is_too_long_is_an_error_of_the_sandbox(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError):
        await sandbox.run(tar({}), ["true", "x" * 3_000_000], Limits())


async def test_an_error_while_files_are_read_is_passed_on(sandbox: Sandbox) -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(512)
        raise LookupError("gone")

    token = f"program-{uuid4().hex}"
    with pytest.raises(LookupError, match="gone"):
        await sandbox.run(broken(), ["sleep", "30", token], Limits())
    assert not processes(token)


async def test_runs_at_once_do_not_see_each_other(sandbox: Sandbox) -> None:
    program = """
        import os, sys, time
        open("/tmp/mine", "x").write(sys.argv[1])
        open("/workspace/mine", "x").write(sys.argv[1])
        time.sleep(0.5)
        print(open("/tmp/mine").read(), sum(name.isdecimal() for name in os.listdir("/proc")))
    """
    results = await asyncio.gather(*(python(sandbox, program, str(number)) for number in range(4)))
    lines = [result.stdout.split() for result in results]
    assert [line[0] for line in lines] == ["0", "1", "2", "3"]
    assert all(int(line[1]) < 8 for line in lines)


async def test_more_programs_than_there_is_room_for_wait(sandbox: Sandbox) -> None:
    program = """
        import time
        began = time.monotonic()
        time.sleep(0.7)
        print(began, time.monotonic())
    """
    results = await asyncio.gather(*(python(sandbox, program) for _ in range(MAX_PROGRAMS + 2)))
    times = [[float(word) for word in result.stdout.split()] for result in results]
    side_by_side = [sum(began <= at < ended for began, ended in times) for at, _ in times]
    assert max(side_by_side) <= MAX_PROGRAMS


async def test_identity_names_what_ran_and_stays_the_same(sandbox: Sandbox) -> None:
    identity = await sandbox.identity()
    assert identity == await sandbox.identity()
    assert identity.startswith("sha256:") or ("CPython" in identity and "pytest" in identity)


async def test_cancelling_kills_the_program(sandbox: Sandbox) -> None:
    token = f"program-{uuid4().hex}"
    begun = asyncio.Event()
    task = asyncio.create_task(
        sandbox.run(tar({}), ["sh", "-c", "echo on; sleep 60", token], Limits(), lambda _: begun.set())
    )
    await asyncio.wait_for(begun.wait(), 10)
    assert processes(token)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not processes(token)


async def test_cancelling_at_any_moment_leaves_nothing(sandbox: Sandbox) -> None:
    token = f"program-{uuid4().hex}"
    command = ["sh", "-c", "yes & sleep 60", token]
    tasks = [asyncio.create_task(sandbox.run(tar({}), command, Limits())) for _ in range(4)]
    for number, task in enumerate(tasks):
        await asyncio.sleep(0.02 * number**2)
        task.cancel()
    await asyncio.sleep(0.01)
    tasks[-1].cancel()  # and again, while it is being taken down
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended)
    for _ in range(50):
        if not processes(token):
            break
        await asyncio.sleep(0.1)
    assert not processes(token)


async def test_half_a_processor_is_all_there_is(sandbox: Sandbox) -> None:
    program = """
        import os, time
        children = [child for _ in range(2) if (child := os.fork())]
        end = time.monotonic() + 2
        while time.monotonic() < end: pass
        for child in children: os.waitpid(child, 0)
        if len(children) == 2: print(sum(os.times()[:4]))
    """
    result = await python(sandbox, program)
    assert float(result.stdout) < 1.6


async def test_a_fork_bomb_runs_into_its_limit(sandbox: Sandbox) -> None:
    program = """
        import os, time
        while True:
            try: os.fork()
            except OSError: time.sleep(0.01)
    """
    stop = asyncio.Event()
    pauses = asyncio.create_task(longest_pause(stop))
    result = await python(sandbox, program, seconds=2)
    stop.set()
    assert result.timed_out and result.exit_code == 137
    assert 2 <= result.seconds < 4
    assert await pauses < 2


async def test_processes_are_counted(sandbox: Sandbox) -> None:
    program = """
        import os, time
        count = 0
        try:
            while True:
                if not os.fork(): time.sleep(60)
                count += 1
        except OSError: print(count)
    """
    result = await python(sandbox, program)
    assert 40 < int(result.stdout) <= 64


async def test_memory_is_limited_and_its_end_is_named(sandbox: Sandbox) -> None:
    program = """
        hoard = []
        for _ in range(160): hoard.append(bytearray(b"x" * 64_000_000))
    """
    result = await python(sandbox, program, seconds=20)
    assert result.out_of_memory and not result.timed_out
    assert result.exit_code == 137
    assert result.seconds < 15


async def test_memory_is_limited_for_all_processes_together(sandbox: Sandbox) -> None:
    program = """
        import os, time
        for _ in range(8):
            if not os.fork():
                hoard = b"x" * 120_000_000
                time.sleep(60)
        print(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    result = await python(sandbox, program, seconds=20)
    assert result.out_of_memory and not result.timed_out
    assert (result.exit_code, result.stdout) in ((0, "-9\n"), (137, ""))


async def test_memory_that_fits_is_not_taken_for_exhausted(sandbox: Sandbox) -> None:
    result = await python(sandbox, "print(len(b'x' * 300_000_000))")
    assert result.stdout == "300000000\n" and not result.out_of_memory


async def test_endless_output_is_cut_and_keeps_nobody_busy(sandbox: Sandbox) -> None:
    heard: list[str] = []
    stop = asyncio.Event()
    pauses = asyncio.create_task(longest_pause(stop))
    began = time.process_time()
    result = await sandbox.run(tar({}), ["yes", "x" * 100], Limits(seconds=3), heard.append)
    spent = time.process_time() - began
    stop.set()
    assert result.timed_out and result.truncated
    assert len(result.stdout) < 1_000_100
    assert len("".join(heard)) < 1_000_100
    assert spent < 2
    assert await pauses < 2


async def test_of_too_much_output_the_middle_is_dropped(sandbox: Sandbox) -> None:
    program = (
        "import sys; print('first'); print('x' * 3_000_000); print('last'); print('e' * 9, file=sys.stderr)"
    )
    result = await python(sandbox, program)
    assert result.truncated and not result.timed_out
    assert result.stdout.startswith("first\n") and result.stdout.endswith("last\n")
    assert "bytes dropped" in result.stdout and result.stderr == "e" * 9 + "\n"
    assert len(result.stdout) < 1_000_100


async def test_a_program_that_ignores_signals_is_killed_in_time(sandbox: Sandbox) -> None:
    program = """
        import signal
        for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        print("deaf", flush=True)
        while True: pass
    """
    result = await python(sandbox, program, seconds=1.5)
    assert result.timed_out and result.exit_code == 137 and result.stdout == "deaf\n"
    assert 1.5 <= result.seconds < 3


async def test_nothing_can_be_written_outside_of_the_workspace(sandbox: Sandbox, tmp_path: Path) -> None:
    program = """
        import os, sys
        open("/workspace/f", "w").write("x"); open("/tmp/f", "w").write("x")
        for root, folders, _ in os.walk("/"):
            deep = root.count("/") > 2 and root.startswith("/usr")
            folders[:] = [f for f in folders if root + f not in ("/proc", "/sys") and not deep]
            if root.startswith(("/workspace", "/tmp", "/dev/shm", "/dev/mqueue")): continue
            try: open(os.path.join(root, "intruder"), "w").write("x")
            except OSError: continue
            print("wrote into", root)
        for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/fs/cgroup/x", sys.argv[1]):
            try: open(path, "w").write("x"); print("wrote", path)
            except OSError: pass
    """
    result = await python(sandbox, program, str(tmp_path / "intruder"))
    assert (result.exit_code, result.stdout) == (0, "")
    assert empty(tmp_path)


async def test_the_hosts_files_and_environment_stay_unseen(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = f"secret-{uuid4().hex}"
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    (tmp_path / "key").write_text(secret)
    program = """
        import glob, os, sys
        print(dict(os.environ))
        key, home = sys.argv[1:3]
        for path in (key, "/etc/shadow", *glob.glob("/proc/*/environ"), *glob.glob("/proc/*/cmdline"),
                     *glob.glob("/proc/*/root" + key), *glob.glob(home + "/.[a-z]*")):
            try: print(path, open(path, errors="replace").read())
            except OSError: pass
        for path in ("/home", home, "/etc/ssh", "/var/run", "/run"):
            try: print(path, os.listdir(path))
            except OSError: pass
    """
    result = await python(sandbox, program, str(tmp_path / "key"), str(Path.home()))
    assert result.exit_code == 0
    assert secret not in result.stdout
    assert "docker.sock" not in result.stdout and "authorized" not in result.stdout
    assert not [name for name in ("VIRTUAL_ENV", "SSH_", "PYTEST_") if name in result.stdout]


async def test_there_is_no_network(sandbox: Sandbox) -> None:
    program = """
        import os, socket, sys
        targets = [("127.0.0.1", int(sys.argv[1])), ("169.254.169.254", 80), ("172.17.0.1", int(sys.argv[1])),
                   ("1.1.1.1", 53)]
        for target in targets:
            try: socket.create_connection(target, 0.5); print("reached", target)
            except OSError: pass
        try: print(socket.getaddrinfo("example.com", 80))
        except OSError: pass
        try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("1.1.1.1", 53)); print("sent")
        except OSError: pass
        try: socket.socket(socket.AF_UNIX).connect("\\0" + sys.argv[2]); print("abstract")
        except OSError: pass
        print(sorted(set(name for _, name in socket.if_nameindex()) - {"tunl0", "sit0", "ip6tnl0"}))
    """
    name = f"autocode-{uuid4().hex}"
    with socket.create_server(("0.0.0.0", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0{name}")
        abstract.listen()
        result = await python(sandbox, program, str(server.getsockname()[1]), name)
    assert result.stdout == "['lo']\n"


async def test_a_service_of_the_programs_own_is_reachable_on_loopback(sandbox: Sandbox) -> None:
    program = """
        import socket
        with socket.create_server(("localhost", 0)) as server:
            socket.create_connection(("localhost", server.getsockname()[1]), 2).close()
            print("reached")
    """
    assert (await python(sandbox, program)).stdout == "reached\n"


async def test_links_in_the_tar_lead_nowhere_outside(sandbox: Sandbox, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, target in (("out", str(tmp_path)), ("up", "../../../../../../.."), ("etc", "/etc")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        for name in ("out/evil", f"up{tmp_path}/evil", "etc/evil", str(tmp_path / "evil"), "../../evil"):
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(SandboxError):
        await sandbox.run([stream.getvalue()], ["true"], Limits(seconds=5))
    assert empty(tmp_path)
    assert not {"evil"} & {*os.listdir("/etc"), *os.listdir("/")}


async def test_the_first_process_cannot_be_killed_from_inside(sandbox: Sandbox) -> None:
    program = """
        import os, signal
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGSEGV, signal.SIGKILL):
            try: os.kill(1, number)
            except OSError: pass
        print("alive", flush=True)
        os.kill(-1, signal.SIGKILL)
        print("alone", flush=True)
    """
    result = await python(sandbox, program, seconds=4)
    assert result.stdout.startswith("alive\n")
    assert (await python(sandbox, "print('next')")).stdout == "next\n"


async def test_the_disk_cannot_be_filled(sandbox: Sandbox) -> None:
    program = """
        import sys
        written = 0
        try:
            with open(sys.argv[1] + "/fill", "wb", buffering=0) as file:
                while written < 2_000_000_000: written += file.write(bytes(1_000_000))
        except OSError as error: print(error.strerror, written)
    """
    free = shutil.disk_usage("/").free
    places = {"/workspace": 256, "/tmp": 64, "/dev/shm": 64}
    results = await asyncio.gather(*(python(sandbox, program, place, seconds=20) for place in places))
    for result, mib in zip(results, places.values(), strict=True):
        assert result.exit_code == 0 and not result.out_of_memory, result
        assert result.stdout.startswith("No space left on device")
        assert int(result.stdout.split()[-1]) <= mib * 2**20
    assert free - shutil.disk_usage("/").free < 200_000_000


async def test_a_full_workspace_leaves_the_program_its_memory(sandbox: Sandbox) -> None:
    program = """
        for path, size in (("/workspace/fill", 240), ("/tmp/fill", 60)):
            with open(path, "wb") as file:
                for _ in range(size): file.write(bytes(2**20))
        print(len(b"x" * (400 * 2**20)))
    """
    result = await python(sandbox, program, seconds=20)
    assert result.stdout == f"{400 * 2**20}\n" and not result.out_of_memory


async def test_daemons_die_with_their_program(sandbox: Sandbox) -> None:
    program = """
        import os, signal, sys, time
        for keep_output in (True, False):
            if os.fork(): continue
            os.setsid()
            if os.fork(): os._exit(0)
            for number in (signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
            if not keep_output: os.closerange(0, 100)
            time.sleep(60)
        print("started", flush=True)
    """
    result = await python(sandbox, program, seconds=15)
    assert (result.exit_code, result.stdout, result.timed_out) == (0, "started\n", False)
    assert result.seconds < 5


async def test_a_program_that_kills_its_parent_gains_nothing(sandbox: Sandbox) -> None:
    program = """
        import os, signal, time
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    """
    result = await python(sandbox, program, seconds=2)
    assert result.exit_code == 137 and result.seconds < 4
    forge = """
        import os, signal
        words = open(f"/proc/{os.getppid()}/cmdline", "rb").read().split(b"\\0")
        at = len(words) - 1 - words[::-1].index(b"sh")
        os.write(2, words[at + 2] + words[at + 1] + b" 0 0 0\\n")
        os.kill(os.getppid(), signal.SIGKILL)
    """
    assert (await python(sandbox, forge, seconds=2)).exit_code == 137


async def test_a_program_has_no_privileges_and_gets_none(sandbox: Sandbox) -> None:
    program = """
        import ctypes, os
        status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
        print(os.getuid() > 0, os.getgid() > 0, os.getgroups() in ([], [os.getgid()]), status["NoNewPrivs"])
        print({int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")})
        libc = ctypes.CDLL(None, use_errno=True)
        print([libc.unshare(flag) for flag in (0x10000000, 0x00020000, 0x40000000)])
        print(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None), libc.chroot(b"/tmp"))
    """
    result = await python(sandbox, program)
    assert result.stdout == "True True True 1\n{0}\n[-1, -1, -1]\n-1 -1\n"


# Their numbers on x86-64, or on every machine. A filter decides before the kernel looks at arguments.
DENIED_CALLS = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "keyctl": 250, "add_key": 248,
    "request_key": 249, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
    "userfaultfd": 323, "bpf": 321, "perf_event_open": 298, "kexec_load": 246, "kexec_file_load": 320,
    "open_by_handle_at": 304, "name_to_handle_at": 303, "open_tree": 428, "move_mount": 429, "fsopen": 430,
    "mount_setattr": 442, "pidfd_getfd": 438, "process_madvise": 440, "init_module": 175,
}  # fmt: skip


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86-64")
async def test_dangerous_system_calls_fail_before_the_kernel_looks_at_them(sandbox: Sandbox) -> None:
    program = f"""
        import ctypes, errno
        libc = ctypes.CDLL(None, use_errno=True)
        for name, number in {DENIED_CALLS}.items():
            # PTRACE_TRACEME needs no right, and a ring of one entry needs memory alone.
            ring = ctypes.create_string_buffer(256)
            arguments = (1, ring) if name.startswith("io_uring") else (0, 0)
            result = libc.syscall(number, *arguments, 0, 0, 0, 0)
            print(name, result, errno.errorcode.get(ctypes.get_errno()))
    """
    result = await python(sandbox, program)
    expected = [f"{name} -1 {'ENOSYS' if 'io_uring' in name else 'EPERM'}" for name in DENIED_CALLS]
    assert result.stdout.splitlines() == expected


async def test_libraries_that_like_io_uring_or_new_calls_do_without(sandbox: Sandbox) -> None:
    program = """
        import asyncio, concurrent.futures, mmap, multiprocessing, socket, subprocess, threading
        async def main():
            process = await asyncio.create_subprocess_exec("echo", "child", stdout=subprocess.PIPE)
            server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            print((await process.communicate())[0], await reader.read())
            writer.close()
            server.close()
        if __name__ == "__main__":
            asyncio.run(main())
            with concurrent.futures.ProcessPoolExecutor(2) as pool: print(*pool.map(abs, (-1, -2)))
            process = multiprocessing.get_context("spawn").Process(target=print, args=("spawned",))
            process.start()
            process.join()
    """
    result = await python(sandbox, program)
    assert result.stdout == "b'child\\n' b''\n1 2\nspawned\n", result.stderr


FORGED = '<testsuite><testcase classname="a" name="forged"/></testsuite>'
FORGERIES = {
    "a guess": "[open(f'/tmp/{name}', 'w').write(forged) for name in ('report.xml', 'junit.xml')]",
    "a link": "os.symlink('/workspace/forged.xml', path)",
    "a pipe": "os.mkfifo(path)",
    "a folder": "os.mkdir(path)",
    "a huge file": "open(path, 'w').write(forged); os.truncate(path, 50_000_000)",
    "entities": "open(path, 'w').write('<!DOCTYPE a [<!ENTITY b \"c\">]>' + forged)",
}


async def test_only_an_honest_file_at_the_reports_path_is_a_report(sandbox: Sandbox) -> None:
    async def forge(deed: str) -> Result:
        program = f"import os, sys\npath = sys.argv[1]\nforged = open('forged.xml').read()\n{deed}\n"
        files = tar({"program.py": program, "forged.xml": FORGED})
        return await sandbox.run(files, ["python", "program.py", REPORT], Limits(seconds=10))

    results = await asyncio.gather(*map(forge, FORGERIES.values()))
    read = {name: (result.exit_code, result.report) for name, result in zip(FORGERIES, results, strict=True)}
    assert read == dict.fromkeys(FORGERIES, (0, None))


async def test_what_is_written_at_the_reports_path_is_given_as_read(sandbox: Sandbox) -> None:
    command: Sequence[str] = ["sh", "-c", f"cp forged.xml {REPORT}; exit 3"]
    result = await sandbox.run(tar({"forged.xml": FORGED}), command, Limits())
    assert result.exit_code == 3
    assert result.report and [case.id for case in result.report] == ["a::forged"]
