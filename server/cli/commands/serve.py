"""The command `serve`. The server itself is in `server/serve.py`."""

from typing import TYPE_CHECKING, Annotated

from typer import Option

from server.cli.entry import command

if TYPE_CHECKING:
    from graph.settings import Settings
    from server.cli.views.console import CliConsole


@command
async def serve(
    settings: "Settings",
    console: "CliConsole",
    host: Annotated[
        str | None, Option(metavar="NAME", help="Address to listen on (default 127.0.0.1).")
    ] = None,
    port: Annotated[
        int | None, Option(min=0, max=65535, metavar="N", help="Port to listen on (default 8000).")
    ] = None,
) -> int:
    """Serve the web page and the APIs.

    An address other than 127.0.0.1 needs AUTOCODE_API_KEY and AUTOCODE_REPOS.
    """
    from server.serve import serve

    flags = {"autocode_host": host, "autocode_port": port}
    changes = {name: value for name, value in flags.items() if value is not None}
    return await serve(settings.model_copy(update=changes), console)
