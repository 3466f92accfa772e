"""The outermost edge of every command: settings in, exit code out, every error in one line with its cure."""

import asyncio
import os
import sys
import traceback
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from graph.settings import Settings
from server.cli.exit_codes import ExitCode, UsageError, exit_code_of
from server.cli.views.console import CliConsole
from server.cli.views.format import one_line


def enter(
    body: Callable[[Settings, CliConsole], Coroutine[Any, Any, int]],
    env_file: Path | None,
    json: bool,
) -> int:
    """Run a command's body; nothing it raises comes out but as an exit code and a message."""
    face, settings = CliConsole.open(json), None
    try:
        settings = _settings(env_file)
        return asyncio.run(body(settings, face))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.UNVERIFIED
    except Exception as error:
        return _failed(error, face, settings)


def _settings(env_file: Path | None) -> Settings:
    """Read the settings; a wrong one is named with what is wrong about it, never with its value."""
    try:
        return Settings.load(env_file)
    except FileNotFoundError as error:
        raise UsageError(str(error)) from error
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors(include_input=False)
        ]
        raise UsageError("a setting is wrong: " + "; ".join(faults)) from error
    except (OSError, ValueError) as error:
        raise UsageError(f"the settings cannot be read: {error}") from error


def _failed(error: Exception, face: CliConsole, settings: Settings | None) -> ExitCode:
    """Say what happened and what to do; the trace of what nobody foresaw goes to a log file."""
    code = exit_code_of(error)
    if code is ExitCode.INTERNAL:
        face.say(f"autocode: internal error: {type(error).__name__}: {one_line(str(error))}")
    else:
        face.say(f"autocode: {error}")
    for note in getattr(error, "__notes__", []):
        face.say(note)
    if code is ExitCode.INTERNAL and settings:
        face.say(_kept(error, settings))
    if settings and settings.autocode_debug:
        face.say("".join(traceback.format_exception(error)))
    return code


def _kept(error: Exception, settings: Settings) -> str:
    """Append the trace, secrets masked, to a log that only its owner reads; say where it is."""
    trace = "".join(traceback.format_exception(error))
    for secret in settings.secrets():
        trace = trace.replace(secret, "***")
    log = settings.home / "errors.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
            file.write(f"{datetime.now(UTC).isoformat()} {' '.join(sys.argv[1:2])}\n{trace}\n")
    except OSError:
        return "(AUTOCODE_DEBUG=1 shows the trace)"
    return f"details: {log}"
