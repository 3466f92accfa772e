"""The commands on this machine: the server, and what it finds installed."""

from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.commands.body import carry
from server.cli.commands.flags import EnvFile

if TYPE_CHECKING:
    from graph.settings import Settings
    from server.cli.views.console import CliConsole


def serve(
    host: Annotated[
        str | None, typer.Option("--host", metavar="NAME", help="Where to listen: 127.0.0.1, if not said.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, metavar="N", help="8000, if not said.")
    ] = None,
    env_file: EnvFile = None,
) -> None:
    """Serve the web page and the APIs.

    Beyond 127.0.0.1 it wants AUTOCODE_API_KEY and AUTOCODE_REPOS.
    """

    async def body(settings: "Settings", face: "CliConsole") -> int:
        from server.serve import serve

        chosen = {"autocode_host": host, "autocode_port": port}
        given = {name: value for name, value in chosen.items() if value is not None}
        return await serve(settings.model_copy(update=given), face)

    carry(body, env_file)


def doctor(env_file: EnvFile = None) -> None:
    """Say what is found and what is missing.

    With the cure for each; exit code 5 if something essential is missing.
    """

    async def body(settings: "Settings", face: "CliConsole") -> int:
        from server.cli.doctor import examine

        return await examine(settings, face)

    carry(body, env_file)
