"""The choice of a sandbox on this machine, and a diagnosis of every backend for the doctor."""

import asyncio
import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

from sandbox.base import UNKNOWN, NoEngine, OnText, Ownership, Sandbox, SandboxError
from sandbox.bubblewrap.bubblewrap_sandbox import Bubblewrap
from sandbox.bubblewrap.bwrap import working_bwrap
from sandbox.bubblewrap.interpreter import Interpreter
from sandbox.bubblewrap.seccomp import seccomp_filter
from sandbox.cgroup import Cgroups, Resource

Backend = Literal["auto", "docker", "bubblewrap"]

_WITHOUT_CGROUP: tuple[tuple[Resource, str, str], ...] = (
    ("memory", "memory", "no cgroup: watched ten times a second, with RLIMIT_AS"),
    ("cpu", "cpu", "no cgroup: nice and RLIMIT_CPU only"),
    ("pids", "processes", "no cgroup: RLIMIT_NPROC"),
)


@dataclass(frozen=True)
class Diagnosis:
    """The state of a backend: how it enforces each limit, or its problem with the cure."""

    backend: Literal["docker", "bubblewrap"]
    version: str = ""
    limits: tuple[str, ...] = ()
    problem: str = ""

    @property
    def available(self) -> bool:
        """True when programs can run in this backend."""
        return not self.problem


async def open_sandbox(
    backend: Backend,
    home: Path,
    image: str | None = None,
    notify: OnText = lambda _: None,
    ownership: Ownership = UNKNOWN,
) -> Sandbox:
    """Open a backend. `auto` selects Docker if an engine answers, else bubblewrap.

    `home` is AUTOCODE_HOME. `image` replaces the image that is built otherwise. `notify` receives a line for
    each step that takes long. Raises SandboxError, which says what to install or start.
    """
    problem = None
    if backend != "bubblewrap":
        try:
            await asyncio.to_thread(import_docker)
            from sandbox.docker.docker_sandbox import Docker

            return await Docker.open(image, notify, ownership)
        except SandboxError as error:
            if backend == "docker":
                raise
            problem = error
            if not isinstance(error, NoEngine):
                notify(f"Docker is running but cannot be used ({error}). Falling back to bubblewrap.")
    try:
        return await Bubblewrap.open(home, notify, ownership=ownership)
    except SandboxError as error:
        if problem is None:
            raise
        reasons = f"- {problem}\n- {error}"
        raise SandboxError(
            f"no sandbox is available, and no code runs without one. Repair either:\n{reasons}"
        ) from error


async def diagnose(home: Path) -> tuple[Diagnosis, ...]:
    """Examine both backends. Nothing is pulled, built or installed."""
    return await asyncio.to_thread(lambda: (_diagnose_docker(), _diagnose_bubblewrap(home)))


def import_docker() -> None:
    """Import docker-py, which takes 0.3 s, if there can be an engine. Raises NoEngine."""
    scheme, _, path = (os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock").partition("://")
    # docker-py would leak a socket where there is no engine.
    if scheme.endswith("unix") and not Path("/", path).is_socket():
        raise NoEngine(f"there is no {path}")
    import_module("sandbox.docker.docker_sandbox")


def _diagnose_docker() -> Diagnosis:
    try:
        import_docker()
        from sandbox.docker.docker_sandbox import connect

        client = connect()
    except SandboxError as error:
        return Diagnosis("docker", problem=str(error))
    info = client.api.info()
    client.close()
    version = f"cgroup v{info.get('CgroupVersion', '1')}"
    supported = {"memory": "MemoryLimit", "cpu": "CpuCfsQuota", "processes": "PidsLimit"}
    limits = tuple(
        f"{name}: {version if info.get(key) else 'not limited by this engine'}"
        for name, key in supported.items()
    )
    return Diagnosis("docker", f"Docker Engine {info.get('ServerVersion', '')}", limits)


def _diagnose_bubblewrap(home: Path) -> Diagnosis:
    try:
        _, version = working_bwrap()
    except SandboxError as error:
        return Diagnosis("bubblewrap", problem=str(error))
    parents = Cgroups.find().parents
    limits = [
        f"{name}: {f'cgroup v{parents[resource][0]}' if resource in parents else fallback}"
        for resource, name, fallback in _WITHOUT_CGROUP
    ]
    if seccomp_filter(memory_is_counted=True) is None:
        limits.append("system calls: not filtered on this kind of machine")
    interpreter = Interpreter.find(home)
    python = interpreter.version if interpreter else "Python environment not built yet (needs the network)"
    return Diagnosis("bubblewrap", f"bubblewrap {version}, {python}", tuple(limits))
