"""The way from a command to its body, which is imported when it runs, for `--help` must not wait."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from server.cli.signals import exit_now, on_stop

if TYPE_CHECKING:
    from graph.settings import Settings
    from server.cli.views.console import CliConsole

Body = Callable[["Settings", "CliConsole"], Coroutine[Any, Any, int]]


def carry(body: Body, env_file: Path | None, json: bool = False) -> None:
    """Read the settings, run a command's body, leave with its exit code."""
    with on_stop(exit_now):
        from server.cli.entry import enter

        raise typer.Exit(enter(body, env_file, json))
