"""Environments for Docker: an image that a build's container is committed to."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from docker.errors import APIError, ImageNotFound

from sandbox.base import Ownership, SandboxError
from sandbox.docker.docker_sandbox import Docker, connect
from sandbox.docker.image import IMAGE_SECONDS, digest, ready_image
from sandbox.environment.backend import Build, Built, Environment
from sandbox.environment.docker_build import ContainerBuild
from sandbox.environment.machine import find_uv
from sandbox.environment.proxy import open_proxy
from sandbox.environment.recipe import VENV, Python, Recipe, Toolset
from sandbox.limited_call import limited_call
from sandbox.script import UID

if TYPE_CHECKING:
    from docker import DockerClient

_LOOK_SECONDS = 60
_DEATH_SECONDS = 60.0
_TOOLS = ("node", "npm", "pnpm", "yarn", "go", "cargo", "gcc", "apt-get")
_LOOK = (
    "include=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()[\"include\"])'); "
    "command -v python3 && python3 -c 'import sys; print(\"%d.%d.%d\" % sys.version_info[:3])'; "
    f"for tool in {' '.join(_TOOLS)}; do command -v $tool >/dev/null && echo tool $tool; done; "
    '[ ! -f "$include/Python.h" ] || echo tool Python.h'
)


class DockerEnvironments:
    """Builds environments as images. Implements `EnvironmentBackend`."""

    name = "docker"

    def __init__(
        self, client: "DockerClient", image: str, environ: Mapping[str, str], ownership: Ownership
    ) -> None:
        self._client = client
        self._image = image
        self._environ = environ
        self._ownership = ownership
        self._toolset: Toolset | None = None

    @classmethod
    async def open(
        cls, image: str | None, environ: Mapping[str, str], ownership: Ownership
    ) -> "DockerEnvironments":
        """Connect to the engine and find the sandbox's image, which `image` replaces."""

        def opened() -> "DockerEnvironments":
            client = connect()
            return cls(client, ready_image(client, image, lambda _: None), environ, ownership)

        return await limited_call(IMAGE_SECONDS, "opening the engine's image", opened)

    async def toolset(self) -> Toolset:
        if self._toolset is None:
            self._toolset = await asyncio.to_thread(self._look)
        return self._toolset

    def _look(self) -> Toolset:
        container = self._client.containers.run(
            self._image,
            ["-c", _LOOK],
            entrypoint=["sh"],
            network_mode="none",
            user=f"{UID}:{UID}",
            detach=True,  # else docker-py reads the output as a stream, whose socket nobody closes
        )
        try:
            container.wait(timeout=_LOOK_SECONDS)
            output = container.logs(stderr=False)
        finally:
            container.remove(force=True)
        lines = output.decode("utf-8", "replace").splitlines()
        pythons = (Python(lines[1], lines[0]),) if len(lines) > 1 and lines[0].startswith("/") else ()
        tools = frozenset(line.removeprefix("tool ") for line in lines if line.startswith("tool "))
        return Toolset(pythons=pythons, tools=tools, installs_packages="apt-get" in tools, chooses_image=True)

    async def identity(self) -> str:
        return await asyncio.to_thread(digest, self._client, self._image)

    async def build(self, build: Build) -> Built:
        """Build in a thread. A cancelled build's container is killed, with which the thread ends."""
        uv, loop = find_uv(self._environ), asyncio.get_running_loop()

        def notify(text: str) -> None:
            loop.call_soon_threadsafe(build.on_output, text)

        async with open_proxy(build.registries.proxies, build.registries.hosts) as proxy:
            label = self._ownership.label
            work = ContainerBuild(self._client, build, uv, label, notify, proxy.path, self._image)
            built = await self._run(work, notify)
        return replace(built, refused_hosts=tuple(sorted(proxy.refused)))

    async def _run(self, work: ContainerBuild, notify: Callable[[str], None]) -> Built:
        def run() -> Built:
            named = work.build.recipe.image
            image = ready_image(self._client, named, lambda line: notify(f"{line}\n")) if named else ""
            return work.run(image or self._image)

        seconds = work.build.limits.seconds + IMAGE_SECONDS
        running = asyncio.ensure_future(limited_call(seconds, "the environment's build", run))
        try:
            return await asyncio.shield(running)
        finally:
            if not running.done():
                work.cancelled.set()
                await asyncio.to_thread(work.kill)
                await asyncio.wait({running}, timeout=_DEATH_SECONDS)
                running.cancel()

    async def is_present(self, environment: Environment) -> bool:
        try:
            await asyncio.to_thread(self._client.images.get, environment.image)
        except ImageNotFound:
            return False
        return True

    def opened(self, recipe: Recipe, key: str, place: Path, image: str) -> Environment:
        if recipe.venv:
            raise SandboxError(f"the virtual environment {recipe.venv} needs SANDBOX_BACKEND=bubblewrap")
        variables = {**({"VIRTUAL_ENV": VENV} if recipe.python else {}), **dict(recipe.variables)}
        return Environment(
            key=key,
            folder=recipe.folder,
            image=image or self._image,
            path=(f"{VENV}/bin",) if recipe.python else (),
            variables=tuple(sorted(variables.items())),
            generated=place / "generated.tar",
            memory_mb=recipe.memory_mb,
            cpus=recipe.cpus,
        )

    async def remove(self, image: str) -> None:
        with suppress(APIError):
            if image:
                await asyncio.to_thread(self._client.images.remove, image, force=True)

    async def aclose(self) -> None:
        """Close the connection to the engine."""
        await asyncio.to_thread(self._client.close)

    async def sandbox_with(self, environment: Environment) -> Docker:
        client = await asyncio.to_thread(connect)
        return Docker(client, environment.image, environment.image, self._ownership)
