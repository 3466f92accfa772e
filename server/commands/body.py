"""The way from a command to its body, which is imported when it runs, for `--help` must not wait."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from server.signals import leave, stopping

if TYPE_CHECKING:
    from graph.settings import Settings
    from server.face import Face

Body = Callable[["Settings", "Face"], Coroutine[Any, Any, int]]


def carry(body: Body, env_file: Path | None, json: bool = False, fast: bool = False) -> None:
    """Read the settings, run a command's body, and leave with its exit code.

    One that is to be `fast` gets uvloop, whose import would not pay for a short one.
    """
    with stopping(leave):
        from server.entry import enter

        if not fast:
            raise typer.Exit(enter(body, env_file, json))
        import uvloop

        raise typer.Exit(enter(body, env_file, json, uvloop.run))
