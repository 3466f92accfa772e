"""The Docker backend: a container for each program, created ahead of time if possible."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from sandbox.base import Limits, Ownership, Result, SandboxError
from sandbox.cgroup import sum_of_ooms
from sandbox.cleanup import Cleanup
from sandbox.concurrency import MAX_PROGRAMS, program_slot
from sandbox.docker.container import Container, Execution, sweep
from sandbox.docker.image import digest, ready_image
from sandbox.docker.pool import ContainerPool
from sandbox.output import Output
from sandbox.report import MAX_BYTES, place_report, read_report
from sandbox.run_watch import Watched, watch
from sandbox.script import collect_script, run_script, send_files

if TYPE_CHECKING:
    from docker import DockerClient

_START = (
    "start one (systemctl start docker, or Docker Desktop), make sure you may use it "
    "(usermod -aG docker $USER), or name one in DOCKER_HOST"
)
_KILLED = 128 + signal.SIGKILL
_PING_SECONDS = 5
_CALL_SECONDS = 60
_COLLECT_SECONDS = 15.0
_THREADS = 4 * MAX_PROGRAMS
_DEFAULT = Limits()
_DEFAULT_HOST = "unix:///var/run/docker.sock"

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


class NoEngine(SandboxError):
    """No Docker engine answers."""


class Docker:
    """Runs each program in its own container. Implements `Sandbox`."""

    name = "docker"

    def __init__(self, client: "DockerClient", image: str, identity: str, ownership: Ownership) -> None:
        self._client = client
        self._image = image
        self._identity = identity
        self._ownership = ownership
        # Not the default executor: a reader blocks a thread as long as its program runs, and killing the
        # program takes another thread.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="docker")
        self._pool = ContainerPool(self._create, self._is_running, self._remove)
        self._limits = _DEFAULT
        self._cleanup = Cleanup()

    @classmethod
    async def open(
        cls,
        image: str | None = None,
        notify: Callable[[str], None] = lambda _: None,
        ownership: Ownership | None = None,
    ) -> "Docker":
        """Connect, remove old containers, build or pull the image. Raises NoEngine or SandboxError."""
        ownership = ownership or Ownership()
        client = await asyncio.to_thread(connect)
        await asyncio.to_thread(_translate_errors, sweep, client, ownership)
        id = await asyncio.to_thread(_translate_errors, ready_image, client, image, notify)
        return cls(client, id, await asyncio.to_thread(digest, client, id), ownership)

    async def identity(self) -> str:
        return self._identity

    def prepare(self, count: int = 1) -> None:
        """Start to create containers with the limits of the latest run."""
        self._pool.prepare(self._limits, count)

    async def aclose(self) -> None:
        await self._cleanup.wait()
        await self._pool.aclose()
        self._threads.shutdown(wait=False)
        self._client.close()

    async def run(
        self,
        files: Iterable[bytes],
        command: Sequence[str],
        limits: Limits,
        on_output: Callable[[str], None] | None = None,
    ) -> Result:
        placed, report = place_report(command)
        output = Output(limits.output_bytes, on_output)
        async with program_slot():
            # The engine does not enforce time and output, so they do not make another container necessary.
            self._limits = replace(limits, seconds=_DEFAULT.seconds, output_bytes=_DEFAULT.output_bytes)
            container = await self._pool.take(self._limits)
            try:
                script = run_script(placed, output.mark)
                watched, exit_code = await self._watch(container, script, files, limits, output)
                out_of_memory, xml = await self._collect(container, report, dead=watched.timed_out)
            finally:
                await self._cleanup.run(self._remove(container))
        stdout, stderr = output.texts(report)
        return Result(
            exit_code=exit_code,
            stdout=stdout,
            stderr=stderr,
            seconds=watched.seconds,
            timed_out=watched.timed_out,
            out_of_memory=out_of_memory,
            truncated=output.truncated,
            report=await asyncio.to_thread(read_report, xml) if report else None,
        )

    async def _watch(
        self, container: Container, script: list[str], files: Iterable[bytes], limits: Limits, output: Output
    ) -> tuple[Watched, int]:
        execution = await self._call(container.execute, script)
        try:
            loop = asyncio.get_running_loop()
            sending = loop.run_in_executor(self._threads, send_files, files, execution.send)
            reading = asyncio.ensure_future(self._read(execution, output))
            watched = await watch(output, sending, reading, limits, lambda: self._call(container.kill))
            return watched, _KILLED if watched.timed_out else await self._call(execution.exit_code)
        finally:
            execution.close()

    async def _read(self, execution: Execution, output: Output) -> None:
        while frame := await self._call(_next_frame, execution):
            await output.take(*frame)

    async def _collect(self, container: Container, report: str, dead: bool) -> tuple[bool, bytes]:
        """Return whether memory ran out, and the report. A killed container has no report any more."""
        counters, xml = bytearray(), bytearray()
        if not dead:
            try:
                async with asyncio.timeout(_COLLECT_SECONDS):
                    await self._read_collected(container, report, counters, xml)
            except (SandboxError, TimeoutError):
                xml.clear()
        counted = sum_of_ooms(counters.decode("utf-8", "replace"))
        return counted > 0 or await self._call(container.oom_killed), bytes(xml)

    async def _read_collected(
        self, container: Container, report: str, counters: bytearray, xml: bytearray
    ) -> None:
        execution = await self._call(container.execute, collect_script(report))
        try:
            await self._call(execution.send, b"\n")
            while frame := await self._call(_next_frame, execution):
                kept = xml if frame[0] == 1 else counters
                if len(kept) <= MAX_BYTES:
                    kept += frame[1]
        finally:
            execution.close()

    async def _create(self, limits: Limits) -> Container:
        return await self._call(Container.create, self._client, self._image, limits, self._ownership)

    async def _is_running(self, container: Container) -> bool:
        return await self._call(container.is_running)

    async def _remove(self, container: Container) -> None:
        await self._call(container.remove)

    async def _call(
        self, function: Callable[Arguments, Returned], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Returned:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: _translate_errors(function, *args, **kwargs))


def connect() -> "DockerClient":
    """Connect to the engine that Docker's own variables name. Raises NoEngine."""
    # Before the import, which takes 0.3 s. Besides, docker-py leaks a socket when there is no engine.
    scheme, _, path = (os.environ.get("DOCKER_HOST") or _DEFAULT_HOST).partition("://")
    if scheme.endswith("unix") and not Path("/", path).is_socket():
        raise NoEngine(f"no Docker Engine answers (there is no {path}); {_START}")
    import docker
    from docker.errors import DockerException

    try:
        quick = docker.from_env(timeout=_PING_SECONDS)
        quick.ping()
        quick.close()
        return docker.from_env(timeout=_CALL_SECONDS, max_pool_size=_THREADS)
    except (DockerException, OSError) as error:
        raise NoEngine(f"no Docker Engine answers ({error}); {_START}") from error


def _translate_errors(
    function: Callable[Arguments, Returned], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Returned:
    """Call the function, and turn errors of Docker and its connection into SandboxError."""
    from docker.errors import DockerException

    try:
        return function(*args, **kwargs)
    except (DockerException, OSError) as error:
        raise SandboxError(f"Docker failed: {error}") from error


def _next_frame(execution: Execution) -> tuple[int, bytes] | None:
    try:
        return next(execution.frames, None)
    except OSError:  # the container was killed
        return None
