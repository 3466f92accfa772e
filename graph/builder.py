"""The graph on one page: nodes, edges, routes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from memory.search.recollection import Recollection
from nodes.agent.agents import Agents
from nodes.check import Check, CheckCache, Tryout
from nodes.check.prepare import GoOn, PrepareEnvironment
from nodes.check.tryout import BesidePlanner
from nodes.coder import Coder
from nodes.commit import Commit
from nodes.critic import Critic
from nodes.debugger import Debugger
from nodes.dispatch import Dispatch, branches
from nodes.environment.preparation import Preparation
from nodes.merge import Merge
from nodes.planning.approval import Approval
from nodes.planning.planner import Planner
from nodes.planning.rest import has_no_rest, refused_steps
from nodes.proof import Proof
from nodes.recall import Recall
from nodes.snapshot import Snapshot
from nodes.state import BranchInput, Input, State, open_steps, options_of
from nodes.tester import Tester, unguarded_lines
from nodes.tool.tool_branch import ToolBranch
from sandbox.base import Limits
from tools.workspace.packing.room import MAX_WORKSPACE_MB

Graph = CompiledStateGraph[State, None, Input, State]


@dataclass(frozen=True)
class Resources:
    """Process-wide resources that nodes work with."""

    agents: Agents
    preparation: Preparation
    checks: CheckCache
    tools: ToolBranch
    limits: Limits = field(default_factory=Limits)
    max_workspace_mb: int = MAX_WORKSPACE_MB
    memory: Recollection | None = None


def build(resources: Resources, checkpointer: BaseCheckpointSaver[Any] | None = None) -> Graph:
    """Compile the graph. A platform such as Studio brings a checkpointer of its own."""
    agents, memory, preparation = resources.agents, resources.memory, resources.preparation
    beside, within = BesidePlanner(), agents.models.within_time
    graph = StateGraph(State, input_schema=Input)

    graph.add_node("snapshot", Snapshot(resources.max_workspace_mb, agents.models.notes_of))
    graph.add_node("environment", PrepareEnvironment(preparation, within))
    graph.add_node("go_on", GoOn())
    graph.add_node("recall", Recall(memory))
    graph.add_node("tryout", Tryout(preparation, resources.checks, resources.limits, beside, within))
    graph.add_node("planner", Planner(agents, resources.tools.enabled, beside, resources.tools.execution.mcp))
    graph.add_node("approval", Approval())
    graph.add_node("dispatch", Dispatch(memory))
    graph.add_node("coder", Coder(agents, resources.tools.siblings), input_schema=BranchInput)
    graph.add_node("tool", resources.tools, input_schema=BranchInput)
    graph.add_node("merge", Merge())
    graph.add_node("tester", Tester(agents))
    graph.add_node("sandbox", Check(preparation, resources.checks, resources.limits, within))
    graph.add_node("debugger", Debugger(agents))
    graph.add_node("critic", Critic(agents))
    graph.add_node("commit", Commit(memory, agents.models.settings.secrets))

    graph.add_edge(START, "snapshot")
    graph.add_edge("snapshot", "environment")
    graph.add_conditional_edges("environment", after_environment)
    graph.add_conditional_edges("go_on", unless_stopped("recall"), ["recall", "commit"])
    graph.add_edge("recall", "planner")
    graph.add_edge("recall", "tryout")  # beside the planner; nothing follows it
    graph.add_conditional_edges("planner", after_planner)
    graph.add_conditional_edges("approval", after_approval)
    graph.add_conditional_edges("dispatch", branches, ["coder", "tool", "tester", "commit"])
    graph.add_edge("coder", "merge")
    graph.add_edge("tool", "merge")
    graph.add_conditional_edges("merge", after_merge)
    graph.add_conditional_edges("tester", after_tester)
    graph.add_conditional_edges("sandbox", after_check)
    graph.add_conditional_edges("debugger", after_debugger)
    graph.add_conditional_edges("critic", after_critic)
    graph.add_edge("commit", END)
    return graph.compile(checkpointer=checkpointer, name="autocode")


def unless_stopped(onward: str) -> Callable[[State], str]:
    """Return a route to `onward`, or to the commit of the best state if the run has a reason to stop."""

    def route(state: State) -> str:
        return "commit" if state["stops"] else onward

    return route


def after_environment(state: State) -> Literal["go_on", "recall", "commit"]:
    """Ask whether the run goes on if its environment could not be had."""
    if state["stops"]:
        return "commit"
    return "go_on" if state["environment_problem"] else "recall"


def after_planner(state: State) -> Literal["approval", "dispatch", "commit", "__end__"]:
    """Let a human approve the plan if the run's options ask for it. An answer ends the run."""
    options = options_of(state)
    if state["stops"]:
        return "commit"
    if state.get("answer"):
        return "__end__"
    asks = options.approve_plan and not options.auto_approve and not has_no_rest(state)
    return "approval" if asks else "dispatch"


def after_approval(state: State) -> Literal["planner", "dispatch", "commit"]:
    """Send a plan that was refused with a reason back to the planner."""
    if state["stops"]:
        return "commit"
    return "dispatch" if open_steps(state) else "planner"


def after_merge(state: State) -> Literal["dispatch", "planner", "commit"]:
    """Go on with the next steps. If a coder has refused one for good, the planner plans the rest."""
    if state["stops"]:
        return "commit"
    return "planner" if state.get("blocked") and refused_steps(state) else "dispatch"


def after_tester(state: State) -> Literal["sandbox", "tester", "debugger", "critic", "commit"]:
    """Check what the tester wrote. If it wrote nothing, the check that there is stands."""
    if state["stops"]:
        return "commit"
    proof = Proof.model_validate(state["check"]) if state["check"] else None
    if proof and (proof.head, proof.untestable) == (state["head"], state["untestable"]):
        return after_check(state)
    return "sandbox"


def after_check(state: State) -> Literal["debugger", "tester", "critic", "commit"]:
    """Send red to the debugger, unproved green to the tester once more, and proved green to the critic.

    What no agent can cure goes to the commit: a red that the base shows too, and gaps of the proof.
    """
    if state["stops"]:
        return "commit"
    options, proof = options_of(state), Proof.model_validate(state["check"])
    if proof.gaps:
        return "commit"
    if not proof.green:
        hopeless = proof.base_shows_it or state["debug_rounds"] >= options.max_debug_rounds
        return "commit" if hopeless else "debugger"
    if not proof.proves:
        # Tests that pass without the change prove nothing. The tester may replace them once.
        return "tester" if state["tests_asked"] < 2 else "commit"
    return "tester" if unguarded_lines(state) else "critic"


def after_debugger(state: State) -> Literal["sandbox", "commit"]:
    """Check a repair. Without one, because the change is not at fault, the run ends."""
    return "commit" if state["stops"] or state.get("not_the_change") else "sandbox"


def after_critic(state: State) -> Literal["debugger", "tester", "commit"]:
    """Send a FAIL to the debugger while review rounds are left, or to the tester if it lacks a test.

    Everything else goes to the commit.
    """
    options, verdict = options_of(state), state["verdict"]
    if state["stops"] or verdict is None or verdict["verdict"] == "PASS":
        return "commit"
    if state["review_rounds"] >= options.max_review_rounds:
        return "commit"
    if state.get("tests_wanted"):
        return "tester" if state["tests_asked"] < 2 else "commit"
    return "debugger"
