"""One program in bubblewrap, from its start until all of its processes are gone."""

import asyncio
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from sandbox.base import SandboxError
from sandbox.bubblewrap.disk_place import watch
from sandbox.bubblewrap.jail import PATH, Jail, Stage
from sandbox.cgroup import Cgroup
from sandbox.output import Output
from sandbox.program import UNPACK_SECONDS, Program
from sandbox.report import MAX_BYTES
from sandbox.script import ENVIRONMENT, run_script, send_streams

_CHUNK = 65_536
_GUARD_SECONDS = 0.1
_LAST_SECONDS = 5.0

# `echo 0` moves the shell itself, so that the program is limited from its first instruction on.
_JOIN = 'while [ "$1" != -- ]; do echo 0 >"$1/cgroup.procs" || exit 1; shift; done; shift; exec "$@"'


class JailProcess:
    """The bubblewrap process, its stdin and the init of its process namespace.

    Stdin is a socket, because the files go in and the report comes back through it.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, stdin: socket.socket, info_fd: int, cgroup: Cgroup
    ) -> None:
        self.cgroup = cgroup
        self.report = b""
        self.outgrown = False
        self._process = process
        self._reading: asyncio.Future[tuple[None, None, None]] | None = None
        self._sender, self._receiver = stdin, stdin.dup()
        self._sender.settimeout(UNPACK_SECONDS)
        self._receiver.setblocking(False)
        self._init = asyncio.ensure_future(asyncio.to_thread(_find_init, info_fd))

    @classmethod
    async def start(cls, jail: Jail, cgroup: Cgroup, program: Program, stage: Stage) -> "JailProcess":
        """Start the script, which waits for its files. Raises SandboxError when it cannot be started."""
        streams = tuple(program.streams)
        script = run_script(program.command, program.output.mark, streams, program.report, can_close=True)
        command = ["nice", "-n", "10"]  # counts where there is no cgroup
        if cgroup.directories:
            command = ["/bin/sh", "-c", _JOIN, "sh", *map(str, cgroup.directories), "--", *command]
        near, far = socket.socketpair()
        info, info_end = os.pipe()
        passed = [info_end]
        try:
            counted = cgroup.memory is not None
            prefix, files = await asyncio.to_thread(jail.arguments, program.limits, info_end, counted, stage)
            passed += files
            process = await asyncio.create_subprocess_exec(
                *command,
                *prefix,
                *script,
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
        return cls(process, near, info, cgroup)

    @property
    def pid(self) -> int:
        """The process id of bubblewrap, which stays in the mount namespace of its stage."""
        return self._process.pid

    @property
    def exit_code(self) -> int:
        """The program's exit code, which bubblewrap passes on, or 128 + signal if bubblewrap was killed."""
        code = self._process.returncode or 0
        return code if code >= 0 else 128 - code

    async def run(self, program: Program, is_trusted: bool = False, disk: Path | None = None) -> None:
        """Send the files and read output and report until the program has ended. Raises as `watch` does.

        The memory of a trusted program is not watched where there is no cgroup. A program that writes more
        than its workspace into the folder `disk` is killed as one that takes too much memory.
        """
        sending = asyncio.ensure_future(
            asyncio.to_thread(send_streams, program.streams, self._sender.sendall, self._close_stdin)
        )
        reading = asyncio.ensure_future(self._read(program.output))
        limit = program.limits.memory_mb * 2**20
        guards = [] if self.cgroup.memory or is_trusted else [asyncio.ensure_future(self._guard(limit))]
        if disk:
            most = program.limits.workspace_mb * 2**20
            guards.append(asyncio.ensure_future(watch(disk, most, self._kill_outgrown)))
        try:
            await program.watch(sending, reading, self.kill)
        finally:
            for guard in guards:
                guard.cancel()

    def _close_stdin(self) -> None:
        self._sender.shutdown(socket.SHUT_WR)

    async def _read(self, output: Output) -> None:
        out, err = self._process.stdout, self._process.stderr
        assert out and err  # noqa: S101  # both were started as pipes
        self._reading = asyncio.gather(_pump(1, out, output), _pump(2, err, output), self._read_report())
        await self._reading
        await self._process.wait()

    async def _read_report(self) -> None:
        report = bytearray()
        with suppress(ConnectionError):
            while data := await asyncio.get_running_loop().sock_recv(self._receiver, _CHUNK):
                if len(report) <= MAX_BYTES:
                    report += data
        self.report = bytes(report)

    async def _guard(self, limit: int) -> None:
        """Kill the program when its processes together use more bytes. Stands in for a cgroup."""
        # The end of a quick program cancels this task, and must not cancel what `close` waits for.
        if init := await asyncio.shield(self._init):
            while not self.outgrown:
                self.outgrown = await asyncio.to_thread(_exceeds, init[0], limit)
                await asyncio.sleep(0 if self.outgrown else _GUARD_SECONDS)
            await self.kill()

    async def _kill_outgrown(self) -> None:
        self.outgrown = True
        await self.kill()

    async def kill(self) -> None:
        """Kill the namespace's init, and with it every process inside. Bubblewrap then ends by itself.

        Killing bubblewrap first could leave an init that waits for its dead parent forever.
        """
        with suppress(ProcessLookupError):
            if init := await asyncio.shield(self._init):
                signal.pidfd_send_signal(init[1], signal.SIGKILL)

    async def close(self) -> None:
        """Kill the program, and wait until the kernel has removed its last process."""
        try:
            await self.kill()
            await self._process.wait()
            if init := await self._init:
                await _until_readable(init[1])
                os.close(init[1])
            if self._reading:
                await asyncio.wait({self._reading}, timeout=_LAST_SECONDS)
            if self._reading is None or self._reading.cancelled():
                # asyncio closes the pipes only once they are read to the end, and its loop may end first.
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._process.communicate(), _LAST_SECONDS)
        finally:
            self._sender.close()
            self._receiver.close()


def _find_init(info_fd: int) -> tuple[int, int] | None:
    """Read the init's pid from bubblewrap. Return it with a descriptor that becomes readable at its end."""
    with os.fdopen(info_fd, "rb") as info:
        text = info.read()
    try:
        pid = int(json.loads(text)["child-pid"])
        return pid, os.pidfd_open(pid)
    except (ValueError, KeyError, ProcessLookupError):
        return None


async def _pump(fd: int, stream: asyncio.StreamReader, output: Output) -> None:
    while data := await stream.read(_CHUNK):
        await output.take(fd, data)


async def _until_readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(fd, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(fd)


def _exceeds(init: int, limit: int) -> bool:
    """Return whether the processes under `init` together use more bytes than `limit`."""
    try:
        tree = psutil.Process(init).children(recursive=True)
    except psutil.NoSuchProcess:
        return False
    # PSS counts a shared page once but is slow to read, so it is only read when RSS is over the limit.
    return _sum(tree, "rss") > limit and _sum(tree, "pss") > limit


def _sum(processes: Iterable[psutil.Process], kind: str) -> int:
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            try:
                memory = process.memory_full_info() if kind == "pss" else process.memory_info()
                total += getattr(memory, kind)
            except psutil.AccessDenied:
                total += process.memory_info().rss
    return total
