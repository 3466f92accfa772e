"""The command verify: runs a delivered commit's proof again, and says whether it holds."""

import asyncio
from contextlib import aclosing
from pathlib import Path

from pydantic import ValidationError
from rich.text import Text

from graph.component_settings import open_journal
from graph.resources import open_resources
from graph.settings import Settings
from nodes.check import compare, prove
from nodes.proof import Proof
from sandbox.base import Limits
from server.cli.exit_codes import ExitCode, UsageError
from server.cli.views.console import CliConsole
from server.cli.views.format import one_line, pluralize, sanitize
from tools.workspace import Workspace, WorkspaceError


async def verify(settings: Settings, face: CliConsole, name: str, repo: Path) -> ExitCode:
    """Prove `name` in `repo` once more; verified only when nothing differs and nothing was missing."""
    workspace = await asyncio.to_thread(Workspace.open, repo)
    commit = workspace.resolve(name)
    recorded = read_proof(workspace, commit)
    again = await _prove(settings, face, workspace, recorded, commit)
    differences = [*_foreign(workspace, recorded, commit), *compare(recorded, again)]
    for difference in differences:
        face.print(Text(f"  {one_line(difference)}", style="red"))
    for missing in recorded.missing:
        face.print(Text(f"  missing: {one_line(missing)}", style="yellow"))
    proving = pluralize(len(again.fail_to_pass), "case")
    counts = f"{again.passed} of {again.total} passed, {proving} prove the change"
    if differences:
        face.print(Text(f"The proof of {commit[:12]} does NOT hold ({counts}).", style="bold red"))
        return ExitCode.UNVERIFIED
    if recorded.missing or not recorded.proves:
        face.print(
            Text(f"{commit[:12]} was delivered as not verified, and still is ({counts}).", style="bold red")
        )
        return ExitCode.UNVERIFIED
    face.print(Text(f"The proof of {commit[:12]} holds: {counts}.", style="bold green"))
    return ExitCode.VERIFIED


def read_proof(workspace: Workspace, commit: str) -> Proof:
    """Return the proof in a commit's note. Raises Usage where there is none."""
    note = workspace.read_note(commit)
    if note is None or note.strip() == "{}":
        where = f"{commit[:12]} carries no proof"
        raise UsageError(
            f"{where}; notes come with: git fetch origin 'refs/notes/autocode:refs/notes/autocode'"
        )
    try:
        return Proof.model_validate_json(note)
    except ValidationError as error:
        raise UsageError(
            f"the note of {commit[:12]} is not a proof: {sanitize(error.errors()[0]['msg'])}"
        ) from error


async def _prove(
    settings: Settings, face: CliConsole, workspace: Workspace, recorded: Proof, commit: str
) -> Proof:
    """Run the proof's checks on the commit itself, beside the base that the proof names."""
    async with (
        aclosing(await open_journal(settings)) as journal,
        open_resources(settings, journal, face.say) as resources,
    ):
        return await prove(
            workspace,
            await resources.sandbox(),
            recorded.base,
            commit,
            limits=Limits(seconds=settings.sandbox_timeout),
            cache=journal.checks,
            notify=lambda type, data: (
                face.say(f"sandbox: {data['what']}") if type == "sandbox.started" else None
            ),
            untestable=recorded.untestable,
        )


def _foreign(workspace: Workspace, recorded: Proof, commit: str) -> list[str]:
    """Tell a proof that was made for another change."""
    try:
        parent = workspace.resolve(f"{commit}^")
    except WorkspaceError:
        return ["the commit has no parent, so it changes nothing that could be proved"]
    return (
        [] if parent == recorded.base else [f"base: {recorded.base} was recorded, the commit's is {parent}"]
    )
