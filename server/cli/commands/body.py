"""The way from a command to its body, which is imported when it runs, for `--help` must not wait."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from server.cli.signals import leave, stopping

if TYPE_CHECKING:
    from graph.settings import Settings
    from server.cli.views.console import Face

Body = Callable[["Settings", "Face"], Coroutine[Any, Any, int]]
Run = Callable[[Coroutine[Any, Any, int]], int]


def carry(body: Body, env_file: Path | None, json: bool = False, run: Run | None = None) -> None:
    """Read the settings, run a command's body (by `asyncio.run`, if not said), leave with its exit code."""
    with stopping(leave):
        from server.cli.entry import enter

        raise typer.Exit(enter(body, env_file, json, run))
