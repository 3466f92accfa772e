"""The removal of environments that nobody uses any more, of all backends."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from sandbox.backends import import_docker
from sandbox.base import UNKNOWN, SandboxError
from sandbox.environment.bubblewrap_builder import BubblewrapEnvironments
from sandbox.environment.records import EnvironmentRecord, prune, stored


@dataclass(frozen=True)
class Pruning:
    """The environments that were removed. `problem` says why those of Docker could not be."""

    removed: tuple[EnvironmentRecord, ...] = ()
    problem: str = ""


async def prune_environments(home: Path, days: float) -> Pruning:
    """Remove the environments of all backends that nobody used for so many days, Docker's images included.

    An environment that was used within the last hour may be in use and stays. Docker's stay while no engine
    answers, because their records alone tell which images belong to them.
    """
    removed = await prune(home, BubblewrapEnvironments(home, {}, home, UNKNOWN), days)
    if all(record.backend != "docker" for record in await asyncio.to_thread(stored, home)):
        return Pruning(removed)
    try:
        await asyncio.to_thread(import_docker)
        from sandbox.docker.docker_sandbox import connect
        from sandbox.environment.docker_builder import DockerEnvironments

        images = DockerEnvironments(await asyncio.to_thread(connect), "", {}, UNKNOWN)
    except SandboxError as error:
        return Pruning(removed, str(error))
    try:
        return Pruning((*removed, *await prune(home, images, days)))
    finally:
        await images.aclose()
