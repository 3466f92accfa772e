"""The command `approvals`: list what humans have approved for good, and revoke it."""

import json as jsonlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from server.cli.commands.options import JsonOption
from server.cli.entry import command
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.thread_names import open_journal
from server.cli.views.format import first_line, one_line

if TYPE_CHECKING:
    from graph.settings import Settings
    from memory.records.consents import Consent
    from server.cli.views.console import CliConsole

KEY_LENGTH = 12
"""Digits of a key that the table shows. `--json` has all."""


@command
async def approvals(
    settings: "Settings",
    console: "CliConsole",
    revoke: Annotated[
        list[str], Option(metavar="KEY", help="Revoke this one: it is asked for again; repeatable.")
    ] = [],  # noqa: B006  # typer copies it
    json: JsonOption = False,
) -> ExitCode:
    """List the approvals that count for later runs.

    The answers to single questions stand in the log of their thread: `autocode show THREAD`.
    """
    async with open_journal(settings) as journal:
        for name in revoke:
            consent = _find(await journal.consents.all(), name)
            await journal.consents.revoke(consent.key)
            console.notify(f"Revoked: {describe(consent.about)}")
        consents = await journal.consents.all()
    if json:
        console.write_raw(jsonlib.dumps([asdict(consent) for consent in consents]) + "\n")
    elif consents:
        _print(console, consents)
    elif not revoke:
        console.notify("Nothing is approved for later runs.")
    return ExitCode.VERIFIED


def describe(about: Mapping[str, Any]) -> str:
    """Return in one line what an approval covers."""
    match about.get("kind"):
        case "tool":
            return one_line(f"{about.get('command')} (in this {about.get('scope')})")
        case "environment":
            return first_line("environment: " + "; ".join(map(str, about.get("commands") or [])), 120)
    return "an environment (approved by an older version)"


def answered_by(about: Mapping[str, Any]) -> str:
    """Return who approved, and which way. Approvals of older versions do not tell."""
    words = [f"{name} {about[key]}" for name, key in (("by", "by"), ("over", "through")) if about.get(key)]
    return one_line(" ".join(words))


def _find(consents: "list[Consent]", name: str) -> "Consent":
    matches = [consent for consent in consents if consent.key.startswith(name)] if name else []
    if len(matches) != 1:
        many = "several approvals" if matches else "no approval"
        raise UsageError(f"{many} whose key begins with {one_line(name)!r}; see `autocode approvals`")
    return matches[0]


def _print(console: "CliConsole", consents: "list[Consent]") -> None:
    from server.cli.views.console import list_table

    table = list_table("key", "given", repository=1, approval=2)
    for consent in consents:
        place = one_line(str(consent.about.get("repository", "")))
        covered = "\n".join(filter(None, (describe(consent.about), answered_by(consent.about))))
        table.add_row(consent.key[:KEY_LENGTH], consent.given[:16], place, covered)
    console.print(table)
