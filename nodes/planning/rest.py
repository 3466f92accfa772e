"""The rest of a plan, which the planner makes anew once a coder has refused its step or a tool has failed."""

from nodes.dialogue.excerpts import cut_tokens
from nodes.dialogue.prompts import fenced, section
from nodes.state import Plan, State, Step, StepResult, files_of, latest, open_steps, steps_of
from tools.workspace import Workspace

DONE_TOKENS = 1_500

WANTED = """\
{steps} cannot be done as planned, for the reason above. Plan the rest of the task on the files as they are
now: what is not done yet, in an order in which it can be done. Your steps replace all that are not done.
Only if the rest cannot be done at all, answer {{"answer": "the reason"}}."""


def may_replan(state: State) -> bool:
    """Return whether the planner may be asked for the rest: once in a run, and only for its own plan."""
    # An older checkpoint does not know whose plan it has.
    return not state.get("blocked") and not state.get("plan_is_given", True)


def refused_steps(state: State) -> list[Step]:
    """Return the steps of the plan that wait for the planner, because their coders refused them."""
    results = latest(state["results"])
    return [step for step in steps_of(state["plan"]) if "blocked" in results.get(step["id"], {})]


def done_steps(state: State) -> list[Step]:
    """Return the steps of the plan that have run, failed ones as well, and were not refused."""
    results, steps = latest(state["results"]), steps_of(state["plan"])
    return [step for step in steps if "blocked" not in results.get(step["id"], {"blocked": ""})]


def has_no_rest(state: State) -> bool:
    """Return whether refused steps have failed, because the planner made no plan for the rest."""
    results = latest(state["results"])
    return any("error" in results.get(step["id"], {}) for step in state.get("blocked", []))


def joined(state: State, plan: Plan) -> Plan:
    """Return a new plan. If it is for the rest, its steps follow those that are done, and count on."""
    if not state.get("blocked"):
        return plan
    # Also the ids of refused plans count, because the log has shown them.
    earlier = [step for refusal in state["refusals"] for step in refusal["plan"]["steps"]]
    known = [*earlier, *steps_of(state["plan"]), *state["blocked"]]
    number = max(int(step["id"].removeprefix("s")) for step in known)
    done = done_steps(state)
    group = max((step["group"] for step in done), default=-1) + 1
    for place, step in enumerate(plan["steps"], 1):
        done.append({**step, "id": f"s{number + place}", "group": group + step["group"]})
    return Plan(explanation=plan["explanation"], steps=done)


def is_tool(result: StepResult) -> bool:
    """Return whether a result is that of a tool, which fails where a coder refuses."""
    return result.get("agent") == "tool"


def as_failed(result: StepResult, why: str = "") -> StepResult:
    """Return the result of a refused step as a failure."""
    blocked = result.get("blocked", "")
    reason = blocked if is_tool(result) else f"blocked: {blocked}"
    failed = StepResult(
        step_id=result["step_id"], base=result["base"], error=f"{reason}; {why}" if why else reason
    )
    if "output" in result:
        failed["output"] = result["output"]
    return failed


def rest_sections(workspace: Workspace, state: State) -> list[str]:
    """Return what the planner must know to plan the rest: its plan, what became of it, and the change."""
    results, blocked = latest(state["results"]), state.get("blocked", [])
    lines = [
        f"- {step['id']} on {', '.join(files_of(step)) or 'no file'}: {step['description']}\n"
        f"  {_fate(results.get(step['id']))}"
        for step in [*done_steps(state), *blocked, *open_steps(state)]
    ]
    diff = workspace.diff(state["base"], state["head"])
    wanted = WANTED.format(steps=", ".join(step["id"] for step in blocked))
    return [
        section("Your plan, and what became of it", fenced("\n".join(lines))),
        section(
            "What the coders have changed so far",
            fenced(cut_tokens(diff, DONE_TOKENS), "diff") if diff else "",
        ),
        section("What is wanted now", wanted),
    ]


def _fate(result: StepResult | None) -> str:
    if result is None:
        return "(not begun)"
    if "blocked" in result:
        return f"({'failed' if is_tool(result) else 'its coder refused it'}: {result['blocked']})"
    return f"(failed: {result['error']})" if "error" in result else "(done)"
