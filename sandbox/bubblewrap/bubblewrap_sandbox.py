"""The sandbox that needs no daemon: bubblewrap's namespaces, with cgroups where we may make some."""

import asyncio
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sandbox.base import Limits, Result, SandboxError
from sandbox.bubblewrap.cgroup import Cgroup, Cgroups
from sandbox.bubblewrap.interpreter import Interpreter
from sandbox.bubblewrap.jail import Jail, namespaces
from sandbox.bubblewrap.jail_process import Jailed
from sandbox.cleanup import Endings
from sandbox.concurrency import Room
from sandbox.output import Output
from sandbox.report import place_report, read_report
from sandbox.run_watch import Watched, watch
from sandbox.script import run_script

OLDEST = (0, 7)
"""The first bubblewrap whose tmpfs can be given a size."""

INSTALL = "install bubblewrap 0.7 or newer (apt, dnf, zypper: install bubblewrap; pacman -S bubblewrap)"
"""The cure where there is none, or too old a one."""

ALLOW = (
    "let users make user namespaces: sysctl -w kernel.unprivileged_userns_clone=1 (Debian), "
    "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), user.max_user_namespaces=10000; "
    "inside a container, run it with --security-opt seccomp=unconfined, or use Docker as backend"
)
"""The cure where bubblewrap is installed and may not do its work."""

_TRY_SECONDS = 10
_EMPTY_TAR = bytes(10_240)


class Bubblewrap:
    """Runs each program in namespaces of its own; see `Sandbox`."""

    name = "bubblewrap"

    def __init__(self, jail: Jail, cgroups: Cgroups, version: str) -> None:
        self._jail = jail
        self._cgroups = cgroups
        self._version = version
        self._room = Room()
        self._endings = Endings()

    @classmethod
    async def open(
        cls, home: Path, notify: Callable[[str], None] = lambda _: None, cgroups: Cgroups | None = None
    ) -> "Bubblewrap":
        """Make what is missing under `home` and run a first program. Raises SandboxError with the cure.

        `cgroups` are found when not given; `Cgroups()` makes do without any.
        """
        bwrap, version = await asyncio.to_thread(working_bwrap)
        interpreter = await asyncio.to_thread(Interpreter.make, home, notify)
        cgroups = await asyncio.to_thread(Cgroups.find) if cgroups is None else cgroups
        await asyncio.to_thread(cgroups.sweep)
        opened = cls(Jail(bwrap, interpreter), cgroups, version)
        await opened._try()
        return opened

    async def _try(self) -> None:
        result = await self.run([_EMPTY_TAR], ["python", "-c", "pass"], Limits(seconds=20))
        if result.exit_code:
            raise SandboxError(
                "Python does not start in bubblewrap; it must lie where every user may read it: "
                + (result.stderr.strip() or f"exit code {result.exit_code}")
            )

    async def identity(self) -> str:
        return f"bubblewrap {self._version}, {self._jail.interpreter.version}"

    def prepare(self, count: int = 1) -> None:
        """Nothing: a start takes some tens of milliseconds."""

    async def aclose(self) -> None:
        """Wait for what is being taken down."""
        await self._endings.wait()

    async def run(
        self,
        files: Iterable[bytes],
        command: Sequence[str],
        limits: Limits,
        on_output: Callable[[str], None] | None = None,
    ) -> Result:
        placed, report = place_report(command)
        output = Output(limits.output_bytes, on_output)
        async with self._room.here():
            starting = asyncio.ensure_future(self._start(limits, run_script(placed, output.mark, report)))
            try:
                cgroup, jailed = await asyncio.shield(starting)
                watched = await self._watch(jailed, files, limits, output)
                out_of_memory = jailed.outgrown or await asyncio.to_thread(cgroup.ooms) > 0
            finally:
                await self._endings.finish(_take_down(starting))
        stdout, stderr = output.texts(report)
        return Result(
            exit_code=128 + signal.SIGKILL if watched.timed_out or jailed.outgrown else jailed.exit_code,
            stdout=stdout,
            stderr=stderr,
            seconds=watched.seconds,
            timed_out=watched.timed_out,
            out_of_memory=out_of_memory,
            truncated=output.truncated,
            report=await asyncio.to_thread(read_report, jailed.report) if report else None,
        )

    async def _start(self, limits: Limits, script: list[str]) -> tuple[Cgroup, Jailed]:
        cgroup = await asyncio.to_thread(self._cgroups.make, limits)
        try:
            return cgroup, await Jailed.start(self._jail, self._cgroups, cgroup, limits, script)
        except BaseException:
            await asyncio.to_thread(cgroup.remove)
            raise

    async def _watch(self, jailed: Jailed, files: Iterable[bytes], limits: Limits, output: Output) -> Watched:
        sending = asyncio.ensure_future(jailed.send(files))
        reading = asyncio.ensure_future(jailed.read(output))
        guard = None if "memory" in self._cgroups else asyncio.ensure_future(jailed.guard(limits))
        try:
            return await watch(output, sending, reading, limits, jailed.kill)
        finally:
            if guard:
                guard.cancel()


async def _take_down(starting: "asyncio.Future[tuple[Cgroup, Jailed]]") -> None:
    """Also what is only just starting, which must not be cut off: bubblewrap would leave its child behind."""
    await asyncio.wait({starting})
    if not starting.exception():
        cgroup, jailed = starting.result()
        await jailed.close()
        await asyncio.to_thread(cgroup.remove)


def working_bwrap() -> tuple[str, str]:
    """Where bubblewrap is, and its version, once it has run `true`. Raises SandboxError with the cure."""
    path = shutil.which("bwrap")
    if not path:
        raise SandboxError(f"bubblewrap is not installed; {INSTALL}")
    for tool in ("setpriv", "prlimit"):
        if not shutil.which(tool):
            raise SandboxError(f"bubblewrap's programs need {tool}; install util-linux")
    version = _said([path, "--version"]).stdout.strip().rpartition(" ")[2]
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST:
        raise SandboxError(f"bubblewrap {version or 'of an unknown version'} is too old; {INSTALL}")
    tried = _said([path, *namespaces(), "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"])
    if tried.returncode:
        raise SandboxError(f"bubblewrap is installed but does not work here: {tried.stderr.strip()}; {ALLOW}")
    return path, version


def _said(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # a list of ours, no shell
        command, capture_output=True, text=True, check=False, timeout=_TRY_SECONDS
    )
