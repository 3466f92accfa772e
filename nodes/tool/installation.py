"""pip_install and pip_uninstall: they edit the declaration, and build the environment that it asks for."""

import asyncio
from dataclasses import dataclass

from nodes.check.execution.package_sandboxes import PackageSandboxes
from nodes.check.suites.config import NoSuite
from nodes.environment.preparation import Preparation
from nodes.publish import Publish
from nodes.state import BranchInput
from tools.catalogue import OutsideResult, PlanTool, ToolOutput
from tools.catalogue.declaration import DeclarationError, declare
from tools.catalogue.python_tools import PipInstall, PipUninstall
from tools.workspace import Workspace

PIP_TOOLS = (PipInstall, PipUninstall)

UNSEEN = (
    "earlier steps changed what the environment is made from ({sources}), and nobody has approved that. "
    "The build runs, with network: {commands}"
)


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

    async def run(
        self, call: PlanTool, workspace: Workspace, state: BranchInput, publish: Publish
    ) -> OutsideResult:
        """Return the snapshot with the new declaration, once its environment is there."""
        head = state["head"]
        if problem := state.get("without_environment"):
            return _failed(f"the run goes on without its environment: {problem}", head)
        try:
            path, snapshot = await asyncio.to_thread(_declared, call, workspace, head)
            if snapshot == head:
                return OutsideResult(ToolOutput(stdout=f"{path} declares this already\n"), head)
            sandboxes = await PackageSandboxes.prepare(
                self.preparation, workspace, state["base"], snapshot, publish, yes=True
            )
        except (DeclarationError, NoSuite) as error:
            return _failed(str(error), head)
        if missing := next((each.missing for each in sandboxes if each.missing), ""):
            return _failed(missing, head)
        diff = await asyncio.to_thread(workspace.diff, head, snapshot, [path])
        return OutsideResult(
            ToolOutput(stdout=f"{path} is changed, and the environment is built\n{diff}"), snapshot
        )


def _declared(call: PlanTool, workspace: Workspace, head: str) -> tuple[str, str]:
    """Return the path of the declaration, and the snapshot with its new text. Blocks."""
    add = call.packages if isinstance(call, PipInstall) else []
    remove = call.subjects() if isinstance(call, PipUninstall) else []
    path, text = declare(lambda path: workspace.text(head, path), add, remove)
    return path, workspace.write(head, {path: text}, f"{call.name} {' '.join(call.subjects())}")


def _failed(reason: str, head: str) -> OutsideResult:
    return OutsideResult(ToolOutput(stderr=f"{reason}\n", returncode=1), head)
