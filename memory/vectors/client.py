"""Clients of Chroma that read no `.env`, send no telemetry and write no log to the terminal."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

if TYPE_CHECKING:
    import httpx
    from chromadb.api.client import Client

CONNECT_SECONDS = 3.0
"""Limit for a server's first answer."""

CALL_SECONDS = 5.0
"""Limit for one call to a server. Chroma's own client has none."""


class VectorsUnavailable(Exception):
    """Vectors cannot be used now. The message says why. Full-text search works without them."""


def embedded(folder: Path) -> "Client":
    """Open a store in a folder that no other process uses. Raises whatever Chroma raises."""
    load()
    import chromadb
    from chromadb.api.shared_system_client import SharedSystemClient

    settings = _settings(chroma_api_impl="chromadb.api.rust.RustBindingsAPI")
    try:
        return cast("Client", chromadb.PersistentClient(folder, settings))
    except BaseException:
        # Chroma caches the system that failed to start and would return it again for this folder.
        SharedSystemClient._identifier_to_system.pop(str(folder), None)
        raise


def server(host: str, port: int) -> "Client":
    """Connect to a server. Raises whatever Chroma and httpx raise."""
    load()
    import chromadb
    import httpx
    from chromadb.api.fastapi import FastAPI

    url = FastAPI.resolve_url(host, default_api_path="/api/v2", chroma_server_http_port=port)
    httpx.get(f"{url}/heartbeat", timeout=CONNECT_SECONDS).raise_for_status()
    settings = _settings(chroma_server_host=host, chroma_server_http_port=port)
    client = cast("Client", chromadb.HttpClient(host, port, settings=settings))
    for session in _sessions(client):
        session.timeout = httpx.Timeout(CALL_SECONDS)
    return client


def close(client: "Client") -> None:
    """Close a client and its connections."""
    sessions = _sessions(client)
    client.close()
    for session in sessions:  # Chroma leaves them open
        session.close()


def _sessions(client: "Client") -> "list[httpx.Client]":
    """Return the HTTP sessions of a client. An embedded store has none."""
    # Chroma offers no public way to set a timeout or to close its connections.
    servers: list[Any] = [client._server, getattr(client._admin_client, "_server", None)]
    return [server._session for server in servers if hasattr(server, "_session")]


def _settings(**values: Any) -> Any:
    from chromadb.config import Settings

    return Settings(_env_file=None, anonymized_telemetry=False, **values)


def load() -> None:
    """Import Chroma. Raises VectorsUnavailable if its import rejects a setting."""
    try:
        # The import itself reads the environment and the `.env` of the current folder.
        import chromadb  # noqa: F401
    except ValidationError as error:
        names = ", ".join(sorted({str(fault["loc"][0]) for fault in error.errors(include_input=False)}))
        raise VectorsUnavailable(
            f"Chroma does not start with {names.upper()} as set here; correct or remove the setting"
        ) from error
    logging.getLogger("chromadb").addHandler(logging.NullHandler())
