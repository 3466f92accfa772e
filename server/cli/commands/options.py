"""Arguments and options that several commands share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from server.cli.arguments import above_zero

OF_AGENT = "The model of this agent, before --model."

ThreadArgument = Annotated[
    str, Argument(metavar="THREAD", help="A thread's id, a unique prefix of it, or `last`.")
]
YesOption = Annotated[bool, Option("--yes", help="Approve every request, plans included.")]
YesOrAskOption = Annotated[
    bool | None, Option("--yes/--ask", help="Approve every request, plans included, or ask.")
]
ApprovePlanOption = Annotated[
    bool | None, Option("--approve-plan/--no-approve-plan", help="Ask to approve the plan first.")
]
JsonOption = Annotated[bool, Option("--json", help="Print only events, one JSON object a line.")]
# These limits hold across parallel steps: memory/calls/completions.py checks them before each model call.
BudgetOption = Annotated[
    float | None,
    Option("--budget", metavar="USD", help="Limit of the cost, such as 0.50.", callback=above_zero),
]
MaxTokensOption = Annotated[
    int | None, Option("--max-tokens", metavar="N", help="Limit of the tokens.", callback=above_zero)
]
MaxSecondsOption = Annotated[
    float | None,
    Option("--max-seconds", metavar="S", help="Limit of the run time in seconds.", callback=above_zero),
]
NoLimitsOption = Annotated[
    bool, Option("--no-limits", help="Drop the cost, token and time limits of the thread.")
]
ModelOption = Annotated[
    str | None,
    Option("--model", metavar="NAME", help='The model of all agents ("" for those of the settings).'),
]
PlannerModelOption = Annotated[str | None, Option("--planner-model", metavar="NAME", help=OF_AGENT)]
CoderModelOption = Annotated[str | None, Option("--coder-model", metavar="NAME", help=OF_AGENT)]
TesterModelOption = Annotated[str | None, Option("--tester-model", metavar="NAME", help=OF_AGENT)]
DebuggerModelOption = Annotated[str | None, Option("--debugger-model", metavar="NAME", help=OF_AGENT)]
CriticModelOption = Annotated[str | None, Option("--critic-model", metavar="NAME", help=OF_AGENT)]
RepoOption = Annotated[Path, Option(metavar="DIR", help="The git repository.")]


def limit_options(
    budget: float | None, max_tokens: int | None, max_seconds: float | None
) -> dict[str, float | None]:
    """Return the options of a run for the flags of its limits, None for a flag that is not there."""
    return {"max_cost_usd": budget, "max_tokens": max_tokens, "max_run_seconds": max_seconds}


def model_options(
    before: Mapping[str, Any],
    model: str | None,
    planner: str | None = None,
    coder: str | None = None,
    tester: str | None = None,
    debugger: str | None = None,
    critic: str | None = None,
) -> dict[str, Any]:
    """Return the options of a run for the models of the flags, beside those that it has from `before`.

    An empty name takes a model back.
    """
    options: dict[str, Any] = {} if model is None else {"model": model or None}
    agents = {"planner": planner, "coder": coder, "tester": tester, "debugger": debugger, "critic": critic}
    named = {agent: name for agent, name in agents.items() if name is not None}
    if named:
        # A new model for all agents replaces those that single agents had before.
        kept = (before.get("models") or {}) if model is None else {}
        options["models"] = {agent: name for agent, name in {**kept, **named}.items() if name} or None
    elif model is not None:
        options["models"] = None
    return options
