"""The sandboxes that both sides of a package run in, each with its environment."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from nodes.check.suites.reach import Reach
from nodes.check.suites.suite import recognise
from nodes.environment.need import Need
from nodes.environment.preparation import Preparation, Provided
from nodes.events import ErrorReported
from nodes.proof import EnvironmentProof
from nodes.publish import Publish
from sandbox.base import Sandbox
from tools.workspace import Workspace
from tools.workspace.package import open_package

_LEFT_OUT = (
    "the change asks for files of your checkout that git ignores or lacks, and does not get them: {names}. "
    "Commit `files` under [environment] in .autocode.toml first, if its tests may read them"
)
_NOT_BUILT = "it is not built here. A run on this repository builds it, once you approve"


@dataclass(frozen=True)
class PackageSandboxes:
    """One sandbox for both sides of a package, unless the change alters what its environment is made from.

    The change's own tests run on the base in the change's environment, so that they fail for the code alone.
    `folder` is empty for the root. `missing` says why an environment that the tests need is not there.
    `is_dependent` is true for a package that the change does not edit, and that depends on one that it edits.
    """

    base: Sandbox
    change: Sandbox
    folder: str = ""
    environments: tuple[EnvironmentProof, ...] = ()
    missing: str = ""
    is_dependent: bool = False

    @classmethod
    def bare(cls, sandbox: Sandbox, folder: str = "", missing: str = "", is_dependent: bool = False) -> Self:
        """Return the bare sandbox for both sides."""
        return cls(sandbox, sandbox, folder, missing=missing, is_dependent=is_dependent)

    @classmethod
    async def prepare(
        cls,
        preparation: Preparation,
        workspace: Workspace,
        base: str,
        head: str,
        publish: Publish,
        yes: bool,
        without: str = "",
    ) -> list[Self]:
        """Prepare the environments of the packages that a change concerns.

        `without` is the problem that the run goes on with, empty without one. Raises NoSuite. May interrupt
        the run for an approval.
        """
        packages = await asyncio.to_thread(packages_of, workspace, base, head)
        if without:
            sandbox = await preparation.sandbox()
            return [cls.bare(sandbox, folder, without, dependent) for folder, dependent in packages.items()]
        sides = [await _needs(preparation, workspace, base, head, folder) for folder in packages]
        needs = [need for old, new in sides for need in (old, *_other(old, new))]
        if left_out := [name for _, new in sides for name in new.left_out]:
            message = _LEFT_OUT.format(names=", ".join(dict.fromkeys(left_out)))
            publish(ErrorReported(message=message, kind="warning"))
        # One call for all, because a node must not ask twice: a resume tells answers apart by their order.
        ready = iter(await preparation.ready(workspace, needs, publish, yes, [old for old, _ in sides]))
        return [
            cls._of(folder, [next(ready) for _ in (old, *_other(old, new))], dependent)
            for (folder, dependent), (old, new) in zip(packages.items(), sides, strict=True)
        ]

    @classmethod
    async def unapproved(
        cls, preparation: Preparation, workspace: Workspace, base: str, head: str
    ) -> list[Need]:
        """Return what a change needs and nobody has approved or built so far. Raises NoSuite."""
        packages = await asyncio.to_thread(packages_of, workspace, base, head)
        sides = [await _needs(preparation, workspace, base, head, folder) for folder in packages]
        needs = [need for old, new in sides for need in _other(old, new)]
        return await preparation.unapproved(workspace, needs, [old for old, _ in sides])

    @classmethod
    async def find(cls, preparation: Preparation, workspace: Workspace, base: str, head: str) -> list[Self]:
        """Return the sandboxes of what is built already. What is not there is missing."""
        found = []
        packages = await asyncio.to_thread(packages_of, workspace, base, head)
        for folder, dependent in packages.items():
            old, new = await _needs(preparation, workspace, base, head, folder)
            ready = [await preparation.find(need) for need in (old, *_other(old, new))]
            there = [each for each in ready if each]
            if len(there) == len(ready):
                found.append(cls._of(folder, there, dependent))
            else:
                found.append(cls.bare(await preparation.sandbox(), folder, _NOT_BUILT, dependent))
        return found

    @classmethod
    def _of(cls, folder: str, ready: Sequence[Provided], is_dependent: bool) -> Self:
        """Return one environment for both sides, or one for each."""
        base, change = ready[0], ready[-1]
        if len(ready) == 1:
            named = tuple(_named(base))
            return cls(base.sandbox, base.sandbox, folder, named, base.problem, is_dependent)
        both = (*_named(base, "base"), *_named(change, "change"))
        # Without its own environment the change still runs, to show what can be seen. It is not verified.
        sandbox = base.sandbox if change.problem else change.sandbox
        return cls(base.sandbox, sandbox, folder, both, base.problem or change.problem, is_dependent)


def packages_of(workspace: Workspace, base: str, head: str) -> dict[str, bool]:
    """Return the folders of the packages that a change concerns, and which only depend on it. Blocks."""
    reach = Reach.of(workspace, base, head)
    return dict.fromkeys(reach.edited, False) | dict.fromkeys(reach.dependents, True)


async def _needs(
    preparation: Preparation, workspace: Workspace, base: str, head: str, folder: str
) -> tuple[Need, Need]:
    place = await asyncio.to_thread(_place_of, workspace, base, folder)
    old = await preparation.need(workspace, base, place)
    return old, await preparation.need(workspace, head, place, old)


async def base_need(preparation: Preparation, workspace: Workspace, base: str, folder: str) -> Need:
    """Return what the base's tests of a package need. Raises NoSuite."""
    return await preparation.need(
        workspace, base, await asyncio.to_thread(_place_of, workspace, base, folder)
    )


def _place_of(workspace: Workspace, base: str, folder: str) -> str:
    """Return a path that stands for the files of a package's suite. Blocks. Raises NoSuite."""
    place = recognise(open_package(workspace.path, folder), base).place
    return f"{folder}/{place}" if folder else place


def _other(old: Need, new: Need) -> tuple[Need, ...]:
    return () if new.recipe.digest == old.recipe.digest else (new,)


def _named(ready: Provided, side: str = "base and change") -> Iterator[EnvironmentProof]:
    if ready.environment:
        recipe = ready.need.recipe
        values = {"folder": recipe.folder, "sources": recipe.sources, "commands": recipe.shown_commands}
        yield EnvironmentProof.model_validate({"key": ready.environment.key, "side": side, **values})
