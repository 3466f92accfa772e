"""Which sandbox this machine can have: opened for use, or examined for the doctor."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sandbox.base import Sandbox, SandboxError
from sandbox.bubblewrap.bubblewrap_sandbox import Bubblewrap, working_bwrap
from sandbox.bubblewrap.cgroup import Cgroups, Resource
from sandbox.bubblewrap.interpreter import Interpreter
from sandbox.bubblewrap.seccomp import seccomp_filter
from sandbox.docker.docker_sandbox import Docker, NoEngine, connect

Backend = Literal["auto", "docker", "bubblewrap"]

_CGROUP = "cgroup v{}"
_MAKESHIFT: tuple[tuple[Resource, str, str], ...] = (
    ("memory", "memory", "no cgroup: watched ten times a second, with RLIMIT_AS"),
    ("cpu", "cpu", "no cgroup: nice and RLIMIT_CPU only"),
    ("pids", "processes", "no cgroup: RLIMIT_NPROC"),
)


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor says of a backend: how each limit holds, or else what is wrong and its cure."""

    backend: Literal["docker", "bubblewrap"]
    version: str = ""
    limits: tuple[str, ...] = ()
    problem: str = ""

    @property
    def available(self) -> bool:
        """True when programs can run there."""
        return not self.problem


async def open_sandbox(
    backend: Backend,
    home: Path,
    image: str | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> Sandbox:
    """Open the backend asked for; `auto` takes Docker if an engine answers, else bubblewrap.

    `home` is AUTOCODE_HOME, `image` replaces the image that is built otherwise, and `notify` hears of what
    takes long. Raises SandboxError, which says what to install or start.
    """
    if backend == "docker":
        return await Docker.open(image, notify)
    if backend == "bubblewrap":
        return await Bubblewrap.open(home, notify)
    problems = []
    try:
        return await Docker.open(image, notify)
    except SandboxError as error:
        problems.append(error)
        if not isinstance(error, NoEngine):
            notify(f"Docker answers but is of no use, so bubblewrap it is: {error}")
    try:
        return await Bubblewrap.open(home, notify)
    except SandboxError as error:
        problems.append(error)
    listed = "\n".join(f"- {problem}" for problem in problems)
    raise SandboxError(f"there is no sandbox, and without one nothing is run; mend either:\n{listed}")


async def diagnose(home: Path) -> tuple[Diagnosis, ...]:
    """Examine both backends; nothing is pulled, built or installed."""
    return await asyncio.to_thread(lambda: (_diagnose_docker(), _diagnose_bubblewrap(home)))


def _diagnose_docker() -> Diagnosis:
    try:
        client = connect()
    except SandboxError as error:
        return Diagnosis("docker", problem=str(error))
    info = client.api.info()
    client.close()
    held = {
        "memory": info.get("MemoryLimit"),
        "cpu": info.get("CpuCfsQuota"),
        "processes": info.get("PidsLimit"),
    }
    limits = tuple(
        f"{what}: {_CGROUP.format(info.get('CgroupVersion', '1')) if holds else 'not limited by this engine'}"
        for what, holds in held.items()
    )
    return Diagnosis("docker", f"Docker Engine {info.get('ServerVersion', '')}", limits)


def _diagnose_bubblewrap(home: Path) -> Diagnosis:
    try:
        _, version = working_bwrap()
    except SandboxError as error:
        return Diagnosis("bubblewrap", problem=str(error))
    cgroups = Cgroups.find()
    limits = [
        f"{name}: {_CGROUP.format(cgroups.version(resource)) if resource in cgroups else makeshift}"
        for resource, name, makeshift in _MAKESHIFT
    ]
    if seccomp_filter(memory_is_counted=True) is None:
        limits.append("system calls: not filtered on this kind of machine")
    python = Interpreter.find(home)
    made = python.version if python else "its Python environment is made on first use, from the network"
    return Diagnosis("bubblewrap", f"bubblewrap {version}, {made}", tuple(limits))
