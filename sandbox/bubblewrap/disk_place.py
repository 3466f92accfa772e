"""Folders on disk for workspaces that are too large for memory."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex

from sandbox.base import Ownership, SandboxError
from sandbox.environment.disk import folder_bytes, remove_tree
from sandbox.program import Cleanup

_POLL_SECONDS = 0.5
_RESERVE_BYTES = 2**30


class DiskPlaces:
    """Makes folders below `root`, which nobody else may enter. Their names begin with the owner's label."""

    def __init__(self, root: Path, ownership: Ownership) -> None:
        self._root = root
        self._ownership = ownership
        self._cleanup = Cleanup()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Path]:
        """Make a folder for any user, and remove it with all that programs left there."""
        folder = self._root / f"{self._ownership.label}-{token_hex(8)}"
        try:
            await asyncio.to_thread(self._make, folder)
            yield folder / "workspace"
        finally:
            await self._cleanup.run(asyncio.to_thread(remove_tree, folder))

    def _make(self, folder: Path) -> None:
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / "workspace").mkdir(parents=True)
            (folder / "workspace").chmod(0o1777)
        except OSError as error:
            raise SandboxError(
                f"{folder}: the folder for a large workspace cannot be made: {error}"
            ) from error

    def sweep(self) -> None:
        """Remove the folders of owners that have died."""
        if self._root.is_dir():
            for folder in self._root.iterdir():
                if self._ownership.has_died(folder.name.rpartition("-")[0]):
                    remove_tree(folder)


async def watch(folder: Path, limit: int, stop: Callable[[], Awaitable[None]]) -> None:
    """Call `stop` once a folder takes more bytes than `limit`, or its disk is nearly full."""
    before = await asyncio.to_thread(shutil.disk_usage, folder)
    while True:
        free = (await asyncio.to_thread(shutil.disk_usage, folder)).free
        # Counting is slow, and nothing can have exceeded the limit while the disk has lost less.
        lost = before.free - free
        if free < _RESERVE_BYTES or (
            lost > limit and await asyncio.to_thread(folder_bytes, folder, limit) > limit
        ):
            await stop()
            return
        await asyncio.sleep(_POLL_SECONDS)
