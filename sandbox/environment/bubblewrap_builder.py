"""Environments for bubblewrap: a folder that a build writes and runs see read-only."""

import asyncio
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sandbox.base import WORKSPACE, Limits, Ownership, Result, SandboxError
from sandbox.bubblewrap.bubblewrap_sandbox import Bubblewrap
from sandbox.bubblewrap.bwrap import working_bwrap
from sandbox.bubblewrap.interpreter import VENV as SANDBOX_VENV
from sandbox.bubblewrap.interpreter import Interpreter
from sandbox.bubblewrap.jail import Jail, Mounts
from sandbox.cgroup import Cgroup, Cgroups
from sandbox.environment.backend import Build, Built, Environment
from sandbox.environment.build_script import SCRATCH, UV, build_script, tracked_list
from sandbox.environment.disk import folder_bytes, remove_tree, take_ownership
from sandbox.environment.generated import store_generated
from sandbox.environment.machine import Machine, find_uv
from sandbox.environment.proxy import FORWARDER, PORT, VARIABLES, open_proxy
from sandbox.environment.recipe import ENVIRONMENT, VENV, Recipe, Toolset
from sandbox.environment.virtual_environment import import_paths, mounts_of

_SOCKET = "/run/registry.sock"
_POLL_SECONDS = 0.5
_RESERVE_BYTES = 512 * 2**20


@dataclass(frozen=True)
class BuildCgroups(Cgroups):
    """Groups with an ordinary weight: somebody waits for a build, and a starved one would time out."""

    def create(self, limits: Limits, ownership: Ownership) -> Cgroup:
        """Create groups as for a run, and undo their low weight."""
        group = super().create(limits, ownership)
        for directory in group.directories:
            for name, weight in (("cpu.shares", "1024"), ("cpu.weight", "100")):
                if (directory / name).exists():
                    (directory / name).write_text(weight)
        return group


class BubblewrapEnvironments:
    """Builds environments with bubblewrap. Implements `EnvironmentBackend`."""

    name = "bubblewrap"

    def __init__(self, home: Path, environ: Mapping[str, str], user_home: Path, ownership: Ownership) -> None:
        self._home = home
        self._environ = environ
        self._user_home = user_home
        self._ownership = ownership

    @cached_property
    def _machine(self) -> Machine:
        """Look at the machine, which takes some tenths of a second."""
        return Machine.find(self._environ, self._user_home)

    async def toolset(self) -> Toolset:
        return await asyncio.to_thread(lambda: self._machine.toolset())

    async def identity(self) -> str:
        # A compiled extension depends on the C library, which the system's release stands for.
        return f"bubblewrap {platform.machine()} {'-'.join(platform.libc_ver())}"

    async def build(self, build: Build) -> Built:
        root = build.place / "root"
        await asyncio.to_thread(self._prepare, build, root)
        async with open_proxy(build.registries.proxies, build.registries.hosts) as proxy:
            sandbox = await self._sandbox(build, root, proxy.path)
            running = asyncio.ensure_future(self._run(sandbox, build))
            over_disk = await _watch_disk(running, build)
            result = await running if not over_disk else None
        if result is None:
            raise SandboxError(f"the build was stopped: it wrote more than {build.limits.disk_mb} MB")
        if result.exit_code == 0:
            await asyncio.to_thread(_seal, build, root)
        return Built(result=result, refused_hosts=tuple(sorted(proxy.refused)))

    async def _sandbox(self, build: Build, root: Path, socket: Path) -> Bubblewrap:
        recipe, uv = build.recipe, find_uv(self._environ)
        shown = [*self._machine.prefixes(recipe.interpreter, recipe.tools), *build.registries.paths]
        mounts = Mounts(
            read_only=(*((path, path) for path in shown), (uv, f"{UV}/uv"), (str(socket), _SOCKET)),
            writable=((str(root), ENVIRONMENT), (str(root / "workspace"), WORKSPACE)),
        )
        return await self._mounted(mounts, BuildCgroups)

    def _prepare(self, build: Build, root: Path) -> None:
        if shutil.disk_usage(build.place).free < _RESERVE_BYTES:
            raise SandboxError(f"the disk that holds {build.place.parent} is full. Free at least 1 GB.")
        recipe, scratch = build.recipe, root / Path(SCRATCH).name
        for directory in (root, root / "workspace", scratch, scratch / "home"):
            directory.mkdir()
            directory.chmod(0o777)  # the build's user is another one. The place around it is ours alone.
        variables = {**build.registries.variables, **VARIABLES}
        bins = [f"{prefix}/bin" for prefix in self._machine.prefixes(recipe.interpreter, recipe.tools)]
        script = build_script(recipe, variables, bins, f"{ENVIRONMENT}/workspace")
        (scratch / "build.sh").write_text(_FORWARDED + script)
        (scratch / "forward.py").write_text(FORWARDER)
        (scratch / "tracked").write_bytes(tracked_list(build.paths))
        for name, text in build.registries.home_files.items():
            path = scratch / "home" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for path in scratch.rglob("*"):
            path.chmod(0o777 if path.is_dir() else 0o644)

    async def _run(self, sandbox: Bubblewrap, build: Build) -> Result:
        limits = Limits(
            seconds=build.limits.seconds,
            memory_mb=build.limits.memory_mb,
            workspace_mb=1,  # the workspace lies on disk
            tmp_mb=256,
            cpus=build.limits.cpus,
            processes=build.limits.processes,
            output_bytes=build.limits.output_bytes,
        )
        return await sandbox.run(build.files, ["sh", f"{SCRATCH}/build.sh"], limits, build.on_output)

    async def is_present(self, environment: Environment) -> bool:
        return environment.generated is not None and environment.generated.is_file()

    def opened(self, recipe: Recipe, key: str, place: Path, image: str) -> Environment:
        root, variables = place / "root", dict(recipe.variables)
        path: tuple[str, ...] = ()
        mounts = Mounts(((str(root), ENVIRONMENT),) if root.is_dir() else ())
        if recipe.venv:
            venv = Path(recipe.venv)
            mounts, path = mounts_of(venv), (f"{venv}/bin",)
            python_path = {"PYTHONPATH": ":".join(import_paths(venv))}
            variables = {"VIRTUAL_ENV": str(venv), **python_path, **variables}
        elif recipe.commands:
            prefixes = self._machine.prefixes(recipe.interpreter, recipe.tools)
            shown = ((prefix, prefix) for prefix in prefixes)
            mounts = Mounts((*mounts.read_only, *shown))
            path = tuple(f"{prefix}/bin" for prefix in prefixes)
            if recipe.python:
                path, variables = (f"{VENV}/bin", *path), {"VIRTUAL_ENV": VENV, **variables}
        return Environment(
            key=key,
            folder=recipe.folder,
            root=root,
            mounts=mounts,
            path=path,
            variables=tuple(sorted((name, value) for name, value in variables.items() if value)),
            generated=place / "generated.tar",
            memory_mb=recipe.memory_mb,
            cpus=recipe.cpus,
        )

    async def remove(self, image: str) -> None:
        """Do nothing: everything lies in the environment's folder."""

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""

    async def sandbox_with(self, environment: Environment) -> Bubblewrap:
        return await self._mounted(environment.mounts)

    async def _mounted(self, mounts: Mounts, kind: type[Cgroups] = Cgroups) -> Bubblewrap:
        bwrap, version = await asyncio.to_thread(working_bwrap)
        interpreter = await asyncio.to_thread(Interpreter.make, self._home, lambda _: None)
        cgroups = await asyncio.to_thread(kind.find)
        return Bubblewrap(Jail(bwrap, interpreter, mounts), kind(cgroups.parents), version, self._ownership)


# The forwarder says when it listens. Its standard output is a pipe that `read` waits for.
_FORWARDED = f"""\
mkfifo {SCRATCH}/ready
{SANDBOX_VENV}/bin/python {SCRATCH}/forward.py {PORT} {_SOCKET} > {SCRATCH}/ready 2>/dev/null &
read -r _ < {SCRATCH}/ready
"""


async def _watch_disk(running: "asyncio.Future[Result]", build: Build) -> bool:
    """Cancel a build that writes too much. Returns whether that happened."""
    try:
        while True:
            await asyncio.wait({running}, timeout=_POLL_SECONDS)
            if running.done():
                return False
            if await asyncio.to_thread(_is_over, build.place, build.limits.disk_mb * 2**20):
                running.cancel()
                await asyncio.wait({running})
                return True
    finally:
        if not running.done():
            running.cancel()
            await asyncio.wait({running})


def _is_over(place: Path, limit: int) -> bool:
    return shutil.disk_usage(place).free < _RESERVE_BYTES or folder_bytes(place, limit) > limit


def _seal(build: Build, root: Path) -> None:
    """Take ownership, keep what the build made and drop the rest."""
    scratch = root / Path(SCRATCH).name
    if scratch.is_symlink():  # the build may write there, and could lead us to a file of the user's
        raise SandboxError(f"the build replaced its own folder {SCRATCH} by a link")
    take_ownership(root)
    store_generated(scratch / "generated.tar", build.place / "generated.tar", build.paths)
    for directory in (scratch, root / "workspace"):
        remove_tree(directory)
