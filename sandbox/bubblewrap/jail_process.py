"""One program in bubblewrap's hands, from its start until nothing of it is left."""

import asyncio
import json
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import IO, Any

import psutil

from sandbox.base import Limits, SandboxError
from sandbox.bubblewrap.cgroup import Cgroup, Cgroups
from sandbox.bubblewrap.jail import PATH, Jail
from sandbox.output import Output
from sandbox.report import MAX_BYTES
from sandbox.run_watch import UNPACK_SECONDS
from sandbox.script import ENVIRONMENT, send_files

_CHUNK = 65_536
_GUARD_SECONDS = 0.1
_LAST_SECONDS = 5.0

# `echo 0` moves the shell itself, so that what it becomes is limited from its first instruction.
_JOIN = 'while [ "$1" != -- ]; do echo 0 >"$1/cgroup.procs" || exit 1; shift; done; shift; exec "$@"'


class Jailed:
    """The process, its stdin (a socket: files go in, the report comes back), and its namespace's init."""

    def __init__(self, process: "subprocess.Popen[bytes]", stdin: socket.socket, info_fd: int) -> None:
        self.report = b""
        self.outgrown = False
        self._process = process
        self._reading: asyncio.Future[Any] | None = None
        self._sender, self._receiver = stdin, stdin.dup()
        self._sender.settimeout(UNPACK_SECONDS)
        self._receiver.setblocking(False)
        self._init = asyncio.ensure_future(_find_init(info_fd))
        self._ended = asyncio.ensure_future(_reap(process))

    @classmethod
    async def start(
        cls, jail: Jail, cgroups: Cgroups, cgroup: Cgroup, limits: Limits, script: list[str]
    ) -> "Jailed":
        """Start `script`, which waits for its files. Raises SandboxError when not even that succeeds."""
        near, far = socket.socketpair()
        info, info_end = os.pipe()
        passed = [info_end]
        try:
            prefix, files = await asyncio.to_thread(jail.arguments, limits, info_end, "memory" in cgroups)
            passed += files
            process = await asyncio.to_thread(
                # Not the event loop's: uvloop copies the whole process, which takes 20 ms and more.
                subprocess.Popen,
                _limited(cgroup, [*prefix, *script]),
                bufsize=0,
                stdin=far.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=passed,
                env={**ENVIRONMENT, "PATH": PATH},
                cwd="/",
            )
        except BaseException as error:
            near.close()
            os.close(info)
            if isinstance(error, OSError):
                raise SandboxError(f"the program could not be started: {error}") from error
            raise
        finally:
            far.close()
            for fd in passed:
                os.close(fd)
        return cls(process, near, info)

    @property
    def exit_code(self) -> int:
        """The program's, which bubblewrap passes on; its own when it was killed itself."""
        code = self._process.returncode or 0
        return code if code >= 0 else 128 - code

    async def send(self, files: Iterable[bytes]) -> None:
        """Send the files; raises what reading them raises, and OSError when nobody listens any more."""
        await asyncio.to_thread(send_files, files, self._sender.sendall)

    async def read(self, output: Output) -> None:
        """Read all that comes until the program has ended."""
        pumps = (_pump(number, pipe, output) for number, pipe in enumerate(self._pipes(), 1))
        self._reading = asyncio.gather(*pumps, self._read_report())
        await self._reading
        await asyncio.shield(self._ended)

    async def _read_report(self) -> None:
        report = bytearray()
        with suppress(ConnectionError):
            while data := await asyncio.get_running_loop().sock_recv(self._receiver, _CHUNK):
                if len(report) <= MAX_BYTES:
                    report += data
        self.report = bytes(report)

    async def guard(self, limits: Limits) -> None:
        """Kill when the program's processes outgrow their memory together: for want of a cgroup."""
        if init := await self._init:
            while not self.outgrown:
                self.outgrown = await asyncio.to_thread(_outgrown, init[0], limits.memory_mb * 2**20)
                await asyncio.sleep(0 if self.outgrown else _GUARD_SECONDS)
            await self.kill()

    async def kill(self) -> None:
        """Kill the namespace's init, with which everything in it dies; bubblewrap then ends by itself.

        Never the other way round: until it is told to go on, the init would wait for a dead parent forever.
        """
        with suppress(ProcessLookupError):
            if init := await asyncio.shield(self._init):
                signal.pidfd_send_signal(init[1], signal.SIGKILL)

    async def close(self) -> None:
        """Kill what there is, and wait until the kernel has taken the last process down."""
        await self.kill()
        await self._ended
        if init := await self._init:
            await _readable(init[1])
            os.close(init[1])
        if self._reading:
            await asyncio.wait({self._reading}, timeout=_LAST_SECONDS)
        self._sender.close()
        self._receiver.close()
        for pipe in self._pipes():
            pipe.close()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process.stdout and self._process.stderr  # noqa: S101  # Popen was given PIPE for both
        return self._process.stdout, self._process.stderr


def _limited(cgroup: Cgroup, command: list[str]) -> list[str]:
    command = ["nice", "-n", "10", *command]  # whoever runs it, and its readers, come first
    if cgroup.directories:
        command = ["/bin/sh", "-c", _JOIN, "sh", *map(str, cgroup.directories), "--", *command]
    return command


async def _find_init(fd: int) -> tuple[int, int] | None:
    """The pid of the namespace's init and a descriptor that becomes readable when it has gone."""
    with os.fdopen(fd, "rb", buffering=0) as pipe:
        said = b"".join([data async for data in _chunks(pipe.fileno())])
    try:
        pid = int(json.loads(said)["child-pid"])
        return pid, os.pidfd_open(pid)
    except (ValueError, KeyError, ProcessLookupError):
        return None


async def _reap(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the process's end, so that its exit code is known."""
    fd = os.pidfd_open(process.pid)
    try:
        await _readable(fd)
    finally:
        os.close(fd)
    process.wait()


async def _pump(number: int, pipe: IO[bytes], output: Output) -> None:
    async for data in _chunks(pipe.fileno()):
        await output.take(number, data)


async def _chunks(fd: int) -> AsyncIterator[bytes]:
    """What comes out of a pipe, which the caller closes: uvloop's own reader does it twice.

    The second time, another thread may just have been given the number.
    """
    os.set_blocking(fd, False)
    while True:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            await _readable(fd)
        else:
            if not data:
                return
            yield data


def _set(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


def _outgrown(pid: int, limit: int) -> bool:
    """Sum what the tree under `pid` holds. Shared pages count once: resident size only says when to look."""
    try:
        tree = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return False
    return _sum(tree, "rss") > limit and _sum(tree, "pss") > limit


def _sum(tree: Iterable[psutil.Process], kind: str) -> int:
    total = 0
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            try:
                memory = process.memory_full_info() if kind == "pss" else process.memory_info()
                total += getattr(memory, kind)
            except psutil.AccessDenied:
                total += process.memory_info().rss
    return total
