"""A package of a repository, seen as if its folder were the root."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import pygit2

from tools.workspace.workspace import Workspace

Value = TypeVar("Value")


class PackageView(Workspace):
    """A workspace whose files are those below a folder. Their paths are relative to it.

    `tar`, `room` and `difference` are those of the repository, and so is all that concerns refs and the
    user's checkout.
    """

    def __init__(self, whole: Workspace, folder: str) -> None:
        # The parts of a workspace are its own attributes, and a view shares them all.
        self.__dict__.update(vars(whole))
        self.folder = folder
        self._below = f"{folder}/"

    def files(self, snapshot: str) -> dict[str, int]:
        return self._inside(super().files(snapshot))

    def _regular(self, snapshot: str) -> Mapping[str, pygit2.Oid]:
        return self._inside(super()._regular(snapshot))

    def _inside(self, files: Mapping[str, Value]) -> dict[str, Value]:
        below = self._below
        return {path.removeprefix(below): files[path] for path in files if path.startswith(below)}

    def read(self, snapshot: str, path: str) -> bytes | None:
        return super().read(snapshot, self._below + path)

    def size(self, snapshot: str, path: str) -> int | None:
        return super().size(snapshot, self._below + path)

    def is_executable(self, snapshot: str, path: str) -> bool:
        return super().is_executable(snapshot, self._below + path)

    def write(
        self,
        snapshot: str,
        changes: Mapping[str, str | bytes | None],
        message: str,
        modes: Mapping[str, int] | None = None,
    ) -> str:
        below = {self._below + path: content for path, content in changes.items()}
        return super().write(
            snapshot, below, message, {self._below + path: mode for path, mode in (modes or {}).items()}
        )

    def _patches(self, base: str, head: str) -> list[tuple[str, pygit2.Patch]]:
        return [
            (path.removeprefix(self._below), patch)
            for path, patch in super()._patches(base, head)
            if path.startswith(self._below)
        ]


def open_package(path: Path, folder: str) -> Workspace:
    """Open the repository at `path`, and in it the package in `folder`, which is empty for the root."""
    whole = Workspace.open(path)
    return PackageView(whole, folder) if folder else whole
