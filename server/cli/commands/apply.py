"""The commands that show a thread's result, apply it or parts of it, and take that back."""

import asyncio
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from server.cli.commands.options import ThreadArgument
from server.cli.entry import command
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.thread_names import find_thread, open_journal
from server.cli.views.format import one_line, pluralize

if TYPE_CHECKING:
    from graph.delivery import Delivery
    from graph.settings import Settings
    from memory.records.journal import Journal
    from nodes.events import Event
    from server.cli.views.console import CliConsole
    from tools.workspace import ChangedFile, Selection

WholeOption = Annotated[bool, Option("--all", help="Include what you have applied or merged before.")]
NOTHING_LEFT = "Nothing left to apply: you have all that thread {thread} delivered. --all includes it."
SHOWN = 10
"""Number of files that an error names."""


@command
async def diff(
    settings: "Settings", console: "CliConsole", thread: ThreadArgument, whole: WholeOption = False
) -> ExitCode:
    """Print what a thread has delivered and you have not applied.

    In colour on a terminal, as a patch in a pipe.
    """
    from server.cli.views.summary import render_diff

    delivery = await _delivery(settings, console, thread, whole)
    text = await delivery.diff()
    if not text:
        console.notify(NOTHING_LEFT.format(thread=delivery.thread_id))
    elif console.out.is_terminal:
        console.print(render_diff(text, limit=None))
    else:
        console.write_raw(text)
    return ExitCode.VERIFIED


@command
async def apply(
    settings: "Settings",
    console: "CliConsole",
    thread: ThreadArgument,
    yes: Annotated[bool, Option("--yes", help="Do not ask.")] = False,
    unverified: Annotated[bool, Option("--unverified", help="Apply a result without proof too.")] = False,
    patch: Annotated[bool, Option("--patch", "-p", help="Ask hunk by hunk.")] = False,
    file: Annotated[
        list[str], Option(metavar="PATH", help="Apply only this file or folder; repeatable.")
    ] = [],  # noqa: B006  # typer copies it
    whole: WholeOption = False,
) -> ExitCode:
    """Apply what a thread has delivered, or parts of it.

    Changes the checkout. Applies all that is chosen or nothing, merges with your own changes, and refuses
    where both changed the same lines. The rest can be applied later, and `autocode undo` takes it back.
    """
    if patch and yes:
        raise UsageError("--patch asks about each hunk, so --yes has nothing to answer; leave one out")
    if whole and (patch or file):
        raise UsageError("--all applies everything again; leave it out, or choose anew after `autocode undo`")
    delivery = await _delivery(settings, console, thread, whole)
    return await apply_delivery(console, delivery, settings.home, yes, unverified, patch, file)


async def apply_delivery(
    console: "CliConsole",
    delivery: "Delivery",
    home: Path,
    yes: bool = False,
    unverified: bool = False,
    patch: bool = False,
    names: Sequence[str] = (),
) -> ExitCode:
    """Show what is left of a delivery, ask, and apply it or the chosen part of it."""
    if await delivery.is_empty():
        console.notify(NOTHING_LEFT.format(thread=delivery.thread_id))
        return ExitCode.VERIFIED
    if not delivery.verified and not unverified:
        # The branch may have moved since its proof, so the status of the run is not enough.
        console.notify(f"{delivery.branch} is not verified. Nothing was applied. --unverified applies it.")
        if delivery.verified_branch:
            command = f"git merge {delivery.verified_branch}"
            console.notify(f"The verified results of this thread's earlier tasks alone: {command}")
        return ExitCode.UNVERIFIED
    if not yes and not console.can_ask:
        other = "--file chooses files" if patch else "--yes applies without asking"
        raise UsageError(f"there is no terminal to ask on; {other}")
    selection = await _choose(console, delivery, yes, patch, names)
    if selection is not None and not selection:
        console.notify("Nothing was applied.")
        return ExitCode.UNVERIFIED
    paths = await delivery.apply(home, selection)
    files = ", ".join(map(one_line, paths)) or "your checkout has these changes already"
    console.print(f"Applied {pluralize(len(paths), 'file')}: {files}", style="green")
    if selection:
        rest = f"`autocode diff {delivery.thread_id}` shows what is left"
        console.notify(f"The proof is for the whole result. {rest}.")
    return ExitCode.VERIFIED


async def _choose(
    console: "CliConsole", delivery: "Delivery", yes: bool, patch: bool, names: Sequence[str]
) -> "Selection | None":
    """Return what the user wants: None for everything, and an empty selection for nothing."""
    from server.cli.views.approval_prompts import confirm
    from server.cli.views.hunk_prompts import choose_hunks
    from server.cli.views.summary import render_diff
    from tools.workspace import Selection

    files = await delivery.changed_files()
    if names:
        files = _named(files, names, delivery.repo)
    if patch:
        return choose_hunks(console.out, files)
    console.print(render_diff("".join(file.text for file in files), limit=None))
    wanted = Selection(frozenset(file.path for file in files)) if names else None
    if yes:
        return wanted
    question = f"Apply this to {one_line(str(delivery.repo))}?"
    return wanted if confirm(console.out, question) else Selection()


def _named(files: "Sequence[ChangedFile]", names: Sequence[str], root: Path) -> "list[ChangedFile]":
    """Return the changed files that are named, or lie in a named folder. Raises UsageError for a wrong name.

    A name is relative to the repository's root, else to the current folder.
    """
    chosen: dict[str, ChangedFile] = {}
    for name in names:
        for path in _readings(name, root):
            inside = [file for file in files if path in (file.path, file.shown, *_folders(file.path))]
            chosen |= {file.path: file for file in inside}
            if inside:
                break
        else:
            shown = [one_line(file.shown) for file in files]
            more = ", …" if len(shown) > SHOWN else ""
            raise UsageError(f"{one_line(name)} has no change; changed are {', '.join(shown[:SHOWN])}{more}")
    others = {file.other for file in chosen.values()}  # the other halves of renames
    return [file for file in files if file.path in chosen or file.path in others]


def _readings(name: str, root: Path) -> list[str]:
    here = Path.cwd() / name
    relative = [str(here.relative_to(root))] if here.is_relative_to(root) else []
    return [str(PurePath(name)), *relative]


def _folders(path: str) -> list[str]:
    return [str(folder) for folder in PurePath(path).parents]


@command
async def undo(
    settings: "Settings",
    console: "CliConsole",
    thread: Annotated[
        str | None,
        Argument(
            metavar="[THREAD]",
            help="A thread's id, a unique prefix, or `last` (default: what you applied last here).",
        ),
    ] = None,
) -> ExitCode:
    """Take back what you applied last of a thread.

    Your other changes stay. Refuses where the same lines have changed since. Repeat it to go further back.
    """
    async with open_journal(settings) as journal:
        id = (await find_thread(journal, thread)).id if thread else await _last_applied(journal)
        row = await find_thread(journal, id)
        await recover(console, Path(row.repo))
        return await undo_apply(console, journal, id, settings.home)


async def undo_apply(
    console: "CliConsole", journal: "Journal[Event]", thread_id: str, home: Path
) -> ExitCode:
    """Take back what was applied last of a thread, and tell which files are as before."""
    from graph.delivery import undo as take_back

    undone = await take_back(journal, thread_id, home)
    files = ", ".join(map(one_line, undone.paths)) or "your checkout had nothing of it any more"
    console.print(f"Took back {pluralize(len(undone.paths), 'file')} of {thread_id}: {files}", style="green")
    if undone.committed:
        committed = ", ".join(map(one_line, undone.committed))
        console.notify(
            f"You had committed {committed}. Your commits stay, and this is a change on top: commit it, "
            "or drop it with `git restore`."
        )
    return ExitCode.VERIFIED


async def _last_applied(journal: "Journal[Event]") -> str:
    from graph.delivery import newest_application
    from tools.workspace import WorkspaceError

    threads = {row.id for row in await journal.threads.all()}
    try:
        thread = await newest_application(Path.cwd(), threads)
    except WorkspaceError as error:
        raise UsageError(f"{error}; name the thread: autocode undo THREAD") from error
    if thread is None:
        raise UsageError("nothing that a thread delivered is applied in this repository; name the thread")
    return thread


async def _delivery(settings: "Settings", console: "CliConsole", thread: str, whole: bool) -> "Delivery":
    from graph.delivery import Delivery

    async with open_journal(settings) as journal:
        delivery = await Delivery.of_thread(journal, (await find_thread(journal, thread)).id, whole=whole)
    await recover(console, delivery.repo)
    return delivery


async def recover(console: "CliConsole", repo: Path) -> None:
    """Undo an apply to a checkout that was interrupted, and tell the user."""
    from tools.workspace import Workspace

    if message := await asyncio.to_thread(lambda: Workspace.open(repo).recover()):
        console.notify(message)
