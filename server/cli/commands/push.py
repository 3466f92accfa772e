"""The command that pushes a delivered branch, and opens a pull request for it."""

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from typer import Option

from server.cli.commands.options import ThreadArgument
from server.cli.entry import command
from server.cli.exit_codes import ExitCode
from server.cli.thread_names import find_thread, open_journal
from server.cli.views.format import one_line, pluralize

if TYPE_CHECKING:
    from graph.publication.outgoing import Outgoing
    from graph.settings import Settings
    from server.cli.views.console import CliConsole

SHOWN = 20
"""Commits and files that are shown one by one."""


@command
async def push(
    settings: "Settings",
    console: "CliConsole",
    thread: ThreadArgument,
    remote: Annotated[
        str, Option(metavar="NAME", help="The remote (default: origin, or the only one).")
    ] = "",
    pr: Annotated[bool, Option("--pr", help="Open a pull request on GitHub or GitLab too.")] = False,
    yes: Annotated[bool, Option("--yes", help="Do not ask.")] = False,
) -> ExitCode:
    """Push the branch that a thread has delivered.

    Uses your own git login. Shows first what goes where, and asks. Nothing is ever forced.
    """
    from graph.publication.outgoing import Outgoing  # httpx and libgit2 would delay --help

    async with open_journal(settings) as journal:
        id = (await find_thread(journal, thread)).id
        outgoing = await Outgoing.of_thread(journal, id, remote)
    show(console, outgoing, pr)
    if not yes:
        if not console.can_ask:
            flags = [id, "--remote", outgoing.remote, *(["--pr"] if pr else []), "--yes"]
            console.notify(f"\nNothing was pushed. To push it: autocode push {shlex.join(flags)}")
            return ExitCode.WAITING
        from server.cli.views.approval_prompts import confirm

        if not confirm(console.out, _question(outgoing, pr)):
            console.notify("Nothing was pushed.")
            return ExitCode.UNVERIFIED
    await _push(settings, console, outgoing, pr)
    return ExitCode.VERIFIED


async def _push(settings: "Settings", console: "CliConsole", outgoing: "Outgoing", pr: bool) -> None:
    pushed = await outgoing.push(settings.git_program(), settings.sites())
    words = {"new": "Pushed as a new branch", "updated": "Pushed", "up to date": "Up to date"}
    console.print(
        f"{words[pushed.status]}: {one_line(pushed.branch)} on {one_line(pushed.url)}", style="green"
    )
    for line in pushed.messages.splitlines():
        console.notify(one_line(line))
    if pr:
        request = await outgoing.open_pull_request(settings.sites())
        words_of_request = "Opened" if request.created else "There is an open pull request already"
        console.print(f"{words_of_request}: {request.url}", style="green")


def show(console: "CliConsole", outgoing: "Outgoing", pr: bool) -> None:
    """Print what goes where: the remote, the branch, its commits and files, and what is weak about it."""
    delivery = outgoing.delivery
    console.print(f"{one_line(outgoing.remote)}  {one_line(str(outgoing.url))}", style="bold")
    console.print(f"branch {one_line(delivery.branch)}{', with a pull request' if pr else ''}")
    for line in _warnings(outgoing):
        console.print(line, style="bold red")
    number = len(outgoing.commits)
    console.print(f"\n{pluralize(number, 'commit')} that the remote lacks, as far as this repository knows:")
    for commit in outgoing.commits[:SHOWN]:
        console.print(
            f"  {commit.id[:10]}  {one_line(commit.subject)[:100]}  ({one_line(commit.author)[:40]})"
        )
    _more(console, number)
    added, removed = (
        sum(getattr(change, side) for change in outgoing.changes) for side in ("added", "removed")
    )
    console.print(f"\n{pluralize(len(outgoing.changes), 'file')} of this thread, +{added} -{removed}:")
    for change in outgoing.changes[:SHOWN]:
        console.print(f"  {one_line(change.path)}  +{change.added} -{change.removed}")
    _more(console, len(outgoing.changes))


def _more(console: "CliConsole", number: int) -> None:
    if number > SHOWN:
        console.print(f"  and {number - SHOWN} more")


def _warnings(outgoing: "Outgoing") -> Iterator[str]:
    if not outgoing.delivery.verified:
        yield "THIS RESULT IS NOT VERIFIED."
        yield from (f"  {one_line(lack)}" for lack in outgoing.account.missing[:SHOWN])
    if outgoing.has_work_in_progress:
        yield "Your uncommitted changes go along, as a commit of their own."
    if parts := outgoing.actions[:SHOWN]:
        words = ", ".join(map(one_line, parts))
        yield f"A site may mail people or close issues for these words of the commits: {words}"


def _question(outgoing: "Outgoing", pr: bool) -> str:
    kind = "this" if outgoing.delivery.verified else "this UNVERIFIED result"
    return f"Push {kind} to {one_line(str(outgoing.url))}{' and open a pull request' if pr else ''}?"
