"""The command `verify`: run the proof of a delivered commit again and compare."""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument

from server.cli.commands.options import RepoOption
from server.cli.entry import command
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.views.format import one_line, pluralize, sanitize

if TYPE_CHECKING:
    from graph.settings import Settings
    from nodes.proof import Proof
    from server.cli.views.console import CliConsole
    from tools.workspace import Workspace


@command
async def verify(
    settings: "Settings",
    console: "CliConsole",
    name: Annotated[str, Argument(metavar="COMMIT", help="A commit or branch that AutoCodeAI delivered.")],
    repo: RepoOption = Path(),
) -> ExitCode:
    """Run the proof of a commit again.

    Exit code 0 if it holds, 1 if not.
    """
    from nodes.check import compare, remarks
    from nodes.dialogue import results
    from tools.workspace import Workspace

    workspace = await asyncio.to_thread(Workspace.open, repo)
    commit = workspace.resolve(name)
    recorded = _read_proof(workspace, commit)
    repeated = await _prove_again(settings, console, workspace, recorded, commit)
    differences = compare(recorded, repeated)
    # A note can be copied to another commit. Its proof would then be about another change.
    if recorded.base != (parent := _parent(workspace, commit)):
        copied = f"base: the proof names {recorded.base}, but the commit's parent is {parent}"
        differences = [copied, *differences]
    for difference in differences:
        console.print(f"  {one_line(difference)}", style="red")
    for missing in recorded.missing:
        console.print(f"  missing: {one_line(missing)}", style="yellow")
    for remark in remarks(recorded, repeated):
        console.print(f"  {one_line(remark)}", style="yellow")
    signed = _signed(recorded, repeated)
    weaknesses = results.weaknesses(signed)
    for flag in (*map(str, weaknesses), *repeated.gaps):
        console.print(f"  {one_line(flag)}", style="yellow")
    counts = one_line(results.figures(repeated))
    if differences:
        console.print(f"The proof of {commit[:12]} does NOT hold ({counts}).", style="bold red")
        return ExitCode.UNVERIFIED
    if recorded.missing or not recorded.proves:
        message = f"{commit[:12]} was delivered without a complete proof, and the result is the same"
        console.print(f"{message} ({counts}).", style="bold red")
        return ExitCode.UNVERIFIED
    # A note can leave out what would tell, as if an older version had written it.
    if repeated.gaps or not signed.proves:
        console.print(f"{commit[:12]} is not verified by what ran now ({counts}).", style="bold red")
        return ExitCode.UNVERIFIED
    if weaknesses:
        counts += f"; read the {pluralize(len(weaknesses), 'weakness', 'weaknesses')} above"
    console.print(f"The proof of {commit[:12]} holds: {counts}.", style="bold green")
    return ExitCode.VERIFIED


def _signed(recorded: "Proof", repeated: "Proof") -> "Proof":
    """Return the repeated proof with what the agents said about the recorded one."""
    answers = {(place.file, place.line, place.text): place.answer for place in recorded.suspicious}
    suspicious = [
        place.model_copy(update={"answer": answers.get((place.file, place.line, place.text), "")})
        for place in repeated.suspicious
    ]
    said = ("demanded", "untestable", "consent", "not_the_change")
    signature: dict[str, object] = {name: getattr(recorded, name) for name in said}
    return repeated.model_copy(update=signature | {"suspicious": suspicious})


def _read_proof(workspace: "Workspace", commit: str) -> "Proof":
    """Return the proof in the note of a commit. Raise UsageError if there is none."""
    from pydantic import ValidationError

    from nodes.proof import Proof

    note = workspace.read_note(commit)
    if note is None or note.strip() == "{}":
        fetch = "git fetch origin 'refs/notes/autocode:refs/notes/autocode'"
        raise UsageError(f"{commit[:12]} has no proof; if it came from a remote, fetch its note: {fetch}")
    try:
        return Proof.model_validate_json(note)
    except ValidationError as error:
        reason = sanitize(error.errors()[0]["msg"])
        raise UsageError(f"the note of {commit[:12]} is not a proof: {reason}") from error


async def _prove_again(
    settings: "Settings", console: "CliConsole", workspace: "Workspace", recorded: "Proof", commit: str
) -> "Proof":
    """Run the checks of a proof on the commit and on the base that the proof names."""
    from graph.event_log import open_journal
    from graph.resources import open_resources
    from nodes.check import PackageSandboxes, prove

    def notify(type: str, data: Mapping[str, Any]) -> None:
        if type == "sandbox.started":
            console.notify(f"sandbox: {data['what']}")

    async with (
        aclosing(await open_journal(settings)) as journal,
        open_resources(settings, journal, console.notify) as resources,
    ):
        packages = await PackageSandboxes.find(resources.preparation, workspace, recorded.base, commit)
        return await prove(
            workspace,
            packages,
            recorded.base,
            commit,
            limits=settings.sandbox_limits(),
            seconds=settings.suite_seconds,
            cache=journal.checks,
            notify=notify,
            untestable=recorded.untestable,
        )


def _parent(workspace: "Workspace", commit: str) -> str:
    from tools.workspace import WorkspaceError

    try:
        return workspace.resolve(f"{commit}^")
    except WorkspaceError:
        return "missing, so there is no change to prove"
