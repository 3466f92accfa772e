"""The sandbox on a Docker Engine: a container is used once, the next one is made ready meanwhile."""

import asyncio
import signal
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from sandbox.base import Limits, Result, SandboxError
from sandbox.bubblewrap.cgroup import sum_of_ooms
from sandbox.cleanup import Endings
from sandbox.concurrency import AT_ONCE, Room
from sandbox.docker.container import Container, Execution, sweep
from sandbox.docker.image import digest, ready_image
from sandbox.docker.pool import Pool
from sandbox.output import Output
from sandbox.report import MAX_BYTES, place_report, read_report
from sandbox.run_watch import Watched, watch
from sandbox.script import collect_script, run_script, send_files

if TYPE_CHECKING:
    from docker import DockerClient

START = (
    "start one (systemctl start docker, or Docker Desktop), make sure you may use it "
    "(usermod -aG docker $USER), or name one in DOCKER_HOST"
)
"""The cure where no engine answers."""

_KILLED = 128 + signal.SIGKILL
_PING_SECONDS = 5
_CALL_SECONDS = 60
_COLLECT_SECONDS = 15.0
_DEFAULT = Limits()

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


class NoEngine(SandboxError):
    """No Docker Engine answers."""


class Docker:
    """Runs each program in a container of its own; see `Sandbox`."""

    name = "docker"

    def __init__(self, client: "DockerClient", image: str, identity: str) -> None:
        self._client = client
        self._image = image
        self._identity = identity
        # Threads of its own: a reader waits in one as long as its program runs, and killing needs another.
        self._threads = ThreadPoolExecutor(4 * AT_ONCE, thread_name_prefix="docker")
        self._room = Room()
        self._pool = Pool(self._create, self._is_running, self._discard)
        self._shape = _shape(_DEFAULT)
        self._endings = Endings()

    @classmethod
    async def open(cls, image: str | None = None, notify: Callable[[str], None] = lambda _: None) -> "Docker":
        """Find the engine, sweep, see to the image. Raises NoEngine, or SandboxError with the cure."""

        def ready() -> tuple["DockerClient", str, str]:
            client = connect()
            sweep(client)
            id = ready_image(client, image, notify)
            return client, id, digest(client, id)

        return cls(*await asyncio.to_thread(_translated, ready))

    async def identity(self) -> str:
        return self._identity

    def prepare(self, count: int = 1) -> None:
        """Make containers ready that fit the latest run's limits."""
        self._pool.prepare(self._shape, count)

    async def aclose(self) -> None:
        await self._endings.wait()
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
        async with self._room.here():
            self._shape = _shape(limits)
            container = await self._pool.take(self._shape)
            try:
                script = run_script(placed, output.mark)
                watched, exit_code = await self._watch(container, script, files, limits, output)
                out_of_memory, xml = await self._collect(container, report, dead=watched.timed_out)
            finally:
                await self._endings.finish(self._discard(container))
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
        """Whether memory ran out, and the report; a container that has died can only be asked the first."""
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

    async def _create(self, shape: Limits) -> Container:
        return await self._call(Container.create, self._client, self._image, shape)

    async def _is_running(self, container: Container) -> bool:
        return await self._call(container.is_running)

    async def _discard(self, container: Container) -> None:
        await self._call(container.remove)

    async def _call(
        self, function: Callable[Arguments, Returned], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Returned:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: _translated(function, *args, **kwargs))


def connect() -> "DockerClient":
    """A client of the engine that Docker's own variables name. Raises NoEngine."""
    import docker
    from docker.constants import DEFAULT_UNIX_SOCKET
    from docker.errors import DockerException
    from docker.utils import kwargs_from_env

    address = str(kwargs_from_env().get("base_url") or DEFAULT_UNIX_SOCKET)
    scheme, _, path = address.partition("://")
    if (
        scheme.endswith("unix") and not Path("/", path).is_socket()
    ):  # docker-py would leak a socket of its own
        raise NoEngine(f"no Docker Engine answers (there is no {path}); {START}")
    try:
        quick = docker.from_env(timeout=_PING_SECONDS)
        quick.ping()
        quick.close()
        return docker.from_env(timeout=_CALL_SECONDS, max_pool_size=4 * AT_ONCE)
    except (DockerException, OSError) as error:
        raise NoEngine(f"no Docker Engine answers ({error}); {START}") from error


def _translated(
    function: Callable[Arguments, Returned], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Returned:
    """Call; what Docker and its connection raise becomes a SandboxError."""
    from docker.errors import DockerException

    try:
        return function(*args, **kwargs)
    except (DockerException, OSError) as error:
        raise SandboxError(f"Docker failed: {error}") from error


def _next_frame(execution: Execution) -> tuple[int, bytes] | None:
    try:
        return next(execution.frames, None)
    except OSError:  # its container was killed
        return None


def _shape(limits: Limits) -> Limits:
    """The part of the limits that a container is made for; time and output are counted outside."""
    return replace(limits, seconds=_DEFAULT.seconds, output_bytes=_DEFAULT.output_bytes)
