"""The records of the environments under AUTOCODE_HOME: read, listed, and pruned."""

import json
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from sandbox.base import SandboxError
from sandbox.environment.backend import EnvironmentBackend
from sandbox.environment.disk import remove_tree

RECORD = "record.json"
"""The file of a finished environment. Its time of change is when the environment was last used."""

MAKING = "making-"
"""The first part of the name of a folder whose build is under way."""

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


def stored(home: Path) -> list[EnvironmentRecord]:
    """Return all environments of an AUTOCODE_HOME, the most recently used first."""
    places = (home / "environments").glob("*/" + RECORD)
    records = [record for place in places if (record := read_record(place.parent))]
    return sorted(records, key=lambda record: record.used, reverse=True)


def read_record(place: Path) -> EnvironmentRecord | None:
    """Return the record of a finished environment, or None when there is none that can be read."""
    path = place / RECORD
    try:
        values = json.loads(path.read_text())
        values |= {"used": path.stat().st_mtime, "commands": tuple(values["commands"])}
        return EnvironmentRecord(**{**values, "sources": tuple(values["sources"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def held(folder: Path, key: str) -> AbstractContextManager[object]:
    """Take the lock of an environment, and return what gives it back. Raises Timeout if another has it."""
    return FileLock(folder / f"{key}.lock", thread_local=False).acquire(blocking=False)


async def prune(home: Path, backend: EnvironmentBackend, days: float) -> tuple[EnvironmentRecord, ...]:
    """Remove environments that nobody used for so many days, and what broken builds left. Return them.

    An environment that was used within the last hour may be in use and stays.
    """
    folder, removed = home / "environments", []
    for record in stored(home):
        age = time.time() - record.used
        if record.backend != backend.name or age < max(days * _DAY_SECONDS, _IN_USE_SECONDS):
            continue
        with suppress(Timeout), held(folder, record.key):
            with suppress(SandboxError):
                await backend.remove(record.image)
            remove_tree(folder / record.key)
            removed.append(record)
    for place in folder.glob(f"{MAKING}*"):  # nobody holds the lock of a build whose process has died
        with suppress(Timeout), held(folder, place.name.removeprefix(MAKING).partition("-")[0]):
            remove_tree(place)
    return tuple(removed)
