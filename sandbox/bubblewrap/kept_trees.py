"""Unpacked trees that stay on disk, so that later runs need not unpack them again.

Programs see a tree only as the lower side of an overlay. No mount shows them the folder itself.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ParamSpec

from sandbox.base import SandboxError
from sandbox.environment.disk import remove_tree
from sandbox.program import retrieve

P = ParamSpec("P")

KEPT_MB = 4096
"""MiB that all kept trees of an AUTOCODE_HOME may take together."""

_KEPT_SECONDS = 7 * 86_400.0
_RESERVE_MB = 2048  # of the disk, which kept trees leave free
_POLL_SECONDS = 0.05
_RECORD = "record.json"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class TreeRecord:
    """A complete tree: its key, the user that owns the files, its size, and the boot of the machine.

    The files are not synced, so that a tree counts only until the machine is started again.
    """

    key: str
    uid: int
    megabytes: int
    boot: str


@dataclass(frozen=True)
class KeptTree:
    """The folder of a tree, and the user that owns its files."""

    folder: Path
    uid: int


class KeptTrees:
    """The folders below `root`, which nobody else may enter. A lock keeps each one while it is used."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def keys(self) -> Sequence[str]:
        """Return the keys of the complete trees, the latest used first. Blocks."""
        return [record.key for _, record, _ in self._records()]

    @property
    def is_private(self) -> bool:
        """True if nobody else can write there. Another user's AUTOCODE_HOME may hold links and records."""
        with suppress(OSError):
            status = self.root.lstat()
            return (
                stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
            )
        return False

    def has_room(self, megabytes: int) -> bool:
        """Return whether a further tree of this size may be kept. Blocks."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.is_private or not _boot():
            return False
        return megabytes <= KEPT_MB and shutil.disk_usage(self.root).free >> 20 > megabytes + _RESERVE_MB

    @asynccontextmanager
    async def tree(
        self, key: str, uid: int, unpack: Callable[[KeptTree], Awaitable[int]]
    ) -> AsyncIterator[KeptTree]:
        """Hold a tree, which `unpack` fills with files of the user `uid` if there is none yet.

        `unpack` returns their bytes on disk. Raises SandboxError.
        """
        place = self._place(key)
        while True:
            async with self.kept(key) as tree:
                if tree:
                    yield tree
                    return
            with _locked(place, fcntl.LOCK_EX) as is_locked:
                if is_locked and not await asyncio.to_thread(_read, place):
                    await self._make(place, key, uid, unpack)
                    continue
            await asyncio.sleep(_POLL_SECONDS)

    @asynccontextmanager
    async def kept(self, key: str) -> AsyncIterator[KeptTree | None]:
        """Hold a complete tree. Yields None if there is none, or if it is being unpacked or removed."""
        place = self._place(key)
        if not self.is_private or not await asyncio.to_thread(_read, place):
            yield None
            return
        with _locked(place, fcntl.LOCK_SH) as is_locked:
            record = await asyncio.to_thread(_read, place) if is_locked else None
            if record:
                os.utime(place / _RECORD)
            yield KeptTree(place / "tree", record.uid) if record else None

    def _place(self, key: str) -> Path:
        return self.root / hashlib.sha256(key.encode()).hexdigest()[:40]

    async def _make(
        self, place: Path, key: str, uid: int, unpack: Callable[[KeptTree], Awaitable[int]]
    ) -> None:
        tree = KeptTree(place / "tree", uid)
        try:
            await _finished(_empty, tree.folder)
            size = await unpack(tree)
            await _finished(_complete, place, TreeRecord(key, uid, size >> 20, _boot()))
        except OSError as error:
            raise SandboxError(f"{place}: the files could not be kept: {error}") from error

    def prune(self) -> None:
        """Remove trees that are incomplete, old, or beyond the limit, unless somebody uses them. Blocks."""
        if not self.is_private:
            return
        total, kept = 0, set()
        for place, record, used in self._records():
            total += record.megabytes
            if total <= KEPT_MB and time.time() - used < _KEPT_SECONDS:
                kept.add(place.name)
        for place in self.root.iterdir():
            if place.is_dir() and place.name not in kept:
                with _locked(place, fcntl.LOCK_EX) as is_locked:
                    if is_locked:
                        (place / _RECORD).unlink(missing_ok=True)
                        remove_tree(place)
                        Path(f"{place}.lock").unlink()

    def _records(self) -> list[tuple[Path, TreeRecord, float]]:
        found = []
        for place in self.root.iterdir() if self.is_private else ():
            with suppress(OSError):
                if record := _read(place):
                    found.append((place, record, (place / _RECORD).stat().st_mtime))
        return sorted(found, key=lambda entry: entry[2], reverse=True)


def _read(place: Path) -> TreeRecord | None:
    """Return the record of a complete tree of this boot."""
    with suppress(OSError, ValueError, TypeError):
        record = TreeRecord(**json.loads((place / _RECORD).read_text()))
        return record if record.boot and record.boot == _boot() else None
    return None


def _boot() -> str:
    """Return the id of the machine's boot, empty where the kernel has none."""
    with suppress(OSError):
        return _BOOT.read_text()
    return ""


async def _finished(function: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call a function in a thread, and wait for its end even if this task is cancelled.

    The lock is released after it. Another process would otherwise work on the same files.
    """
    call = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        await asyncio.shield(call)
    except asyncio.CancelledError:
        while not call.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({call})
        retrieve(call)
        raise


def _complete(place: Path, record: TreeRecord) -> None:
    (place / _RECORD).write_text(json.dumps(asdict(record)))


def _empty(folder: Path) -> None:
    """Make a folder for any user, without what an interrupted unpacking left there."""
    (folder.parent / _RECORD).unlink(missing_ok=True)
    remove_tree(folder)
    folder.mkdir(parents=True)
    folder.chmod(0o1777)


@contextmanager
def _locked(place: Path, kind: int) -> Iterator[bool]:
    """Hold the lock beside a folder, and yield whether it was free."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(f"{place}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            is_locked = os.fstat(fd).st_nlink > 0  # another process may have removed the file meanwhile
        except BlockingIOError:
            is_locked = False
        yield is_locked
    finally:
        os.close(fd)
