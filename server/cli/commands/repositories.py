"""The commands on a repository: a proof run again, an index made."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.commands.body import carry
from server.cli.commands.flags import EnvFile, Repo

if TYPE_CHECKING:
    from graph.settings import Settings
    from server.cli.views.console import CliConsole


def verify(
    commit: Annotated[
        str, typer.Argument(metavar="COMMIT", help="A commit or branch that AutoCodeAI delivered.")
    ],
    repo: Repo = Path(),
    env_file: EnvFile = None,
) -> None:
    """Run a proof again and compare.

    Exit code 0 if it holds, 1 if not.
    """

    async def body(settings: "Settings", face: "CliConsole") -> int:
        from server.cli.verify import verify

        return await verify(settings, face, commit, repo)

    carry(body, env_file)


def index(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that holds the repository.")],
    search: Annotated[
        str | None, typer.Option("--search", metavar="QUERY", help="Show what answers this best.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on, and say what changes, until Ctrl-C.")
    ] = False,
    env_file: EnvFile = None,
) -> None:
    """Index a repository for search by words and by meaning.

    What is unchanged is not read again; Ctrl-C leaves what is done.
    """

    async def body(settings: "Settings", face: "CliConsole") -> int:
        from server.cli.index_command import index

        if watch:
            from server.cli.index_watch import watch as follow

            return await follow(settings, face, folder, search)
        return await index(settings, face, folder, search)

    carry(body, env_file)
