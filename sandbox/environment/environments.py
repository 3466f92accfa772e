"""Environments of repositories: detected, built once, found again, and opened as sandboxes."""

import asyncio
import hashlib
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from filelock import Timeout

from sandbox.base import Limits, Ownership, Result, Sandbox, SandboxError
from sandbox.environment.backend import (
    Build,
    BuildLimits,
    Built,
    Environment,
    EnvironmentBackend,
    EnvironmentFailure,
)
from sandbox.environment.bubblewrap_builder import BubblewrapEnvironments
from sandbox.environment.detection.detect import detect
from sandbox.environment.diagnosis import explain
from sandbox.environment.disk import folder_bytes, remove_tree
from sandbox.environment.environment_sandbox import EnvironmentSandbox
from sandbox.environment.generated import TooMuchGenerated, generated_file, store_files
from sandbox.environment.recipe import Recipe
from sandbox.environment.records import MAKING, RECORD, EnvironmentRecord, held, prune, read_record
from sandbox.environment.registries import MaskedOutput, Registries
from sandbox.environment.virtual_environment import check_venv, fingerprint, venvs_at_hand

_WAIT_SECONDS = 0.2
_IMAGE_SECONDS = 3600.0


async def open_environments(
    backend: Literal["docker", "bubblewrap"],
    home: Path,
    image: str | None,
    environ: Mapping[str, str],
    user_home: Path,
    ownership: Ownership,
    limits: BuildLimits,
    maximum: Limits,
) -> "Environments":
    """Open the environments of a backend. Raises SandboxError when the backend is not there.

    `home` is AUTOCODE_HOME, and `image` replaces Docker's own. `environ` and `user_home` name the machine's
    interpreters and registries. `limits` bound a build. `maximum` bounds the memory and the processors that a
    recipe can ask for.
    """
    opened: EnvironmentBackend
    if backend == "docker":
        from sandbox.environment.docker_builder import DockerEnvironments

        opened = await DockerEnvironments.open(image, environ, ownership)
    else:
        opened = BubblewrapEnvironments(home, environ, user_home, ownership)
    registries = await asyncio.to_thread(Registries.read, environ, user_home)
    return Environments(home, opened, registries, limits, maximum, environ)


class Environments:
    """The environments of one AUTOCODE_HOME for one backend."""

    def __init__(
        self,
        home: Path,
        backend: EnvironmentBackend,
        registries: Registries,
        limits: BuildLimits,
        maximum: Limits,
        environ: Mapping[str, str],
    ) -> None:
        self._home = home
        self._environ = environ
        self._folder = home / "environments"
        self._backend = backend
        self._registries = registries
        self._limits = limits
        self._maximum = maximum
        self._opened: dict[str, Sandbox] = {}
        self._opening = asyncio.Lock()

    @property
    def name(self) -> str:
        """Return `docker` or `bubblewrap`."""
        return self._backend.name

    async def recipes(
        self, files: Mapping[str, str], paths: Iterable[str] = (), version: str = ""
    ) -> tuple[Recipe, ...]:
        """Detect the recipes of the packages that hold `paths`, or of all packages, as `detect` does."""
        toolset = await self._backend.toolset()
        return await asyncio.to_thread(detect, files, toolset, tuple(paths), version)

    def venvs_at_hand(self, repo: Path) -> tuple[Path, ...]:
        """Return the virtual environments that `Recipe.with_venv` could use as they are."""
        return venvs_at_hand(repo, self._environ) if self.name == "bubblewrap" else ()

    async def _key(self, recipe: Recipe) -> str:
        """Return the name of a recipe's environment on this backend, as 24 hexadecimal digits."""
        parts = [recipe.digest, self._backend.name, await self._backend.identity()]
        if recipe.venv:
            parts.append(await asyncio.to_thread(fingerprint, Path(recipe.venv)))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]

    async def find(self, recipe: Recipe) -> Environment | None:
        """Return the finished environment of a recipe, if there is one, and note its use."""
        key = await self._key(recipe)
        place = self._folder / key
        record = await asyncio.to_thread(read_record, place)
        if record is None:
            return None
        try:
            environment = await asyncio.to_thread(self._backend.opened, recipe, key, place, record.image)
        except SandboxError:
            return None
        if not await self._backend.is_present(environment):
            return None
        with suppress(OSError):
            os.utime(place / RECORD)
        return environment

    async def build(
        self,
        recipe: Recipe,
        files: Iterable[bytes],
        paths: Iterable[str],
        on_output: Callable[[str], None] = lambda _: None,
    ) -> Environment:
        """Return a recipe's environment, and build it if it is missing.

        `files` is a tar stream of the snapshot with the recipe's `files`, and `paths` are the snapshot's own
        paths. Parallel calls, also of other processes, build once. What needs no approval is made without
        network. Raises EnvironmentFailure when a command fails or the recipe has fatal faults.
        """
        if recipe.fatal:
            raise EnvironmentFailure("\n".join(fault.message for fault in recipe.fatal))
        if found := await self.find(recipe):
            return found
        key = await self._key(recipe)
        await self._make_folder()
        async with self._lock(key, on_output):
            if found := await self.find(recipe):
                return found
            await self._make(recipe, key, files, frozenset(paths), on_output)
        if found := await self.find(recipe):
            return found
        raise EnvironmentFailure(f"The environment {key} vanished right after it was built. Try again.")

    async def renew(
        self,
        recipe: Recipe,
        files: Iterable[bytes],
        paths: Iterable[str],
        lock: str,
        on_output: Callable[[str], None] = lambda _: None,
    ) -> str:
        """Run a recipe's commands as a build, and return the text of the file `lock` that they have written.

        Nothing else of the build is kept. Raises EnvironmentFailure.
        """
        if recipe.fatal:
            raise EnvironmentFailure("\n".join(fault.message for fault in recipe.fatal))
        key = await self._key(recipe)
        await self._make_folder()
        async with self._lock(key, on_output):
            place, output = await self._place(key), MaskedOutput(self._registries.mask, on_output)
            # A path that the snapshot does not have counts as made by the build, which keeps it.
            others = frozenset(paths) - {lock}
            build = Build(recipe, files, others, place, self._registries, self._limits, output.feed)
            try:
                built = await self._built(build, output, key, lock)
                await self._backend.remove(built.image)
                content = await asyncio.to_thread(generated_file, place / "generated.tar", lock)
            finally:
                await asyncio.shield(asyncio.to_thread(remove_tree, place))
        text = (content or b"").decode("utf-8", "replace")
        if not text.strip():
            raise EnvironmentFailure(f"{lock} could not be renewed: {recipe.commands[-1]} did not write it.")
        if self._registries.mask(text) != text:
            raise EnvironmentFailure(f"{lock} could not be renewed: a registry's password would be in it.")
        return text

    async def open(self, environment: Environment) -> Sandbox:
        """Return a sandbox whose programs run in the environment. It stays open until `aclose`."""
        async with self._opening:
            if environment.key not in self._opened:
                inner = await self._backend.sandbox_with(environment)
                self._opened[environment.key] = EnvironmentSandbox(inner, environment, self._maximum)
            return self._opened[environment.key]

    async def aclose(self) -> None:
        """Close every sandbox that was opened here."""
        opened, self._opened = list(self._opened.values()), {}
        for sandbox in opened:
            await sandbox.aclose()
        await self._backend.aclose()

    async def prune(self, days: float) -> tuple[EnvironmentRecord, ...]:
        """Remove environments that nobody used for so many days, and what broken builds left. Return them."""
        return await prune(self._home, self._backend, days)

    async def _make(
        self,
        recipe: Recipe,
        key: str,
        files: Iterable[bytes],
        paths: frozenset[str],
        on_output: Callable[[str], None],
    ) -> None:
        place, output = await self._place(key), MaskedOutput(self._registries.mask, on_output)
        build = Build(recipe, files, paths, place, self._registries, self._limits, output.feed)
        began = time.monotonic()
        try:
            built = await self._built(build, output, key)
            size = await asyncio.to_thread(folder_bytes, place)
            record = EnvironmentRecord(
                key=key,
                backend=self._backend.name,
                folder=recipe.folder,
                commands=recipe.shown_commands,
                sources=recipe.sources,
                python=recipe.python,
                built=datetime.now(UTC).isoformat(timespec="seconds"),
                seconds=round(time.monotonic() - began, 1),
                size_mb=-(-size // 2**20) + built.image_mb,
                image=built.image,
            )
            await asyncio.to_thread((place / RECORD).write_text, json.dumps(asdict(record)))
            await asyncio.to_thread(self._publish, place, self._folder / key)
        except TooMuchGenerated as error:
            raise EnvironmentFailure(f"The environment could not be stored: {error}.") from error
        finally:
            await asyncio.shield(asyncio.to_thread(remove_tree, place))

    async def _make_folder(self) -> None:
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)

    async def _place(self, key: str) -> Path:
        """Make the folder of a build."""
        return Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=f"{MAKING}{key}-", dir=self._folder))

    async def _built(self, build: Build, output: MaskedOutput, key: str, lock: str = "") -> Built:
        """Run the commands, or store the files where there are no commands."""
        if not build.recipe.needs_approval:
            await asyncio.to_thread(store_files, build)
            if build.recipe.venv:
                await self._check_venv(build, key)
            return Built(Result(0, "", "", 0.0))
        built = await self._backend.build(build)
        output.flush()
        if built.result.exit_code or built.result.timed_out or built.over_disk:
            limits = self._limits
            text = explain(build.recipe, built, output.text, limits.seconds, limits.memory_mb, lock)
            raise EnvironmentFailure(text)
        return built

    async def _check_venv(self, build: Build, key: str) -> None:
        try:
            environment = self._backend.opened(build.recipe, key, build.place, "")
        except SandboxError as error:
            raise EnvironmentFailure(str(error)) from error
        inner = await self._backend.sandbox_with(environment)
        try:
            await check_venv(EnvironmentSandbox(inner, environment, self._maximum), build.recipe.venv)
        finally:
            await inner.aclose()

    def _publish(self, place: Path, target: Path) -> None:
        remove_tree(target)  # only a damaged one can be there, as we hold the lock
        place.rename(target)

    @asynccontextmanager
    async def _lock(self, key: str, on_output: Callable[[str], None]) -> AsyncIterator[None]:
        told, began = False, time.monotonic()
        longest = 2 * self._limits.seconds + _IMAGE_SECONDS  # a build, one before this run, and their images
        while True:
            try:
                with await asyncio.to_thread(held, self._folder, key):
                    yield
                    return
            except Timeout:
                if not told:
                    on_output("Another run is building this environment. Waiting for it.\n")
                told = True
                if time.monotonic() - began > longest:
                    raise EnvironmentFailure(
                        f"Another process has held the lock of the environment {key} for {longest:.0f} s. "
                        "It may be stopped: look for it with `ps`, end it and try again."
                    ) from None
                await asyncio.sleep(_WAIT_SECONDS)
