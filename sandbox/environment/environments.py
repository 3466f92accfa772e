"""The store of environments under AUTOCODE_HOME: built once, found again, listed and pruned."""

import asyncio
import hashlib
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from sandbox.base import SandboxError
from sandbox.environment.backend import (
    Build,
    BuildLimits,
    Built,
    Environment,
    EnvironmentBackend,
    EnvironmentFailure,
)
from sandbox.environment.diagnosis import explain
from sandbox.environment.disk import folder_bytes, remove_tree
from sandbox.environment.generated import TooMuchGenerated
from sandbox.environment.masked_output import MaskedOutput
from sandbox.environment.recipe import Recipe
from sandbox.environment.registries import Registries

_RECORD = "record.json"
_MAKING = "making-"
_WAIT_SECONDS = 0.2
_IN_USE_SECONDS = 3600
_DAY_SECONDS = 86_400


@dataclass(frozen=True)
class EnvironmentRecord:
    """One stored environment. `built` is RFC 3339 in UTC, `used` seconds since the epoch, `size_mb` MiB."""

    key: str
    backend: str
    folder: str
    commands: tuple[str, ...]
    sources: tuple[str, ...]
    python: str
    built: str
    seconds: float
    size_mb: int
    image: str = ""
    used: float = 0.0


class Environments:
    """The environments of one AUTOCODE_HOME for one backend."""

    def __init__(
        self,
        home: Path,
        backend: EnvironmentBackend,
        registries: Registries,
        limits: BuildLimits | None = None,
    ) -> None:
        self._folder = home / "environments"
        self._backend = backend
        self._registries = registries
        self._limits = limits or BuildLimits()

    async def key(self, recipe: Recipe) -> str:
        """Return the name of a recipe's environment on this backend, as 24 hexadecimal digits."""
        parts = [recipe.digest, self._backend.name, await self._backend.identity()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]

    async def find(self, recipe: Recipe) -> Environment | None:
        """Return the finished environment of a recipe, if there is one, and note its use."""
        key = await self.key(recipe)
        place = self._folder / key
        record = await asyncio.to_thread(_read, place)
        if record is None:
            return None
        environment = self._backend.opened(recipe, key, place, record.image)
        if not await self._backend.is_present(environment):
            return None
        with suppress(OSError):
            os.utime(place / _RECORD)
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
        paths. Parallel calls, also of other processes, build once. Raises EnvironmentFailure when a command
        fails or the recipe has fatal faults.
        """
        if recipe.fatal:
            raise EnvironmentFailure("\n".join(fault.message for fault in recipe.fatal))
        if found := await self.find(recipe):
            return found
        key = await self.key(recipe)
        self._folder.mkdir(parents=True, exist_ok=True)
        async with self._lock(key, on_output):
            if found := await self.find(recipe):
                return found
            await self._make(recipe, key, files, frozenset(paths), on_output)
        if found := await self.find(recipe):
            return found
        raise EnvironmentFailure(f"The environment {key} vanished right after it was built. Try again.")

    async def _make(
        self,
        recipe: Recipe,
        key: str,
        files: Iterable[bytes],
        paths: frozenset[str],
        on_output: Callable[[str], None],
    ) -> None:
        place = Path(tempfile.mkdtemp(prefix=f"{_MAKING}{key}-", dir=self._folder))
        output = MaskedOutput(self._registries.mask, on_output)
        build = Build(recipe, files, paths, place, self._registries, self._limits, output.feed)
        began = time.monotonic()
        try:
            built = await self._run(build)
            output.flush()
            if built.result.exit_code or built.result.timed_out or built.over_disk:
                limits = self._limits
                raise EnvironmentFailure(
                    explain(recipe, built, output.text, limits.seconds, limits.memory_mb)
                )
            size = await asyncio.to_thread(folder_bytes, place)
            record = EnvironmentRecord(
                key=key,
                backend=self._backend.name,
                folder=recipe.folder,
                commands=recipe.commands,
                sources=recipe.sources,
                python=recipe.python,
                built=datetime.now(UTC).isoformat(timespec="seconds"),
                seconds=round(time.monotonic() - began, 1),
                size_mb=-(-size // 2**20),
                image=built.image,
            )
            (place / _RECORD).write_text(json.dumps(asdict(record)))
            await asyncio.to_thread(self._publish, place, self._folder / key)
        finally:
            await asyncio.shield(asyncio.to_thread(remove_tree, place))

    async def _run(self, build: Build) -> Built:
        try:
            return await self._backend.build(build)
        except TooMuchGenerated as error:
            raise EnvironmentFailure(
                f"The environment could not be stored: {error}. Install it elsewhere."
            ) from error

    def _publish(self, place: Path, target: Path) -> None:
        remove_tree(target)  # only a damaged one can be there, as we hold the lock
        place.rename(target)

    @asynccontextmanager
    async def _lock(self, key: str, on_output: Callable[[str], None]) -> AsyncIterator[None]:
        lock = FileLock(self._folder / f"{key}.lock", thread_local=False)
        told = False
        while True:
            try:
                lock.acquire(blocking=False)
                break
            except Timeout:
                if not told:
                    on_output("Another run is building this environment. Waiting for it.\n")
                told = True
                await asyncio.sleep(_WAIT_SECONDS)
        try:
            yield
        finally:
            lock.release()

    async def prune(self, days: float) -> tuple[EnvironmentRecord, ...]:
        """Remove environments that nobody used for so many days, and what broken builds left. Return them.

        An environment that was used within the last hour may be in use and stays.
        """
        removed = []
        for record in await asyncio.to_thread(stored, self._folder.parent):
            age = time.time() - record.used
            if record.backend != self._backend.name or age < max(days * _DAY_SECONDS, _IN_USE_SECONDS):
                continue
            if await self._removed(record):
                removed.append(record)
        await asyncio.to_thread(self._sweep)
        return tuple(removed)

    async def _removed(self, record: EnvironmentRecord) -> bool:
        lock = FileLock(self._folder / f"{record.key}.lock", thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        try:
            with suppress(SandboxError):
                await self._backend.remove(record.image)
            await asyncio.to_thread(remove_tree, self._folder / record.key)
            return True
        finally:
            lock.release()

    def _sweep(self) -> None:
        """Remove the scratch folders of builds whose process has died, which nobody holds a lock for."""
        for place in self._folder.glob(f"{_MAKING}*"):
            key = place.name.removeprefix(_MAKING).partition("-")[0]
            lock = FileLock(self._folder / f"{key}.lock", thread_local=False)
            with suppress(Timeout), lock.acquire(blocking=False):
                remove_tree(place)


def stored(home: Path) -> list[EnvironmentRecord]:
    """Return all environments of an AUTOCODE_HOME, the most recently used first."""
    places = (home / "environments").glob("*/" + _RECORD)
    records = [record for place in places if (record := _read(place.parent))]
    return sorted(records, key=lambda record: record.used, reverse=True)


def _read(place: Path) -> EnvironmentRecord | None:
    path = place / _RECORD
    try:
        values = json.loads(path.read_text())
        values |= {"used": path.stat().st_mtime, "commands": tuple(values["commands"])}
        return EnvironmentRecord(**{**values, "sources": tuple(values["sources"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
