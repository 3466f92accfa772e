"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ThreadArgument = Annotated[str, typer.Argument(metavar="THREAD", help="Thread id, see `autocode threads`.")]
EnvFileOption = Annotated[
    Path | None, typer.Option("--env-file", metavar="FILE", help="Read settings from NAME=value lines.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Approve every request, plans included.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print only events, one JSON object a line.")]
RepoOption = Annotated[Path, typer.Option("--repo", metavar="DIR", help="The git repository.")]
