"""The execution of a tool: on snapshots, in a session of the sandbox, or outside."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from nodes.agent.agents import Agents
from nodes.agent.kept_changes import keep_changes, leaves_out
from nodes.publish import Publish
from nodes.repository import open_workspace
from nodes.state import BranchInput
from nodes.tool.installation import PIP_TOOLS, Installation
from sandbox.base import Limits, Result, SandboxError
from sandbox.script import ENVIRONMENT
from tools.catalogue import OutsidePlace, OutsideResult, OutsideWork, PlanTool, ToolOutput
from tools.catalogue.file_tools import EnvList
from tools.catalogue.git_tools import GitCommit
from tools.catalogue.mcp_call import McpCall
from tools.catalogue.snapshot_git import SNAPSHOT_TOOLS, run_on_snapshots
from tools.mcp import McpTools
from tools.workspace import PathError, Workspace, WorkspaceError, archive

TIMEOUT = "TOOL_EXECUTOR_TIMEOUT"
FAILED = 1
"""The returncode of a tool that did not run."""

_GRACE = 3.0
_TOO_LONG = "[the output was too long, and its rest was dropped]\n"
_SHOWN_VARIABLES = frozenset((*ENVIRONMENT, "PATH"))


@dataclass(frozen=True)
class ToolRun:
    """The result of a tool. `snapshot` holds the files after it. `message` is that of a git_commit."""

    output: ToolOutput
    snapshot: str
    message: str = ""


@dataclass(frozen=True)
class ToolExecution:
    """Carries out calls. `seconds` limit each. `outside` has the tools that reach a network or a remote.

    `mcp` calls the tools of MCP servers, whatever effect the user has declared.
    """

    agents: Agents
    seconds: float = 30.0
    outside: Mapping[str, OutsideWork] = field(default_factory=dict)
    mcp: McpTools = field(default_factory=McpTools)

    async def run(
        self, call: PlanTool, state: BranchInput, thread: str, approved: bool, publish: Publish
    ) -> ToolRun:
        """Carry out a call on the run's files. What goes wrong is in the output."""
        workspace, base, head = await open_workspace(state), state["base"], state["head"]
        try:
            if isinstance(call, SNAPSHOT_TOOLS):
                async with asyncio.timeout(self.seconds):
                    output = await asyncio.to_thread(run_on_snapshots, call, workspace, base, head)
                message = call.message if isinstance(call, GitCommit) else ""
                return ToolRun(_cut(output), head, message)
            if isinstance(call, PIP_TOOLS):
                installation = Installation(self.agents.preparation)
                result = await installation.run(call, workspace, state, publish)
                return ToolRun(result.output, result.snapshot)
            if call.effect == "outside" or isinstance(call, McpCall):
                place = OutsidePlace(workspace, thread, base, head, self.seconds, approved)
                result = await self._outside(call, place)
                return ToolRun(result.output, result.snapshot)
            return await self._in_session(call, workspace, state)
        except TimeoutError:
            reason = f"[ended after {self.seconds:g} s, which is {TIMEOUT}]\n"
            return ToolRun(ToolOutput(stderr=reason, returncode=FAILED), head)
        except (SandboxError, WorkspaceError, PathError) as error:
            return ToolRun(ToolOutput(stderr=f"{error}\n", returncode=FAILED), head)

    async def _outside(self, call: PlanTool, place: OutsidePlace) -> OutsideResult:
        work = self.mcp if isinstance(call, McpCall) else self.outside.get(call.name)
        if work is None:
            output = ToolOutput(stderr=f"{call.name} is not available here\n", returncode=FAILED)
            return OutsideResult(output, place.head)
        try:
            # The tool's own limit says more about the cause, so it comes first.
            async with asyncio.timeout(self.seconds + _GRACE):
                return await work(call, place)
        except TimeoutError:
            reason = f"{call.name} ended after {self.seconds:g} s ({TIMEOUT}); raise it, or try again later\n"
            return OutsideResult(ToolOutput(stderr=reason, returncode=FAILED), place.head)

    async def _in_session(self, call: PlanTool, workspace: Workspace, state: BranchInput) -> ToolRun:
        """Run a command on the files. Only a sandboxed tool may change them."""
        head = state["head"]
        sandbox, limits = await self.agents.place(workspace, state, head, [])
        limits = replace(limits, seconds=self.seconds)
        files = archive(workspace.path, head)
        async with sandbox.session(files, limits, workspace.tree(head)) as session:
            result = await session.run(list(call.arguments()))
            output = _output(call, result, limits)
            # Programs that only read may leave caches behind.
            if call.effect == "read":
                return ToolRun(output, head)
            leave_out = await asyncio.to_thread(leaves_out, workspace, head)
            changes = await session.changes(leave_out)
        title = f"{call.name} {state['step']['id']}"
        kept = await asyncio.to_thread(keep_changes, workspace, head, changes, title)
        notes = "".join(f"[not kept: {reason}]\n" for reason in kept.left_out)
        return ToolRun(output.model_copy(update={"stderr": output.stderr + notes}), kept.snapshot)


def _output(call: PlanTool, result: Result, limits: Limits) -> ToolOutput:
    """Return the output of a command, with the reason if the sandbox ended it."""
    stdout, notes = result.stdout, []
    if isinstance(call, EnvList):
        stdout = "".join(f"{_variable(line)}\n" for line in stdout.split("\0") if line)
    if result.timed_out:
        notes.append(f"[ended after {limits.seconds:g} s, which is {TIMEOUT}]\n")
    if result.out_of_memory:
        notes.append(f"[ended for want of memory: {limits.memory_mb} MB is the most]\n")
    if result.truncated:
        notes.append(_TOO_LONG)
    return ToolOutput(stdout=stdout, stderr=result.stderr + "".join(notes), returncode=result.exit_code)


def _cut(output: ToolOutput) -> ToolOutput:
    """Return an output of no more than a program may print. The log keeps it whole."""
    most = Limits().output_bytes
    if len(output.stdout) <= most:
        return output
    return output.model_copy(update={"stdout": output.stdout[:most], "stderr": output.stderr + _TOO_LONG})


def _variable(line: str) -> str:
    """Return a variable with its value if the sandbox itself has set it, else its name alone."""
    name, sign, value = line.partition("=")
    # The others come from an image or a repository, whose values may be secret.
    return f"{name}{sign}{value}" if name in _SHOWN_VARIABLES else name
