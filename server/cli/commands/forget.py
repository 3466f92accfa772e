"""The command `forget`: remove a thread with all that it left."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from typer import Option

from server.cli.commands.options import ThreadArgument
from server.cli.entry import command
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.thread_names import find_thread
from server.cli.views.format import first_line, one_line, pluralize

if TYPE_CHECKING:
    from graph.forgetting import Forgotten
    from graph.settings import Settings
    from server.cli.views.console import CliConsole


@command
async def forget(
    settings: "Settings",
    console: "CliConsole",
    thread: ThreadArgument,
    yes: Annotated[bool, Option("--yes", help="Do not ask.")] = False,
) -> ExitCode:
    """Forget a thread with its branches, proofs and memories.

    Its snapshots and records go too. A branch that is checked out, or has commits of your own, stays.
    """
    from graph.forgetting import forget as delete
    from graph.forgetting import survey
    from graph.supervisor import Supervisor
    from server.cli.views.approval_prompts import confirm

    async with Supervisor.open(settings, console.notify, foreground=True) as supervisor:
        id = (await find_thread(supervisor.journal, thread)).id
        if yes and thread not in (id, "last"):  # a prefix of what is gone may name another thread
            raise UsageError(f"without asking, a thread is named in full: autocode forget {id} --yes")
        if not yes:
            if not console.can_ask:
                raise UsageError("there is no terminal to ask on; --yes forgets without asking")
            for line in _losses(await survey(supervisor.history, id)):
                console.write(line)
            if not confirm(console.out, "Forget it?"):
                console.notify("Nothing was deleted.")
                return ExitCode.UNVERIFIED
        forgotten = await delete(supervisor.history, id)
    for line in _deleted(forgotten):
        console.notify(line)
    return ExitCode.VERIFIED


def _losses(losses: "Forgotten") -> Iterator[str]:
    yield f"Thread {losses.thread.id}: {first_line(losses.thread.task, 100)}"
    yield one_line(losses.thread.repo)
    if losses.unapplied:
        lost = "is neither applied nor merged, and is lost"
        yield f"  {pluralize(losses.unapplied, 'changed file')} {lost}"
    for branch in losses.branches:
        name = one_line(branch.name)
        yield f"  {name} stays: {one_line(branch.kept)}" if branch.kept else f"  {name} is deleted"
    if losses.problem:
        yield f"  Its repository cannot be read, and branches stay: {one_line(losses.problem)}"


def _deleted(forgotten: "Forgotten") -> Iterator[str]:
    yield f"Thread {forgotten.thread.id} is forgotten."
    for branch in forgotten.branches:
        name, commit = one_line(branch.name), branch.commit[:10]
        if branch.kept:
            yield f"The branch {name} stays: {one_line(branch.kept)}."
        else:
            yield f"Deleted {name}. For some days this brings it back: git branch {name} {commit}"
    if forgotten.problem:
        yield f"Branches stay, as the repository cannot be read: {one_line(forgotten.problem)}"
