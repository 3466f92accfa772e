"""Repositories and checks for the tests of environments."""

import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.base import Limits, Result
from sandbox.environment.backend import BuildLimits, Environment
from sandbox.environment.bubblewrap_builder import BubblewrapEnvironments
from sandbox.environment.detection.detect import detect
from sandbox.environment.environments import Environments
from sandbox.environment.recipe import Recipe
from sandbox.environment.registries import Registries

PATH = "/usr/local/bin:/usr/bin:/bin"


def tar(files: Mapping[str, str]) -> list[bytes]:
    """Return a tar stream of text files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return [out.getvalue()]


def commands(*lines: str) -> Recipe:
    """Return a recipe with these commands alone."""
    return Recipe(commands=lines)


@dataclass
class EnvironmentBench:
    """Builds environments of small repositories with bubblewrap and runs commands in them."""

    home: Path
    backend: BubblewrapEnvironments
    registries: Registries
    heard: list[str] = field(default_factory=list)

    def store(self, limits: BuildLimits | None = None) -> Environments:
        """Return a store with its own view of the disk."""
        return Environments(self.home, self.backend, self.registries, limits or BuildLimits(seconds=150))

    async def recipe(self, files: Mapping[str, str], *paths: str) -> Recipe:
        """Return the only recipe for a repository."""
        (recipe,) = detect(files, await self.backend.toolset(), paths)
        return recipe

    async def build(self, files: Mapping[str, str], limits: BuildLimits | None = None) -> Environment:
        """Build the environment of a repository."""
        return await self.make(await self.recipe(files), files, limits)

    async def make(
        self, recipe: Recipe, files: Mapping[str, str], limits: BuildLimits | None = None
    ) -> Environment:
        """Build a recipe."""
        hear: Callable[[str], None] = self.heard.append
        return await self.store(limits).build(recipe, tar(files), files, hear)

    async def run(self, environment: Environment, files: Mapping[str, str], command: str) -> Result:
        """Run a shell command in an environment, with the files in the workspace."""
        sandbox = await self.backend.sandbox_with(environment)
        path = ":".join((*environment.path, PATH))
        variables = [f"{name}={value}" for name, value in environment.variables]
        limits = Limits(seconds=60, memory_mb=2000, processes=200, cpus=2)
        words = ["env", *variables, f"PATH={path}", "sh", "-c", command]
        return await sandbox.run([*environment.members(), *tar(files)], words, limits)

    @property
    def output(self) -> str:
        """Return what builds have written."""
        return "".join(self.heard)
