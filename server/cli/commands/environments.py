"""The command `environments`: list what was built for the tests of repositories, and remove the unused."""

import json as jsonlib
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from typer import Option

from server.cli.entry import command
from server.cli.exit_codes import ExitCode
from server.cli.views.format import format_age, format_duration, format_megabytes, one_line, pluralize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graph.settings import Settings
    from sandbox.environment.records import EnvironmentRecord
    from server.cli.views.console import CliConsole

KEY_LENGTH = 12
"""Digits of a key that the table shows. `--json` has all."""


@command
async def environments(
    settings: "Settings",
    console: "CliConsole",
    json: Annotated[bool, Option("--json", help="Print a JSON array of all environments.")] = False,
    prune: Annotated[
        float | None, Option(min=0, metavar="DAYS", help="First remove those unused for so many days.")
    ] = None,
) -> ExitCode:
    """List the environments that tests run in.

    The most recently used comes first. One that was used within the last hour is never removed.
    """
    from sandbox.environment.records import stored

    if prune is not None:  # 0 is a number of days, too
        await _prune(settings, console, prune)
    records = stored(settings.home)
    if console.json:
        console.write_raw(jsonlib.dumps([asdict(record) for record in records]) + "\n")
    elif records:
        _print(console, records)
    else:
        console.notify("There is no environment. A run builds one where a repository's tests need it.")
    return ExitCode.VERIFIED


async def _prune(settings: "Settings", console: "CliConsole", days: float) -> None:
    """Remove unused environments of all backends, and say which."""
    from sandbox.pruning import prune_environments

    pruning = await prune_environments(settings.home, days)
    freed = format_megabytes(sum(record.size_mb for record in pruning.removed))
    size = f", {freed}" if pruning.removed else ""
    console.notify(f"{pluralize(len(pruning.removed), 'environment')} removed{size}.")
    for record in pruning.removed:
        unused = format_age(time.time() - record.used)
        console.notify(f"  {record.key[:KEY_LENGTH]}  {_origin(record)}, unused for {unused}")
    if pruning.problem:
        console.notify(f"Those of Docker stay until an engine answers: {one_line(pruning.problem)}")


def _print(console: "CliConsole", records: "Sequence[EnvironmentRecord]") -> None:
    from server.cli.views.console import list_table

    columns = ("key", "backend", "folder", "made from", "python", "size", "used", "build")
    table = list_table(*columns, **{"made from": 1})
    for record in records:
        table.add_row(
            record.key[:KEY_LENGTH],
            record.backend,
            one_line(record.folder) or ".",
            _origin(record),
            one_line(record.python) or "-",
            format_megabytes(record.size_mb),
            format_age(time.time() - record.used),
            format_duration(record.seconds),
        )
    console.print(table)


def _origin(record: "EnvironmentRecord") -> str:
    return one_line(", ".join(record.sources)) or "commands"
