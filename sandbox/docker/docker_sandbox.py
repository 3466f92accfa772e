"""The Docker backend: a container for each program, created ahead of time if possible."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar, TypeVarTuple

import docker
from docker import DockerClient
from docker.errors import DockerException

from sandbox.base import UNKNOWN, Layer, Limits, NoEngine, OnText, Ownership, Result, SandboxError, Session
from sandbox.cgroup import sum_of_ooms
from sandbox.docker.container import Container, Execution, sweep
from sandbox.docker.image import IMAGE_SECONDS, digest, ready_image
from sandbox.docker.pool import ContainerPool
from sandbox.docker.session_container import SessionContainer
from sandbox.limited_call import limited_call
from sandbox.output import Output
from sandbox.packed_layer import PackedLayer, StoredArchive
from sandbox.program import KILLED, MAX_PROGRAMS, Cleanup, Program, program_slot
from sandbox.script import run_script, send_streams
from sandbox.sessions.listed_survey import ListedSurvey
from sandbox.sessions.workspace_session import WorkspaceSession

_PING_SECONDS = 5
_CALL_SECONDS = 60
_COLLECT_SECONDS = 15.0
_DISK_SECONDS = 2.0
_CLOSE_SECONDS = 5.0
_THREADS = 4 * MAX_PROGRAMS
_DEFAULT = Limits()

Arguments = TypeVarTuple("Arguments")
Returned = TypeVar("Returned")


class Docker:
    """Runs each program in its own container. Implements `Sandbox`."""

    name = "docker"

    def __init__(self, client: DockerClient, image: str, identity: str, ownership: Ownership) -> None:
        self._client = client
        self._identity = identity
        # Not the default executor: a reader blocks a thread as long as its program runs, and killing the
        # program takes another thread.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="docker")
        self._pool = ContainerPool(partial(Container.create, client, image, ownership), self._call)
        self._limits = _DEFAULT
        self._cleanup = Cleanup()

    @classmethod
    async def open(
        cls, image: str | None = None, notify: OnText = lambda _: None, ownership: Ownership = UNKNOWN
    ) -> "Docker":
        """Connect, remove old containers, build or pull the image. Raises NoEngine or SandboxError."""
        client = await asyncio.to_thread(connect)
        try:
            await asyncio.to_thread(_translate_errors, sweep, client, ownership)
            make = partial(_translate_errors, ready_image, client, image, notify)
            id = await limited_call(IMAGE_SECONDS, "pulling or building the sandbox's image", make)
            return cls(client, id, await asyncio.to_thread(digest, client, id), ownership)
        except BaseException:
            client.close()
            raise

    async def identity(self) -> str:
        return self._identity

    def prepare(self, count: int = 1) -> None:
        """Create `count` containers ahead of time, with the limits of the latest run."""
        self._pool.prepare(self._limits, count)

    async def aclose(self) -> None:
        await self._cleanup.wait()
        await self._pool.aclose()
        with suppress(SandboxError):  # a call that its caller gave up would open a connection anew
            await limited_call(_CLOSE_SECONDS, "the last calls of Docker", self._threads.shutdown)
        self._client.close()

    async def run(
        self, files: Iterable[bytes], command: Sequence[str], limits: Limits, on_output: OnText | None = None
    ) -> Result:
        return await self._run_program(Program({"tree": files}, command, limits, on_output))

    async def kept_layers(self) -> Sequence[str]:
        return ()

    @asynccontextmanager
    async def layer(self, files: Iterable[bytes], limits: Limits, key: str = "") -> AsyncIterator[Layer]:
        """Keep the archive of the tree and send it to each container."""
        archive = await asyncio.to_thread(StoredArchive, files)
        yield PackedLayer(archive, self._run_program)

    @asynccontextmanager
    async def session(self, files: Iterable[bytes], limits: Limits, key: str = "") -> AsyncIterator[Session]:
        """Keep a container, in which every command is an execution of its own."""
        container = await self._take(limits)
        try:
            place = SessionContainer(container, self._execute, self._call)
            await place.run(Program({"tree": files}, ["true"], replace(limits, seconds=_DEFAULT.seconds)))
            survey = ListedSurvey(place.run, limits)
            await survey.begin()
            session = WorkspaceSession(place.run, survey, limits)
            try:
                yield session
            finally:
                session.close()
        finally:
            await self._cleanup.run(self._call(container.remove))

    async def _take(self, limits: Limits) -> Container:
        # We enforce time and output, not Docker, so a waiting container serves whatever these limits are.
        self._limits = replace(limits, seconds=_DEFAULT.seconds, output_bytes=_DEFAULT.output_bytes)
        return await self._pool.take(self._limits)

    async def _run_program(self, program: Program) -> Result:
        async with program_slot():
            container = await self._take(program.limits)
            try:
                command = run_script(program.command, program.output.mark, tuple(program.streams))
                exit_code = await self._execute(
                    container, program, command, lambda _: self._call(container.kill)
                )
                out_of_memory, xml = await self._collect(container, program)
            finally:
                await self._cleanup.run(self._call(container.remove))
        return await program.result(exit_code, out_of_memory, xml)

    async def _execute(
        self,
        container: Container,
        program: Program,
        command: Sequence[str],
        kill: Callable[[Execution], Awaitable[None]],
    ) -> int:
        """Run a program by the command of its script, and return its exit code."""
        starting = asyncio.ensure_future(self._call(container.execute, command))
        try:
            # A start cannot be interrupted, and its program would run on.
            execution = await asyncio.shield(starting)
        except asyncio.CancelledError:
            await self._cleanup.run(self._abandon(container, starting, kill))
            raise
        try:
            loop = asyncio.get_running_loop()
            sending = loop.run_in_executor(self._threads, send_streams, program.streams, execution.send)
            reading = asyncio.ensure_future(self._read(execution, program.output))
            if program.limits.on_disk:
                guard = asyncio.ensure_future(self._watch_disk(container, program, lambda: kill(execution)))
                reading.add_done_callback(lambda _: guard.cancel())
            await program.watch(sending, reading, lambda: kill(execution))
            if program.timed_out or container.outgrown:
                return KILLED
            # A program can read the marks, write an ending of its own and kill the shell.
            return await self._call(execution.exit_code)
        finally:
            await self._cleanup.run(self._call(container.finish, execution))

    async def _watch_disk(
        self, container: Container, program: Program, kill: Callable[[], Awaitable[None]]
    ) -> None:
        """Kill a program whose container takes more of the disk than its workspace may have."""
        while not container.outgrown:
            await asyncio.sleep(_DISK_SECONDS)
            with suppress(SandboxError):  # the engine may be busy, or the container gone
                written = await self._call(container.written)
                container.outgrown = written > program.limits.workspace_mb * 2**20
        await kill()

    async def _abandon(
        self,
        container: Container,
        starting: "asyncio.Future[Execution]",
        kill: Callable[[Execution], Awaitable[None]],
    ) -> None:
        """Kill a program as soon as it has been started."""
        await asyncio.wait({starting})
        if not starting.exception():
            await kill(starting.result())
            await self._call(container.finish, starting.result())

    async def _read(self, execution: Execution, output: Output) -> None:
        while frame := await self._call(execution.read):
            await output.take(*frame)

    async def _collect(self, container: Container, program: Program) -> tuple[bool, bytes]:
        """Return whether memory ran out, and the report. A killed container has no report any more."""
        xml = counters = b""
        if not program.timed_out:
            with suppress(SandboxError, TimeoutError):
                async with asyncio.timeout(_COLLECT_SECONDS):
                    xml, counters = await self._call(container.collect, program.report)
        counted = sum_of_ooms(counters.decode("utf-8", "replace"))
        return counted > 0 or container.outgrown or await self._call(container.state, "OOMKilled"), xml

    async def _call(self, function: Callable[[*Arguments], Returned], *args: *Arguments) -> Returned:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _translate_errors, function, *args)


def connect() -> DockerClient:
    """Connect to the engine that Docker's own variables name. Raises NoEngine."""
    try:
        with closing(docker.from_env(timeout=_PING_SECONDS)) as quick:
            quick.ping()
        return docker.from_env(timeout=_CALL_SECONDS, max_pool_size=_THREADS)
    except (DockerException, OSError) as error:
        raise NoEngine(str(error)) from error


def _translate_errors(function: Callable[[*Arguments], Returned], *args: *Arguments) -> Returned:
    """Call the function, and turn errors of Docker and its connection into SandboxError."""
    try:
        return function(*args)
    except (DockerException, OSError) as error:
        raise SandboxError(f"Docker failed: {error}") from error
