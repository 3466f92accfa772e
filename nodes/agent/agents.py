"""All that agents share: models, sandboxes, the index, and the store of their tool calls."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial

from langgraph.runtime import Runtime

from memory.repo_index import Snippet
from memory.search.recollection import Recollection
from nodes.agent.conversation import Conversation
from nodes.agent.tool_runs import ToolRuns, ToolStore
from nodes.agent.toolbox import definitions
from nodes.agent.workbench import CallServer, Workbench
from nodes.check.execution.package_sandboxes import PackageSandboxes, base_need
from nodes.check.suites.config import NoSuite
from nodes.check.suites.packages import Packages
from nodes.dialogue.prompts import fenced
from nodes.environment.preparation import Preparation
from nodes.llm.models import Models
from nodes.llm.tool_calls import ToolDefinition
from nodes.recall import search_snapshot
from nodes.repository import thread_of
from nodes.state import Agent, Earlier, State, options_of
from sandbox.base import Limits, Sandbox
from tools.workspace import Workspace

COMMAND_SECONDS = 120.0
"""The most that an agent's command may take: enough for most suites, and too little to wait for nothing."""

WINDOW = 32_000
"""Tokens that a model takes at once, where nobody knows."""

LONGEST = 0.6
"""The share of them at which a conversation is shortened. The rest is for the reply, and for what is next."""

FOUND = 6
FOUND_LINES = 40
"""Places that a search shows, and lines of each."""

NOTHING_FOUND = "(nothing in the repository is about this; try other words, or `execute` with rg)"


@dataclass(frozen=True)
class OfferedTools:
    """Tools beside those of the sandbox, as models are told of them, with the function that calls them."""

    definitions: Sequence[ToolDefinition] = ()
    call: CallServer | None = None


OfferTools = Callable[[Workspace, str, str], Awaitable[OfferedTools]]
"""Returns the tools for a repository, the snapshot that its run began with, and its thread."""


@dataclass(frozen=True)
class Agents:
    """Opens the conversations of agents. `most_steps` of an agent's replies in one step may call tools."""

    models: Models
    preparation: Preparation
    store: ToolStore
    limits: Limits = field(default_factory=Limits)
    memory: Recollection | None = None
    most_steps: int = 25
    offer: OfferTools | None = None

    @asynccontextmanager
    async def conversation(
        self,
        runtime: Runtime[None],
        state: State,
        agent: Agent,
        step: str,
        workspace: Workspace,
        snapshot: str,
        files: Sequence[str] = (),
        earlier: Earlier | None = None,
    ) -> AsyncIterator[Conversation]:
        """Open the conversation of one step on a snapshot. The main one of its `files` comes first.

        It goes on with the messages of `earlier`, if they fit.
        """
        options = await self.models.options(state["run"], options_of(state))
        calls_tools = bool(self.most_steps) and await self.models.calls_tools(agent, options)
        offered = OfferedTools()
        if calls_tools and self.offer:
            offered = await self.offer(workspace, state["base"], thread_of(runtime))
        bench = Workbench(
            workspace,
            state["base"],
            snapshot,
            f"{agent} {step}",
            lambda: self.place(workspace, state, snapshot, files),
            partial(_search, self.memory, workspace, snapshot) if self.memory else None,
            keeps_edit=agent not in ("planner", "critic"),
            call_server=offered.call,
        )
        tools = None
        if calls_tools:
            tools = ToolRuns(
                self.models,
                bench,
                self.store,
                [*definitions(self._command_limits, search=self.memory is not None), *offered.definitions],
                state["run"],
                agent,
                step,
                self.most_steps,
            )
        room = int(LONGEST * (await self.models.window(agent, options) or WINDOW))
        try:
            yield Conversation(self.models, runtime, state, agent, step, bench, room, tools, earlier)
        finally:
            await bench.aclose()

    async def place(
        self, workspace: Workspace, state: State, snapshot: str, files: Sequence[str]
    ) -> tuple[Sandbox, Limits]:
        """Return the sandbox for a snapshot, with the environment of the package that it is about."""
        sandbox = await self._sandbox(workspace, state, snapshot, files)
        room = await asyncio.to_thread(workspace.room, snapshot)
        return sandbox, self._command_limits.with_room_for(room.bytes, room.files)

    @property
    def _command_limits(self) -> Limits:
        """The limits of a command. It gets a whole processor, as a model waits for it."""
        seconds, cpus = max(self.limits.seconds, COMMAND_SECONDS), max(self.limits.cpus, 1.0)
        return replace(self.limits, seconds=seconds, cpus=cpus)

    async def _sandbox(
        self, workspace: Workspace, state: State, snapshot: str, files: Sequence[str]
    ) -> Sandbox:
        base = state["base"]
        if not state.get("without_environment"):
            with suppress(NoSuite):
                if await asyncio.to_thread(workspace.changes, base, snapshot):
                    found = await PackageSandboxes.find(self.preparation, workspace, base, snapshot)
                    return found[0].change
                packages = await asyncio.to_thread(Packages, workspace, base, base)
                folder = await asyncio.to_thread(packages.main, files)
                need = await base_need(self.preparation, workspace, base, folder)
                if ready := await self.preparation.find(need):
                    return ready.sandbox
        return await self.preparation.sandbox()


async def _search(memory: Recollection, workspace: Workspace, snapshot: str, query: str) -> str:
    """Return what the index finds in a snapshot, as text for a model."""

    def search() -> str:
        places = search_snapshot(memory, workspace, snapshot, query, FOUND)
        return "\n\n".join(map(_shown, places)) or NOTHING_FOUND

    return await asyncio.to_thread(search)


def _shown(found: Snippet) -> str:
    """Return a place with its lines and the reason why it was found."""
    lines = found.text.splitlines()
    text = "\n".join(lines[:FOUND_LINES])
    more = f"\n[{len(lines) - FOUND_LINES} more lines]" if len(lines) > FOUND_LINES else ""
    symbol = f" {found.symbol}" if found.symbol else ""
    why = f" ({found.why})" if found.why else ""
    return f"{found.path}:{found.first}-{found.last}{symbol}{why}\n{fenced(text + more)}"
