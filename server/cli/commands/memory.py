"""The commands on what earlier tasks taught: `autocode memory …`."""

from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.commands.body import carry
from server.cli.commands.flags import EnvFile

if TYPE_CHECKING:
    from graph.settings import Settings
    from server.cli.views.console import CliConsole

memory = typer.Typer(
    help="What was learned from earlier verified tasks.", no_args_is_help=True, rich_markup_mode=None
)


@memory.command("list")
def memory_list(
    json: Annotated[bool, typer.Option("--json", help="A JSON array of everything remembered.")] = False,
    env_file: EnvFile = None,
) -> None:
    """List what is remembered, newest first."""

    async def body(settings: "Settings", face: "CliConsole") -> int:
        from server.cli.memory_commands import listing

        return await listing(settings, face)

    carry(body, env_file, json)


@memory.command("search")
def memory_search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A task, in your words.")],
    json: Annotated[bool, typer.Option("--json", help="A JSON array, most alike first.")] = False,
    env_file: EnvFile = None,
) -> None:
    """Show the earlier tasks most like QUERY.

    With their similarity, from 0 to 1; a run is given only those that are alike enough.
    """

    async def body(settings: "Settings", face: "CliConsole") -> int:
        from server.cli.memory_commands import search

        return await search(settings, face, query)

    carry(body, env_file, json)


@memory.command("forget")
def memory_forget(
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Ids, as `autocode memory list` shows them.")
    ] = [],  # noqa: B006
    all: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
    env_file: EnvFile = None,
) -> None:
    """Forget earlier tasks for good."""

    async def body(settings: "Settings", face: "CliConsole") -> int:
        from server.cli.memory_commands import forget

        return await forget(settings, face, ids, all)

    carry(body, env_file)
