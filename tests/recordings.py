"""A real sandbox that runs no program twice: files and command say what comes out."""

import asyncio
import hashlib
import json
import os
import pickle
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from sandbox.backends import Backend, open_sandbox
from sandbox.base import Layer, Limits, OnText, Ownership, Result, Sandbox, Session
from sandbox.bubblewrap.bubblewrap_sandbox import Bubblewrap
from sandbox.bubblewrap.jail import Jail
from sandbox.cgroup import Cgroups
from sandbox.environment.backend import Environment
from sandbox.environment.bubblewrap_builder import BubblewrapEnvironments
from sandbox.program import KILLED

T = TypeVar("T")

MUTANTS_OFF = b'mutants = "off"'


@dataclass(frozen=True)
class Recording:
    """The result of a program, and the output that it told meanwhile."""

    result: Result
    output: str


@dataclass(frozen=True)
class Opening:
    """The parts of an open bubblewrap sandbox, which it finds out by trial."""

    jail: Jail
    cgroups: Cgroups
    version: str
    has_overlay: bool


class Recordings:
    """The recordings of all tests in one folder, as one test replays them.

    What a test runs twice has two recordings, so that a flaky program stays flaky. With `shared`, for a
    process of many tests, it has the first recording alone.
    """

    def __init__(self, folder: Path, *, shared: bool = False) -> None:
        self._folder = folder
        self._shared = shared
        self._times = Counter[str]()

    def next_key(self, *parts: object, tree: bytes) -> str:
        """Return the key of a program that this test runs now."""
        key = hashlib.sha256(json.dumps(parts).encode() + b"\0" + tree).hexdigest()
        self._times[key] += 1
        if self._shared:
            return f"{key}-1"
        return f"{key}-{self._times[key]}"

    def load(self, key: str) -> Recording | None:
        """Read a recording."""
        return self._load(key, Recording)

    def load_opening(self, key: str) -> Opening | None:
        """Read what an earlier test found out as it opened a sandbox."""
        return self._load(key, Opening)

    def _load(self, key: str, kind: type[T]) -> T | None:
        try:
            found = pickle.loads((self._folder / key).read_bytes())
        except FileNotFoundError:
            return None
        assert isinstance(found, kind)
        return found

    def store(self, key: str, recording: Recording | Opening) -> None:
        """Write a recording as a whole, because other workers read meanwhile."""
        written = self._folder / f"{uuid4()}.part"
        written.write_bytes(pickle.dumps(recording))
        os.replace(written, self._folder / key)


class RecordedSandbox:
    """Replays programs that an earlier test has run, in the environment of a key. Implements `Sandbox`.

    A program that was killed is not recorded, and neither is one on a tree that does not switch mutants
    off. Layers and sessions are those of the real sandbox.
    """

    def __init__(self, sandbox: Sandbox, recordings: Recordings, environment: str = "") -> None:
        self.name = sandbox.name
        self._environment = environment
        self._sandbox = sandbox
        self._recordings = recordings

    async def identity(self) -> str:
        return await self._sandbox.identity()

    def prepare(self, count: int = 1) -> None:
        self._sandbox.prepare(count)

    async def run(
        self, files: Iterable[bytes], command: Sequence[str], limits: Limits, on_output: OnText | None = None
    ) -> Result:
        tree = await asyncio.to_thread(b"".join, files)
        if MUTANTS_OFF not in tree:  # mutants may take as long as the check took, so it must take its time
            return await self._sandbox.run([tree], command, limits, on_output)
        parts = (self.name, await self.identity(), self._environment, list(command), asdict(limits))
        key = self._recordings.next_key(*parts, tree=tree)
        if recording := await asyncio.to_thread(self._recordings.load, key):
            if on_output:
                on_output(recording.output)
            return recording.result
        output: list[str] = []

        def told(text: str) -> None:
            output.append(text)
            if on_output:
                on_output(text)

        result = await self._sandbox.run([tree], command, limits, told)
        if not result.timed_out and not result.out_of_memory and result.exit_code != KILLED:
            await asyncio.to_thread(self._recordings.store, key, Recording(result, "".join(output)))
        return result

    async def kept_layers(self) -> Sequence[str]:
        return await self._sandbox.kept_layers()

    def layer(
        self, files: Iterable[bytes], limits: Limits, key: str = ""
    ) -> AbstractAsyncContextManager[Layer]:
        return self._sandbox.layer(files, limits, key)

    def session(
        self, files: Iterable[bytes], limits: Limits, key: str = ""
    ) -> AbstractAsyncContextManager[Session]:
        return self._sandbox.session(files, limits, key)

    async def aclose(self) -> None:
        await self._sandbox.aclose()


def open_recorded(recordings: Recordings) -> Callable[..., Coroutine[Any, Any, Sandbox]]:
    """Return `open_sandbox` with sandboxes that replay. What bubblewrap finds out as it opens is kept too."""

    async def opened(
        backend: Backend, home: Path, image: str | None, say: OnText, owner: Ownership
    ) -> Sandbox:
        if backend != "bubblewrap":
            return RecordedSandbox(await open_sandbox(backend, home, image, say, owner), recordings)
        shared = (await asyncio.to_thread((home / "sandbox").resolve)).parent
        key = hashlib.sha256(str(shared).encode()).hexdigest()
        found = await asyncio.to_thread(recordings.load_opening, key)
        if found is None:
            sandbox = await Bubblewrap.open(shared, say, ownership=owner)
            found = Opening(sandbox._jail, sandbox._cgroups, sandbox._version, await sandbox._can_overlay())
            await asyncio.to_thread(recordings.store, key, found)
            await sandbox.aclose()
        bubblewrap = Bubblewrap(found.jail, found.cgroups, found.version, owner)
        bubblewrap._has_overlay = found.has_overlay
        return RecordedSandbox(bubblewrap, recordings)

    return opened


def open_environment_recorded(
    recordings: Recordings,
) -> Callable[[BubblewrapEnvironments, Environment], Coroutine[Any, Any, Sandbox]]:
    """Return `BubblewrapEnvironments.sandbox_with` with sandboxes that replay."""
    open_environment = BubblewrapEnvironments.sandbox_with

    async def opened(environments: BubblewrapEnvironments, environment: Environment) -> Sandbox:
        sandbox = await open_environment(environments, environment)
        return RecordedSandbox(sandbox, recordings, environment.key)

    return opened
