"""The files of a check's base, unpacked once and shared by its runs, or kept since an earlier one."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Self

from nodes.check.change import CheckedChange
from sandbox.base import Delta, Layer, Limits, OnText, Result, Sandbox
from sandbox.program import Cleanup, retrieve
from tools.workspace import Workspace, WorkspaceError, archive

# Up to these sizes a run unpacks its files sooner than a layer opens. bench/layers.py measures it.
_SMALL_FILES = 300
_SMALL_MEGABYTES = 4

_LOOKED_AT = 20
_FAR = 300
_PATH_BYTES = 20_000  # are unpacked in the time that a path takes


class SharedTree:
    """Runs commands on snapshots of the repository at `path`, which may differ a little from `base`.

    The first run opens the layer. Leaving the context closes it, even while it is being opened.
    """

    def __init__(self, path: Path, sandbox: Sandbox, base: str, limits: Limits, is_small: bool) -> None:
        self._path = path
        self._sandbox = sandbox
        self._base = base
        self._kept = base
        self._limits = limits
        self._is_small = is_small
        self._opening: asyncio.Task[Layer] | None = None
        self._stack = AsyncExitStack()
        self._cleanup = Cleanup()

    @classmethod
    def of(cls, change: CheckedChange, path: Path, sandbox: Sandbox, limits: Limits) -> Self:
        """Share the base of a change. A small base is not shared."""
        is_small = change.file_count <= _SMALL_FILES and change.size >> 20 <= _SMALL_MEGABYTES
        return cls(path, sandbox, change.base, limits, is_small)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cleanup.run(self._close())

    async def run(
        self,
        snapshot: str,
        edits: Mapping[str, str],
        command: Sequence[str],
        limits: Limits,
        on_output: OnText | None = None,
    ) -> Result:
        """Run `command` on a snapshot with other texts of some files."""
        if self._is_small:
            files = archive(self._path, snapshot, None, edits)
            return await self._sandbox.run(files, command, limits, on_output)
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        # One run may be cancelled while others wait for the same layer.
        layer = await asyncio.shield(self._opening)
        delta = await asyncio.to_thread(_delta, self._path, self._kept, snapshot, edits)
        return await layer.run(delta, command, limits, on_output)

    async def _open(self) -> Layer:
        kept = await self._sandbox.kept_layers()
        self._kept = tree = await asyncio.to_thread(_nearest, self._path, self._base, kept)
        layer = self._sandbox.layer(archive(self._path, tree), self._limits, tree)
        return await self._stack.enter_async_context(layer)

    async def _close(self) -> None:
        if self._opening:
            self._opening.cancel()
            await asyncio.wait({self._opening})
            retrieve(self._opening)
        await self._stack.aclose()


def _nearest(path: Path, base: str, kept: Sequence[str]) -> str:
    """Return the kept tree that differs least from `base`, or the tree of `base` itself if none is near."""
    workspace = Workspace.open(path)
    tree = workspace.tree(base)
    if tree in kept:
        return tree
    distances: list[tuple[int, str]] = []
    for other in kept[:_LOOKED_AT]:
        with suppress(WorkspaceError):  # most trees are those of other repositories
            distances.append((_distance(workspace, other, base), other))
    distance, nearest = min(distances, default=(_FAR, tree))
    return nearest if distance < _FAR else tree


def _distance(workspace: Workspace, tree: str, base: str) -> int:
    """Return the paths to change, and as many more as their content takes time to unpack."""
    removed, added = workspace.difference(tree, base)
    if len(removed) + len(added) >= _FAR:
        return _FAR
    return len(removed) + len(added) + sum(workspace.size(base, path) or 0 for path in added) // _PATH_BYTES


def _delta(path: Path, base: str, snapshot: str, edits: Mapping[str, str]) -> Delta:
    removed, added = Workspace.open(path).difference(base, snapshot)
    files = archive(path, snapshot, added, edits) if added or edits else None
    return Delta(tuple(removed), files)
