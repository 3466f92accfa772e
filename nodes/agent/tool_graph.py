"""The subgraph of one tool call. Studio and streams of tasks show the call below the node of its agent."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from memory.calls.tool_calls import StoredResult
from nodes.agent.toolbox import TOOLS
from tools.catalogue.mcp_call import is_mcp

MakeCall = Callable[[], Awaitable[StoredResult]]
"""Makes a call, or returns the stored result of an earlier process."""

_OTHER, _SERVER = "unknown_tool", "mcp_tool"


class ToolCallState(TypedDict, total=False):
    """A call as Studio shows it."""

    name: str
    arguments: dict[str, Any]
    result: str
    exit_code: int | None


@dataclass(frozen=True)
class PendingCall:
    """The context of the subgraph, which no checkpoint holds."""

    make: MakeCall


@cache
def _tool_graph() -> CompiledStateGraph[ToolCallState, PendingCall, ToolCallState, ToolCallState]:
    """Compile the graph: a node for each tool, of which each run goes through one."""
    graph = StateGraph(ToolCallState, context_schema=PendingCall)
    for name in (*TOOLS, _SERVER, _OTHER):
        graph.add_node(name, _make)
        graph.add_edge(name, END)
    graph.add_conditional_edges(START, _node_of, [*TOOLS, _SERVER, _OTHER])
    return graph.compile(name="tools")


async def make_visibly(name: str, arguments: dict[str, Any], make: MakeCall) -> StoredResult:
    """Make a call in its subgraph, and return its result."""
    results: list[StoredResult] = []

    async def make_once() -> StoredResult:
        results.append(await make())
        return results[-1]

    call: ToolCallState = {"name": name, "arguments": arguments}
    await _tool_graph().ainvoke(call, context=PendingCall(make_once))
    # LangGraph numbers the subgraphs of a node. After a resume it does not run those that have ended, and
    # their order is all that it compares. So the store decides on the result.
    return results[-1] if results else await make()


def _node_of(state: ToolCallState) -> str:
    name = state["name"]
    return name if name in TOOLS else _SERVER if is_mcp(name) else _OTHER


async def _make(state: ToolCallState, runtime: Runtime[PendingCall]) -> ToolCallState:
    result = await runtime.context.make()
    return {"result": result.result, "exit_code": result.exit_code}
