"""The command `serve`. The server itself is in `server/serve.py`."""

from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.commands.options import EnvFileOption
from server.cli.entry import run_command

if TYPE_CHECKING:
    from graph.settings import Settings
    from server.cli.views.console import CliConsole


def serve(
    host: Annotated[
        str | None, typer.Option("--host", metavar="NAME", help="Address to listen on (default 127.0.0.1).")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, metavar="N", help="Port to listen on (default 8000)."),
    ] = None,
    env_file: EnvFileOption = None,
) -> None:
    """Serve the web page and the APIs.

    An address other than 127.0.0.1 needs AUTOCODE_API_KEY and AUTOCODE_REPOS.
    """

    async def body(settings: "Settings", console: "CliConsole") -> int:
        from server.serve import serve

        flags = {"autocode_host": host, "autocode_port": port}
        changes = {name: value for name, value in flags.items() if value is not None}
        return await serve(settings.model_copy(update=changes), console)

    run_command(body, env_file)
