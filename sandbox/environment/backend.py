"""The seam between environments and sandboxes: what a backend builds, and what a run needs to use it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sandbox.base import Result, Sandbox, SandboxError
from sandbox.bubblewrap.jail import Mounts
from sandbox.environment.recipe import Recipe, Toolset
from sandbox.environment.registries import Registries

_CHUNK = 262_144


class EnvironmentFailure(SandboxError):
    """An environment could not be built. The message names the cause and the cure, and quotes the output."""


@dataclass(frozen=True)
class BuildLimits:
    """Bounds of one build: seconds, MiB of memory and disk, processors, and processes."""

    seconds: float = 600.0
    memory_mb: int = 4096
    disk_mb: int = 8192
    cpus: float = 2.0
    processes: int = 1024
    output_bytes: int = 1_000_000


@dataclass(frozen=True)
class Environment:
    """A finished environment, as a run in a sandbox needs it.

    Bubblewrap shows `mounts`. Docker starts containers from `image`. `path` comes before the sandbox's own
    PATH. `generated` holds tar members without an end marker, which come before the snapshot's files, so that
    the snapshot wins. `root` holds what a build with bubblewrap made.
    """

    key: str
    folder: str = ""
    root: Path | None = None
    image: str = ""
    mounts: Mounts = field(default_factory=Mounts)
    path: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    generated: Path | None = None
    memory_mb: int | None = None
    cpus: float | None = None

    def members(self) -> Iterator[bytes]:
        """Yield the generated files that the workspace needs beside the snapshot."""
        if self.generated:
            with self.generated.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk

    @property
    def generated_mb(self) -> int:
        """Return the room that the generated files take in the workspace, in MiB, rounded up."""
        return -(-self.generated.stat().st_size // 2**20) if self.generated else 0


@dataclass(frozen=True)
class Build:
    """One build: a recipe, the snapshot it is for, and an empty folder of ours that receives the outcome."""

    recipe: Recipe
    files: Iterable[bytes]
    paths: frozenset[str]
    place: Path
    registries: Registries
    limits: BuildLimits
    on_output: Callable[[str], None]


@dataclass(frozen=True)
class Built:
    """The outcome of a build: the program's result, and what the backend made, if it succeeded."""

    result: Result
    image: str = ""
    image_mb: int = 0
    over_disk: bool = False
    refused_hosts: tuple[str, ...] = ()


class EnvironmentBackend(Protocol):
    """Builds environments for one kind of sandbox."""

    @property
    def name(self) -> str:
        """Return `docker` or `bubblewrap`."""

    async def toolset(self) -> Toolset:
        """Return the interpreters and tools that recipes can count on."""

    async def identity(self) -> str:
        """Return a text that changes when environments must be built again, such as the image's digest."""

    async def build(self, build: Build) -> Built:
        """Run the recipe's commands with network. Raises SandboxError when the sandbox itself fails."""

    async def is_present(self, environment: Environment) -> bool:
        """Return whether a finished environment can still be used."""

    def opened(self, recipe: Recipe, key: str, place: Path, image: str) -> Environment:
        """Return the environment that lies in a finished place. Raises SandboxError if its venv is gone."""

    async def sandbox_with(self, environment: Environment) -> Sandbox:
        """Open a sandbox whose programs see the environment."""

    async def remove(self, image: str) -> None:
        """Remove what lies outside the environment's folder."""

    async def aclose(self) -> None:
        """Close the connection to the sandbox's engine."""
