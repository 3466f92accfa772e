"""Preparation: from the needs of snapshots to environments that are approved, built and opened."""

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nodes.dialogue.answers import HumanAnswer, ask
from nodes.dialogue.replies import Unusable
from nodes.environment.need import Need
from nodes.events import EnvironmentReported
from nodes.publish import Publish
from sandbox.base import Sandbox, SandboxError
from sandbox.environment.backend import Environment
from sandbox.environment.environments import Environments
from tools.workspace import Workspace, WorkspaceError

OpenSandbox = Callable[[], Awaitable[Sandbox]]
"""Return the process's sandbox, which the first call opens."""

OpenEnvironments = Callable[[], Awaitable[Environments]]
"""Return the process's environments, which the first call opens."""

_REFUSED = "the environment was not approved"
_MOST_LINES = 200
_EVERY_SECONDS = 0.2  # between pieces of a build's output
_PIECE_CHARACTERS = 8_000


class ConsentStore(Protocol):
    """Remembers what humans agreed to."""

    async def given(self, key: str) -> bool: ...

    async def give(self, key: str, about: Mapping[str, Any] | None = None) -> None: ...


@dataclass(frozen=True)
class Provided:
    """The answer to a need: a sandbox for its tests, with the environment in it, or a problem."""

    need: Need
    sandbox: Sandbox
    environment: Environment | None = None
    problem: str = ""


@dataclass(frozen=True)
class Preparation:
    """Finds, asks for, builds and opens environments. `always` builds without asking."""

    sandbox: OpenSandbox
    environments: OpenEnvironments
    consents: ConsentStore
    always: bool = False

    async def need(self, workspace: Workspace, snapshot: str, place: str, base: Need | None = None) -> Need:
        """Return the need of a snapshot's tests, which is a change's with `base`.

        Raises WorkspaceError, SandboxError.
        """
        need = await Need.find(workspace, await self.environments(), snapshot, place, base)
        for path in await self._venvs(workspace) if need.recipe.needs_approval else ():
            if await self.consents.given(_key(workspace, "venv", str(path))):
                return need.with_venv(path)
        return need

    async def find(self, need: Need) -> Provided | None:
        """Return what is there without a build: the bare sandbox where nothing is needed."""
        if need.is_empty:
            return Provided(need, await self.sandbox())
        environments = await self.environments()
        found = await environments.find(need.recipe)
        return Provided(need, await environments.open(found), found) if found else None

    async def ready(
        self,
        workspace: Workspace,
        needs: Sequence[Need],
        publish: Publish,
        yes: bool,
        bases: Sequence[Need] = (),
    ) -> list[Provided]:
        """Return what each need came to. `yes` approves every build.

        Interrupts the run once, for all that a human must approve. With `bases`, the needs beside them are
        those of a change. If they are asked for, the question shows how they differ from the base's.
        """
        found = [await self.find(need) for need in needs]
        missing = [need for need, ready in zip(needs, found, strict=True) if ready is None]
        asked = {} if self.always or yes else await self._unapproved(workspace, missing, bases)
        answer = HumanAnswer(decision="approve")
        if asked:
            question = await self._question(workspace, list(asked.values()), bases)
            answer = ask(question, lambda answer: _checked(answer, question["at_hand"]))
        venv = await self._chosen(workspace, answer)
        refusal = f"{_REFUSED}: {answer.reason}" if answer.reason else _REFUSED
        if venv:
            key = _key(workspace, "venv", str(venv))
            await self.consents.give(key, _about(workspace, [f"use {venv}"], answer))
        elif answer.decision == "approve":
            for key, need in asked.items():
                await self.consents.give(key, _about(workspace, need.recipe.shown_commands, answer))
        outcomes = []
        # One after the other: builds use several processors each, and their output should not mix.
        for need, ready in zip(needs, found, strict=True):
            if ready is None and answer.decision == "reject" and need.recipe.needs_approval:
                ready = await self._failed(need, refusal, publish)
            elif ready is None:
                chosen = need.with_venv(venv) if venv else need
                ready = await self._made(workspace, chosen, publish)
            outcomes.append(ready)
        return outcomes

    async def renew(self, workspace: Workspace, need: Need, lock: str, publish: Publish) -> str:
        """Return the text of a lock that the commands of a need have renewed.

        Raises SandboxError, WorkspaceError.
        """
        environments, folder = await self.environments(), need.recipe.folder
        commands = list(need.recipe.commands)
        publish(EnvironmentReported(status="building", folder=folder, commands=commands))
        output, began = _Pieces(publish, folder), time.monotonic()
        try:
            paths = await asyncio.to_thread(workspace.files, need.snapshot)
            files = need.archive(workspace.path)
            text = await environments.renew(need.recipe, files, paths, lock, output.add)
        except SandboxError as error:
            publish(EnvironmentReported(status="failed", folder=folder, text=str(error)))
            raise
        finally:
            output.flush()
        seconds = round(time.monotonic() - began, 1)
        publish(EnvironmentReported(status="ready", folder=folder, seconds=seconds))
        return text

    async def unapproved(
        self, workspace: Workspace, needs: Sequence[Need], bases: Sequence[Need]
    ) -> list[Need]:
        """Return the needs that are neither built nor approved. With `always`, there are none."""
        missing = [] if self.always else [need for need in needs if not await self.find(need)]
        return list((await self._unapproved(workspace, missing, bases)).values())

    async def _unapproved(
        self, workspace: Workspace, needs: Sequence[Need], bases: Sequence[Need]
    ) -> dict[str, Need]:
        keys = {}
        for need in needs:
            recipe = need.recipe
            # The commands of a change can be the base's own and yet install what nobody has agreed to.
            inputs = recipe.inputs if bases and need not in bases else ""
            if recipe.needs_approval and not recipe.fatal:
                keys[_key(workspace, recipe.folder, *recipe.shown_commands, inputs)] = need
        return {key: need for key, need in keys.items() if not await self.consents.given(key)}

    async def _question(
        self, workspace: Workspace, needs: Sequence[Need], bases: Sequence[Need]
    ) -> dict[str, Any]:
        recipes = [need.recipe for need in needs]
        question: dict[str, Any] = {"kind": "environment"}
        question["commands"] = [line for recipe in recipes for line in recipe.shown_commands]
        for name in ("sources", "reasons", "packages"):
            values = (value for recipe in recipes for value in getattr(recipe, name))
            question[name] = list(dict.fromkeys(values))
        venvs = [] if bases else await self._venvs(workspace)
        question["at_hand"] = [_shown(path, workspace.path) for path in venvs]
        if bases and (changed := [need for need in needs if need not in bases]):
            paths = question["sources"]
            diff = await asyncio.to_thread(workspace.diff, bases[0].snapshot, changed[0].snapshot, paths)
            question["difference"] = diff.splitlines()[:_MOST_LINES]
        return question

    async def _venvs(self, workspace: Workspace) -> list[Path]:
        environments = await self.environments()
        return list(await asyncio.to_thread(environments.venvs_at_hand, workspace.path))

    async def _chosen(self, workspace: Workspace, answer: HumanAnswer) -> Path | None:
        """Return the virtual environment that an answer chose."""
        if answer.decision != "edit":
            return None
        name = str((answer.params or {}).get("venv", ""))
        venvs = await self._venvs(workspace)
        return next((path for path in venvs if name in (str(path), _shown(path, workspace.path))), None)

    async def _made(self, workspace: Workspace, need: Need, publish: Publish) -> Provided:
        """Build and open an environment."""
        environments, recipe = await self.environments(), need.recipe
        commands = list(recipe.shown_commands)
        publish(EnvironmentReported(status="building", folder=recipe.folder, commands=commands))
        output = _Pieces(publish, recipe.folder)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            paths = await asyncio.to_thread(workspace.files, need.snapshot)
            files = need.archive(workspace.path)
            environment = await environments.build(recipe, files, paths, output.add)
            sandbox = await environments.open(environment)
        except (SandboxError, WorkspaceError) as error:
            return await self._failed(need, str(error), publish)
        finally:
            output.flush()
        seconds = round(loop.time() - began, 1)
        publish(
            EnvironmentReported(status="ready", folder=recipe.folder, key=environment.key, seconds=seconds)
        )
        return Provided(need, sandbox, environment)

    async def _failed(self, need: Need, problem: str, publish: Publish) -> Provided:
        publish(EnvironmentReported(status="failed", folder=need.recipe.folder, text=problem))
        return Provided(need, await self.sandbox(), problem=problem)


def _checked(answer: HumanAnswer, at_hand: Sequence[str]) -> HumanAnswer:
    """Return an answer that chooses nothing but what is at hand. Raises Unusable."""
    if answer.decision == "edit" and (answer.params or {}).get("venv") not in at_hand:
        raise Unusable(f'An edit needs params {{"venv": …}}, one of: {at_hand}.')
    return answer


def _key(workspace: Workspace, *parts: str) -> str:
    """Return the key of a consent, which holds for one repository."""
    # A clone elsewhere may hold other code behind the same commands, so it is asked about by itself.
    return hashlib.sha256(json.dumps([os.path.realpath(workspace.path), *parts]).encode()).hexdigest()


def _about(workspace: Workspace, commands: Sequence[str], answer: HumanAnswer) -> dict[str, Any]:
    """Return what a consent covers and who gave it, for people who may revoke it."""
    about = {"kind": "environment", "repository": str(workspace.path), "commands": list(commands)}
    return about | answer.answerer()


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


class _Pieces:
    """A build's output, published in pieces of about a screen."""

    def __init__(self, publish: Publish, folder: str) -> None:
        self._publish = publish
        self._folder = folder
        self._text = ""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, text: str) -> None:
        self._text += text
        if len(self._text) > _PIECE_CHARACTERS:
            self.flush()
        elif self._timer is None:  # the next output may be minutes away
            self._timer = asyncio.get_running_loop().call_later(_EVERY_SECONDS, self.flush)

    def flush(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._text:
            self._publish(EnvironmentReported(status="output", folder=self._folder, text=self._text))
            self._text = ""
