"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

ThreadArgument = Annotated[
    str, Argument(metavar="THREAD", help="A thread's id, a unique prefix of it, or `last`.")
]
YesOption = Annotated[bool, Option("--yes", help="Approve every request, plans included.")]
JsonOption = Annotated[bool, Option("--json", help="Print only events, one JSON object a line.")]
# These limits hold across parallel steps: memory/calls/completions.py checks them before each model call.
BudgetOption = Annotated[float | None, Option("--budget", metavar="USD", help="Limit of the cost.")]
MaxTokensOption = Annotated[int | None, Option("--max-tokens", metavar="N", help="Limit of the tokens.")]
MaxSecondsOption = Annotated[
    float | None, Option("--max-seconds", metavar="S", help="Limit of the run time.")
]
NoLimitsOption = Annotated[
    bool, Option("--no-limits", help="Drop the cost, token and time limits of the thread.")
]
RepoOption = Annotated[Path, Option(metavar="DIR", help="The git repository.")]
