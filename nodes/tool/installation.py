"""pip_install and pip_uninstall: they edit the declaration, and build the environment that it asks for."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from nodes.check.execution.package_sandboxes import PackageSandboxes
from nodes.check.suites.config import NoSuite
from nodes.environment.need import Need, Texts
from nodes.environment.preparation import Preparation
from nodes.publish import Publish
from nodes.state import BranchInput
from sandbox.base import SandboxError
from sandbox.environment.detection.sources import join
from tools.catalogue import OutsideResult, PlanTool, ToolOutput
from tools.catalogue.python_tools import PipInstall, PipUninstall
from tools.declaration import DeclarationError, Declared, declare
from tools.workspace import Workspace

PIP_TOOLS = (PipInstall, PipUninstall)

UNSEEN = (
    "earlier steps changed what the environment is made from ({sources}), and nobody has approved that. "
    "The build runs, with network: {commands}"
)
AS_IT_IS = (
    "the tests run in {venv}, which is used as it is and never changed. Install the packages there yourself, "
    "or withdraw that approval (autocode approvals) so that an environment is built"
)
_MAKE_VENV = ("uv python install ", "uv venv ")
_MOST_LINES = 200


@dataclass(frozen=True)
class Installation:
    """Changes what a run's tests need. ENVIRONMENT_TIMEOUT limits the build."""

    preparation: Preparation

    async def unseen(self, call: PlanTool, workspace: Workspace, state: BranchInput) -> str:
        """Return what a build for this call would run that nobody has approved, empty without such.

        Earlier steps may have edited the declarations, which no rule or answer about a package covers.
        """
        if not isinstance(call, PIP_TOOLS) or state["head"] == state["base"]:
            return ""
        try:
            needs = await PackageSandboxes.unapproved(
                self.preparation, workspace, state["base"], state["head"]
            )
        except NoSuite:  # the call itself will say it
            return ""
        sources = dict.fromkeys(source for need in needs for source in need.recipe.sources)
        commands = [command for need in needs for command in need.recipe.shown_commands]
        return UNSEEN.format(sources=", ".join(sources), commands="; ".join(commands)) if needs else ""

    async def preview(self, call: PlanTool, workspace: Workspace, head: str) -> dict[str, Any]:
        """Return what a question shows of a call: the lines of the declaration, and the lock to renew.

        Raises DeclarationError for a call that cannot be carried out.
        """
        if not isinstance(call, PIP_TOOLS):
            return {}
        declared = await asyncio.to_thread(_declared, call, workspace, head)
        snapshot = await asyncio.to_thread(workspace.write, head, {declared.path: declared.text}, call.name)
        diff = await asyncio.to_thread(workspace.diff, head, snapshot, [declared.path])
        shown: dict[str, Any] = {"difference": diff.splitlines()[:_MOST_LINES]}
        if declared.renewal and diff:
            shown["renewal"] = f"{declared.renewal.path}: {declared.renewal.with_python('')}"
        return shown

    async def run(
        self, call: PlanTool, workspace: Workspace, state: BranchInput, publish: Publish
    ) -> OutsideResult:
        """Return the snapshot with the new declaration, once its environment is there."""
        head = state["head"]
        if problem := state.get("without_environment"):
            return _failed(f"the run goes on without its environment: {problem}", head)
        try:
            declared = await asyncio.to_thread(_declared, call, workspace, head)
            snapshot = await self._changed(call, declared, workspace, state, publish)
            if snapshot == head:
                has = "declares this already" if isinstance(call, PipInstall) else "does not declare this"
                return OutsideResult(ToolOutput(stdout=f"{declared.path} {has}\n"), head)
            sandboxes = await PackageSandboxes.prepare(
                self.preparation, workspace, state["base"], snapshot, publish, yes=True
            )
        except (DeclarationError, NoSuite, SandboxError) as error:
            return _failed(str(error), head)
        if missing := next((each.missing for each in sandboxes if each.missing), ""):
            return _failed(missing, head)
        return OutsideResult(await asyncio.to_thread(_told, declared, workspace, head, snapshot), snapshot)

    async def _changed(
        self, call: PlanTool, declared: Declared, workspace: Workspace, state: BranchInput, publish: Publish
    ) -> str:
        """Return the snapshot with the declaration and its lock. Raises DeclarationError, SandboxError."""
        head, title = state["head"], f"{call.name} {' '.join(call.subjects())}"
        files = {declared.path: declared.text}
        snapshot = await asyncio.to_thread(workspace.write, head, files, title)
        if snapshot == head:
            return head
        place = join(declared.folder, "any.py")
        base = await self.preparation.need(workspace, state["base"], place)
        need = await self.preparation.need(workspace, snapshot, place, base)
        if need.recipe.venv:
            raise DeclarationError(AS_IT_IS.format(venv=need.recipe.venv))
        if declared.renewal is None:
            return snapshot
        renewing = _renewing(need, declared)
        text = await self.preparation.renew(workspace, renewing, declared.renewal.path, publish)
        files |= {declared.renewal.path: declared.renewal.result(text)}
        return await asyncio.to_thread(workspace.write, head, files, title)


def _declared(call: PlanTool, workspace: Workspace, head: str) -> Declared:
    """Return the declaration that a call makes of the one at `head`. Blocks. Raises DeclarationError."""
    add = call.packages if isinstance(call, PipInstall) else []
    remove = call.subjects() if isinstance(call, PipUninstall) else []
    folder = call.folder if isinstance(call, PIP_TOOLS) else None
    return declare(Texts(workspace, head), add, remove, folder)


def _renewing(need: Need, declared: Declared) -> Need:
    """Return a need whose commands renew the lock, in an environment that holds nothing but Python."""
    recipe, renewal = need.recipe, declared.renewal
    command = renewal.with_python(recipe.python) if renewal else ""
    before = [line for line in recipe.commands if line.startswith(_MAKE_VENV)]
    return replace(need, recipe=replace(recipe, folder=declared.folder, commands=(*before, command)))


def _told(declared: Declared, workspace: Workspace, head: str, snapshot: str) -> ToolOutput:
    """Return the lines that differ, of a lock the counts alone. Blocks."""
    lines = [f"{declared.path} is changed, and the environment is built\n"]
    if declared.renewal and declared.renewal.path != declared.path:
        changes = (each for each in workspace.changes(head, snapshot) if each.path == declared.renewal.path)
        lines += [f"{each.path} is renewed: +{each.added} -{each.removed} lines\n" for each in changes]
    hunks = workspace.diff(head, snapshot, [declared.path]).partition("\n@@")[2]
    lines += [line for line in hunks.splitlines(keepends=True) if line[0] in "+-"]
    return ToolOutput(stdout="".join(lines))


def _failed(reason: str, head: str) -> OutsideResult:
    return OutsideResult(ToolOutput(stderr=f"{reason}\n", returncode=1), head)
