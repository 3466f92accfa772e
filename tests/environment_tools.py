"""Repositories and checks for the tests of environments."""

import io
import os
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from graph.resources import ownership
from sandbox.base import Limits, Result
from sandbox.environment.backend import BuildLimits, Environment
from sandbox.environment.environments import Environments, open_environments
from sandbox.environment.recipe import Recipe
from sandbox.environment.records import stored

LIMITS = Limits(seconds=60, memory_mb=2000, processes=200, cpus=2)


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


def images_of(home: Path) -> list[str]:
    """Return the images that the environments of a home have."""
    return [record.image for record in stored(home) if record.image]


@dataclass
class EnvironmentBench:
    """Builds environments of small repositories with one backend, and runs commands in them."""

    backend: Literal["docker", "bubblewrap"]
    home: Path
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    heard: list[str] = field(default_factory=list)

    async def environments(self, limits: BuildLimits | None = None) -> Environments:
        """Open the environments, as a process of its own would."""
        caps = Limits(memory_mb=1024, cpus=1.5)
        bounds = limits or BuildLimits(seconds=150)
        user_home = Path.home()
        return await open_environments(
            self.backend, self.home, None, self.environ, user_home, ownership(), bounds, caps
        )

    async def make(
        self,
        recipe: Recipe,
        files: Mapping[str, str],
        limits: BuildLimits | None = None,
        more: Mapping[str, str] | None = None,
    ) -> Environment:
        """Build a recipe. `more` are files that the snapshot lacks."""
        hear: Callable[[str], None] = self.heard.append
        environments = await self.environments(limits)
        try:
            return await environments.build(recipe, tar({**files, **(more or {})}), files, hear)
        finally:
            await environments.aclose()

    async def build(self, files: Mapping[str, str], limits: BuildLimits | None = None) -> Environment:
        """Build the environment of a repository."""
        return await self.make(await self.recipe(files), files, limits)

    async def recipe(self, files: Mapping[str, str], *paths: str) -> Recipe:
        """Return the only recipe for a repository."""
        environments = await self.environments()
        try:
            (recipe,) = await environments.recipes(files, paths)
            return recipe
        finally:
            await environments.aclose()

    async def run(
        self, environment: Environment, files: Mapping[str, str], command: str, limits: Limits = LIMITS
    ) -> Result:
        """Run a shell command in an environment, with the files in the workspace."""
        environments = await self.environments()
        try:
            sandbox = await environments.open(environment)
            return await sandbox.run(tar(files), ["sh", "-c", command], limits)
        finally:
            await environments.aclose()

    @property
    def output(self) -> str:
        """Return what builds have written."""
        return "".join(self.heard)
