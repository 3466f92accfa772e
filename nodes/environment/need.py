"""The need of a snapshot: the recipe for its tests, and the files that it takes from the checkout."""

import asyncio
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from sandbox.environment.environments import Environments
from sandbox.environment.recipe import Recipe
from tools.workspace import Workspace, archive
from tools.workspace.checkout import CheckoutFile, ignored_modules, read_checkout

_MOST_BYTES = 8 * 2**20  # a lock file can be large


@dataclass(frozen=True)
class Need:
    """One recipe at one snapshot. An empty recipe needs nothing beyond the bare sandbox.

    `left_out` are files of the checkout that a change asks for and does not get.
    """

    snapshot: str
    recipe: Recipe
    files: tuple[CheckoutFile, ...] = ()
    left_out: tuple[str, ...] = ()

    @classmethod
    async def find(
        cls,
        workspace: Workspace,
        environments: Environments,
        snapshot: str,
        place: str,
        base: "Need | None" = None,
    ) -> "Need":
        """Return the need of the package that holds `place`, a path whose suffix tells the language.

        With `base`, the need is a change's. A model must not choose which of the user's ignored files it gets
        to see, so only those of the base are taken. Raises WorkspaceError when they cannot be taken.
        """
        version, texts = await asyncio.to_thread(workspace.version, snapshot), Texts(workspace, snapshot)
        recipes = await environments.recipes(texts, [place], version)
        recipe = recipes[0] if recipes else Recipe()
        # A build runs code that no declaration names, so what another clone has built is not believed.
        store = await asyncio.to_thread(workspace.store.resolve)
        recipe = replace(recipe, repository=str(store))
        if recipe.venv:  # declared, relative to the repository's root
            recipe = recipe.with_venv(workspace.path / recipe.venv)
        if place.endswith(".py"):
            ignored = await asyncio.to_thread(ignored_modules, workspace.path, texts)
            recipe = replace(recipe, files=tuple(dict.fromkeys((*recipe.files, *ignored))))
        left_out: tuple[str, ...] = ()
        if base:
            kept = tuple(name for name in recipe.files if name in base.recipe.files)
            others = (name for name in recipe.files if name not in kept)
            left_out = tuple(await asyncio.to_thread(_present, workspace.path, others))
            recipe = replace(recipe, files=kept)
        if not recipe.files:
            return cls(snapshot, recipe, left_out=left_out)
        files = tuple(await asyncio.to_thread(read_checkout, workspace.path, recipe.files))
        content = hashlib.sha256(b"".join(file.member for file in files)).hexdigest()
        return cls(snapshot, recipe.with_files_content(content, _found(recipe.files, files)), files, left_out)

    def with_venv(self, path: Path) -> "Need":
        """Return the need that a virtual environment of the user's meets as it is."""
        return replace(self, recipe=self.recipe.with_venv(path))

    @property
    def is_empty(self) -> bool:
        """True if the tests need nothing that the bare sandbox lacks."""
        return not (self.recipe.needs_build or self.recipe.fatal)

    def archive(self, path: Path) -> Iterator[bytes]:
        """Yield the snapshot of the repository at `path`, with the checkout's files, as a tar stream."""
        yield from (file.member for file in self.files)
        yield from archive(path, self.snapshot)


def _present(root: Path, names: Iterable[str]) -> list[str]:
    return [name for name in names if os.path.lexists(root / name)]


def _found(names: Sequence[str], files: Sequence[CheckoutFile]) -> list[str]:
    """Return the names, of files or folders, that the checkout has."""
    return [name for name in names if any(f"{file.path}/".startswith(f"{name}/") for file in files)]


class Texts(Mapping[str, str]):
    """The texts of a snapshot's files by path, read when they are asked for. Binary files are empty."""

    def __init__(self, workspace: Workspace, snapshot: str) -> None:
        self._workspace = workspace
        self._snapshot = snapshot
        self._read: dict[str, str] = {}

    @cached_property
    def _sizes(self) -> dict[str, int]:
        return self._workspace.files(self._snapshot)

    def __getitem__(self, path: str) -> str:
        if path not in self._read:
            small = self._sizes[path] <= _MOST_BYTES
            self._read[path] = (self._workspace.text(self._snapshot, path) or "") if small else ""
        return self._read[path]

    def __contains__(self, path: object) -> bool:
        return path in self._sizes  # Mapping's own would read the text

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)


def missing(problem: str) -> str:
    """Return what is said about a run whose environment is not there, for the problem's first line."""
    return f"the environment is missing: {problem.partition(chr(10))[0].rstrip('.')}"
