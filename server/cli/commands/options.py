"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

ThreadArgument = Annotated[str, Argument(metavar="THREAD", help="Thread id, see `autocode threads`.")]
YesOption = Annotated[bool, Option("--yes", help="Approve every request, plans included.")]
JsonOption = Annotated[bool, Option("--json", help="Print only events, one JSON object a line.")]
RepoOption = Annotated[Path, Option(metavar="DIR", help="The git repository.")]
