"""The need of a snapshot: the recipe for its tests, and the files that it takes from the checkout."""

import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from sandbox.environment.environments import Environments
from sandbox.environment.recipe import Recipe
from tools.workspace import Workspace
from tools.workspace.checkout import CheckoutFile, ignored_modules, read_checkout

MISSING = "the environment is missing"
"""The first words of what is said about a run whose environment is not there."""

_MOST_BYTES = 8 * 2**20  # a lock file can be large


@dataclass(frozen=True)
class Need:
    """One recipe at one snapshot. An empty recipe needs nothing beyond the bare sandbox."""

    snapshot: str
    recipe: Recipe
    files: tuple[CheckoutFile, ...] = ()

    @classmethod
    async def find(
        cls, workspace: Workspace, environments: Environments, snapshot: str, place: str
    ) -> "Need":
        """Return the need of the package that holds `place`, a path whose suffix tells the language.

        Raises WorkspaceError when files of the checkout cannot be taken.
        """
        version, texts = await asyncio.to_thread(workspace.version, snapshot), Texts(workspace, snapshot)
        recipes = await environments.recipes(texts, [place], version)
        recipe = recipes[0] if recipes else Recipe()
        if recipe.venv:  # declared, relative to the repository's root
            return cls(snapshot, recipe.with_venv(workspace.path / recipe.venv))
        if place.endswith(".py"):
            ignored = await asyncio.to_thread(ignored_modules, workspace.path, texts)
            recipe = replace(recipe, files=tuple(dict.fromkeys((*recipe.files, *ignored))))
        if not recipe.files:
            return cls(snapshot, recipe)
        files = tuple(await asyncio.to_thread(read_checkout, workspace.path, recipe.files))
        content = hashlib.sha256(b"".join(file.member for file in files)).hexdigest()
        return cls(snapshot, recipe.with_files_content(content, _found(recipe.files, files)), files)

    def with_venv(self, path: Path) -> "Need":
        """Return the need that a virtual environment of the user's meets as it is."""
        return Need(self.snapshot, self.recipe.with_venv(path), self.files)

    @property
    def is_empty(self) -> bool:
        """True if the tests need nothing that the bare sandbox lacks."""
        return not (self.recipe.needs_build or self.recipe.fatal)

    def archive(self, path: Path) -> Iterator[bytes]:
        """Yield the snapshot of the repository at `path`, with the checkout's files, as a tar stream."""
        yield from (file.member for file in self.files)
        # libgit2's repositories are not for several threads, and the sandbox reads in a thread of its choice.
        yield from Workspace.open(path).tar(self.snapshot)


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

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)
