"""Process-wide resources of the nodes, opened from the settings: models, sandbox, checks and memory."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from graph.builder import Resources
from graph.settings import Settings
from memory.embeddings import choose, open_embedder
from memory.live import LiveIndexes
from memory.records.episodes import Episodes
from memory.records.journal import Journal
from memory.records.owner import Owner, this_process
from memory.search.recollection import Recollection
from memory.search.task_similarity import TaskSimilarity
from memory.secrets import names_key
from nodes.agent.agents import Agents
from nodes.environment.preparation import Preparation
from nodes.events import Event
from nodes.llm.models import open_models
from nodes.state import options_of
from nodes.tool.execution import ToolExecution
from nodes.tool.installation import Installation
from nodes.tool.permissions import Permissions
from nodes.tool.reading_servers import ReadingServers
from nodes.tool.remote_work import remote_tools
from nodes.tool.tool_branch import ToolBranch
from sandbox.backends import open_sandbox
from sandbox.base import Limits, Ownership, Sandbox
from sandbox.environment.backend import BuildLimits
from sandbox.environment.environments import Environments, open_environments
from tools.mcp import McpTools
from tools.remote import OWN_DIRS, remove_leftovers
from tools.workspace import Workspace, WorkspaceError

VECTORS_AFTER_SECONDS = 3.0
"""Seconds before vectors of hashed words are made: in a short run Chroma's import would not pay."""

INDEX_SHARE = 0.2
"""Share of the time in which indexes are brought up to date beside runs."""


@asynccontextmanager
async def open_resources(
    settings: Settings, journal: Journal[Event], say: Callable[[str], None], shared: bool = False
) -> AsyncIterator[Resources]:
    """Yield the resources. The sandbox opens with its first use and is closed at the end.

    `shared` says that others than the user may start runs and answer their questions.
    """
    lock, opened, built = asyncio.Lock(), list[Sandbox](), list[Environments]()

    async def sandbox() -> Sandbox:
        async with lock:  # parallel branches ask for it at the same time
            if not opened:
                backend, image = settings.sandbox_backend, settings.sandbox_image
                owner = await asyncio.to_thread(ownership)  # reads /proc
                opened.append(await open_sandbox(backend, settings.home, image, say, owner))
            return opened[0]

    async def environments() -> Environments:
        backend = (await sandbox()).name
        async with lock:
            if not built:
                owner = await asyncio.to_thread(ownership)
                built.append(await open_environments_of(settings, backend, owner))
            return built[0]

    always = settings.environment_approval == "auto"
    preparation = Preparation(sandbox, environments, journal.consents, always)
    mcp = open_mcp(settings)
    await asyncio.to_thread(remove_leftovers, settings.home / OWN_DIRS)
    try:
        async with (
            open_models(settings.model_settings(), journal.completions, journal.notes) as models,
            open_memory(settings, journal.episodes, say) as memory,
        ):
            limits = settings.sandbox_limits()
            steps = settings.max_agent_steps
            installation, policy = Installation(preparation), settings.policy()
            permissions = Permissions(journal.consents, installation, policy, mcp.read_call, shared)
            servers = ReadingServers(mcp, permissions) if mcp.servers else None
            agents = Agents(models, preparation, journal.tool_calls, limits, memory, steps, servers)
            seconds, outside = (
                settings.tool_executor_timeout,
                remote_tools(os.environ, settings.home / OWN_DIRS),
            )
            execution = ToolExecution(agents, seconds, outside, mcp)
            tools = ToolBranch(execution, permissions, journal.intents, enabled=settings.enable_tool_use)
            most = settings.max_workspace_mb
            yield Resources(agents, preparation, journal.checks, tools, limits, most, memory)
    finally:
        await mcp.aclose()
        for store in built:
            await store.aclose()
        for box in opened:
            await box.aclose()


def open_mcp(settings: Settings) -> McpTools:
    """Return the tools of the user's MCP servers, which start on first use. None without tool use."""
    servers = settings.mcp_servers if settings.enable_tool_use else {}
    # Keys of models, and all that we are set up with, are no business of other programs.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not names_key(name) and name.lower() not in Settings.model_fields
    }
    return McpTools(servers, environment, settings.tool_executor_timeout)


async def open_environments_of(settings: Settings, backend: str, owner: Ownership) -> Environments:
    """Open the home's environments for one backend."""
    return await open_environments(
        "docker" if backend == "docker" else "bubblewrap",
        settings.home,
        settings.sandbox_image,
        os.environ,  # registries, proxies and certificates of the user, which builds need
        Path.home(),
        owner,
        BuildLimits(seconds=settings.environment_timeout),
        Limits(memory_mb=settings.sandbox_max_memory_mb, cpus=settings.sandbox_max_cpus),
    )


def ownership() -> Ownership:
    """Mark what this process creates in the sandbox, so that later processes remove it if this one dies."""

    def has_died(label: str) -> bool:
        owner = Owner.parse(label)
        return owner is not None and owner.died()

    return Ownership(str(this_process()), has_died)


@asynccontextmanager
async def open_memory(
    settings: Settings, episodes: Episodes, say: Callable[[str], None], delay: float = VECTORS_AFTER_SECONDS
) -> AsyncIterator[Recollection | None]:
    """Yield the memory of earlier tasks and of repositories, or None if it is disabled. It loads lazily."""
    if not settings.enable_memory:
        yield None
        return
    index = settings.index_settings()
    choice = await asyncio.to_thread(choose, index.embeddings)
    patience = delay if choice.kind == "hash" else 0.0
    indexes = LiveIndexes(index, say, patience, INDEX_SHARE)
    open_collection = indexes.vectors.collection
    similarity = TaskSimilarity(lambda: open_embedder(index.embeddings), open_collection, patience)
    memory = Recollection(episodes, indexes, similarity, settings.memory_scope)
    try:
        yield memory
    finally:
        await asyncio.to_thread(similarity.close)
        await asyncio.to_thread(indexes.close)


async def check_ready(resources: Resources, input: Mapping[str, Any]) -> None:
    """Prepare models, sandbox and memory for a run. Raises ModelError or SandboxError if it cannot work."""
    models = resources.agents.models
    await models.probe(options_of(input))  # a missing key is told before anything is built
    if resources.memory:
        with suppress(WorkspaceError):  # the snapshot node reports it
            workspace = await asyncio.to_thread(Workspace.open, Path(input["repo"]))
            await resources.memory.prepare(workspace.path)
    # The import takes a second, most of which the sandbox spends waiting for its first programs.
    sandbox, _ = await asyncio.gather(resources.preparation.sandbox(), asyncio.to_thread(models.preload))
    sandbox.prepare()  # starts in the background, while the planner is asked
