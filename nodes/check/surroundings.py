"""The surroundings of a check: the sandboxes that base and change run in, each with its environment."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from nodes.check.suite import recognise
from nodes.environment.need import Need
from nodes.environment.preparation import Preparation, Ready
from nodes.proof import EnvironmentProof
from nodes.publish import Publish
from sandbox.base import Sandbox
from tools.workspace import Workspace

_NOT_BUILT = "it is not built here. A run on this repository builds it, once you approve"


@dataclass(frozen=True)
class Surroundings:
    """One sandbox for both sides, unless the change alters what its environment is made from.

    The change's own tests run on the base in the change's environment, so that they fail for the code alone.
    `missing` says why an environment that the tests need is not there.
    """

    base: Sandbox
    change: Sandbox
    environments: tuple[EnvironmentProof, ...] = ()
    missing: str = ""

    @classmethod
    def bare(cls, sandbox: Sandbox, missing: str = "") -> Self:
        """Return the surroundings without any environment."""
        return cls(sandbox, sandbox, missing=missing)

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
    ) -> Self:
        """Prepare both environments. `without` is the problem that the run goes on with, empty without one.

        Raises NoSuite. May interrupt the run for an approval.
        """
        if without:
            return cls.bare(await preparation.sandbox(), without)
        old, new = await _needs(preparation, workspace, base, head)
        if new.recipe.digest == old.recipe.digest:
            (both,) = await preparation.ready(workspace, [old], publish, yes)
            return cls(both.sandbox, both.sandbox, tuple(_named(both)), both.problem)
        # One call for both, because a node must not ask twice: a resume tells answers apart by their order.
        before, after = await preparation.ready(workspace, [old, new], publish, yes, old)
        named = (*_named(before, "base"), *_named(after, "change"))
        sandbox = before.sandbox if after.problem else after.sandbox
        return cls(before.sandbox, sandbox, named, before.problem or after.problem)

    @classmethod
    async def find(cls, preparation: Preparation, workspace: Workspace, base: str, head: str) -> Self:
        """Return surroundings from what is built already. What is not there is missing."""
        old, new = await _needs(preparation, workspace, base, head)
        same = new.recipe.digest == old.recipe.digest
        before = await preparation.find(old)
        after = before if same else await preparation.find(new)
        if before is None or after is None:
            return cls.bare(await preparation.sandbox(), _NOT_BUILT)
        if same:
            return cls(before.sandbox, before.sandbox, tuple(_named(before)))
        return cls(before.sandbox, after.sandbox, (*_named(before, "base"), *_named(after, "change")))


async def _needs(preparation: Preparation, workspace: Workspace, base: str, head: str) -> tuple[Need, Need]:
    place = (await asyncio.to_thread(recognise, workspace, base)).place
    return await preparation.need(workspace, base, place), await preparation.need(workspace, head, place)


def _named(ready: Ready, side: str = "base and change") -> Iterator[EnvironmentProof]:
    if ready.environment:
        recipe = ready.need.recipe
        values = {"folder": recipe.folder, "sources": recipe.sources, "commands": recipe.shown_commands}
        yield EnvironmentProof.model_validate({"key": ready.environment.key, "side": side, **values})
