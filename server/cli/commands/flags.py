"""The arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Thread = Annotated[str, typer.Argument(metavar="THREAD", help="Its id, as `autocode threads` lists it.")]
EnvFile = Annotated[
    Path | None, typer.Option("--env-file", metavar="FILE", help="Settings to read, as NAME=value lines.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Approve everything that asks, plans included.")]
Json = Annotated[bool, typer.Option("--json", help="One event a line, as JSON, and nothing else.")]
Repo = Annotated[Path, typer.Option("--repo", metavar="DIR", help="The git repository.")]
