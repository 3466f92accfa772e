"""The entry of every command: it loads the settings, runs the command and turns errors into exit codes."""

import asyncio
import os
import sys
import traceback
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.cli.exit_codes import ExitCode, UsageError, exit_code_of, message_of
from server.cli.signals import exit_now, on_stop
from server.cli.views.format import one_line

if TYPE_CHECKING:
    from graph.settings import Settings
    from server.cli.views.console import CliConsole

CommandBody = Callable[..., Coroutine[Any, Any, int]]
EnvFileOption = Annotated[
    Path | None, typer.Option("--env-file", metavar="FILE", help="Read settings from NAME=value lines.")
]


def command(body: CommandBody) -> Callable[..., None]:
    """Turn an async function of settings, console and flags into a command that exits with its code.

    The command has the flags of `body` and --env-file. With a flag `json`, standard output is for data only.
    Exceptions become a message and an exit code.
    """

    @wraps(body)
    def run(env_file: Path | None = None, **flags: Any) -> None:
        # Ctrl-C may come while the slow imports run, where a traceback would be all that the user sees.
        with on_stop(exit_now):
            raise typer.Exit(_run(body, env_file, flags))

    # typer reads the flags from here. It cannot evaluate the types of the first two parameters.
    flags = list(signature(body).parameters.values())[2:]
    flags.append(Parameter("env_file", Parameter.KEYWORD_ONLY, default=None, annotation=EnvFileOption))
    run.__signature__ = Signature(flags)  # type: ignore[attr-defined]  # inspect's own protocol
    run.__annotations__ = {flag.name: flag.annotation for flag in flags}
    return run


def _run(body: CommandBody, env_file: Path | None, flags: Mapping[str, Any]) -> int:
    from sandbox.environment.machine import absolute_entries
    from server.cli.views.console import CliConsole

    console, settings = CliConsole.open(flags.get("json", False)), None
    # An empty or relative entry means the current folder, which may be a stranger's repository.
    os.environ["PATH"] = absolute_entries(os.environ.get("PATH", os.defpath))
    try:
        settings = _load_settings(env_file)
        return asyncio.run(body(settings, console, **flags))
    except BrokenPipeError:
        # The reader (`| head`) is gone. Python flushes stdout at exit and would complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.UNVERIFIED
    except Exception as error:
        return report(error, console, settings)


def _load_settings(env_file: Path | None) -> "Settings":
    """Load the settings. Messages name a wrong setting but never its value, which may be a key."""
    from pydantic import ValidationError

    from graph.settings import Settings
    from memory.validation import faults_of

    try:
        return Settings.load(env_file)
    except FileNotFoundError as error:
        raise UsageError(str(error)) from error
    except ValidationError as error:
        # Fields are the lower-case names of the variables that users set.
        pairs = (fault.partition(": ") for fault in faults_of(error))
        faults = "; ".join(f"{name.upper()}: {reason}" for name, _, reason in pairs)
        raise UsageError(f"invalid setting: {faults}") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the settings: {error}") from error


def report(error: Exception, console: "CliConsole", settings: "Settings | None") -> ExitCode:
    """Print an error's message and notes. The traceback of an internal error goes to errors.log."""
    code = exit_code_of(error)
    trace = "".join(traceback.format_exception(error))
    message = message_of(error)
    if code is ExitCode.INTERNAL:
        message = f"internal error: {type(error).__name__}: {one_line(message)}"
    console.notify(f"autocode: {message}")
    for note in getattr(error, "__notes__", []):
        if not note.startswith("During task with name"):  # LangGraph's, with an id that helps nobody
            console.notify(note)
    if code is ExitCode.INTERNAL and settings:
        console.notify(_log(trace, settings))
    if settings and settings.autocode_debug:
        console.notify(trace)
    return code


def _log(trace: str, settings: "Settings") -> str:
    """Append a traceback to errors.log, with secrets masked. Return a hint to where it is."""
    from memory.secrets import masked_tokens

    log, time = settings.home / "errors.log", datetime.now(UTC).isoformat()
    try:
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Tracebacks may quote the user's code: only the owner may read the log, from its creation on.
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
            file.write(
                f"{time} {' '.join(sys.argv[1:2])}\n{masked_tokens(trace, tuple(settings.secrets()))}\n"
            )
    except OSError:
        return "Set AUTOCODE_DEBUG=1 to see the traceback."
    return f"Details are in {log}"
