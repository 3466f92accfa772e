"""Chroma's own clients: they read no `.env`, report nothing home and write no log to the terminal."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from memory.vectors.base import VectorsUnavailable

if TYPE_CHECKING:
    import httpx
    from chromadb.api.client import Client

REACH_SECONDS = 3.0
"""How long a server may take to say that it is there."""

CALL_SECONDS = 5.0
"""How long a server may be silent in a call, a search's too; Chroma's own client would wait for ever."""


def embedded(folder: Path) -> "Client":
    """Open a store in a folder that no other process uses; raises whatever Chroma raises."""
    load()
    import chromadb
    from chromadb.api.shared_system_client import SharedSystemClient

    settings = _settings(chroma_api_impl="chromadb.api.rust.RustBindingsAPI")
    try:
        return cast("Client", chromadb.PersistentClient(folder, settings))
    except BaseException:
        # What failed to start would be handed out again for the same folder.
        SharedSystemClient._identifier_to_system.pop(str(folder), None)
        raise


def server(host: str, port: int) -> "Client":
    """Open a client of a server; raises whatever Chroma and httpx raise."""
    load()
    import chromadb
    import httpx
    from chromadb.api.fastapi import FastAPI

    url = FastAPI.resolve_url(host, default_api_path="/api/v2", chroma_server_http_port=port)
    httpx.get(f"{url}/heartbeat", timeout=REACH_SECONDS).raise_for_status()
    settings = _settings(chroma_server_host=host, chroma_server_http_port=port)
    client = cast("Client", chromadb.HttpClient(host, port, settings=settings))
    for session in _sessions(client):
        session.timeout = httpx.Timeout(CALL_SECONDS)
    return client


def close(client: "Client") -> None:
    """Close a client with its connections, which Chroma leaves open."""
    sessions = _sessions(client)
    client.close()
    for session in sessions:
        session.close()


def _sessions(client: "Client") -> "list[httpx.Client]":
    """The connections of a server's client, which have no public name; none of an embedded store's."""
    servers: list[Any] = [client._server, getattr(client._admin_client, "_server", None)]
    return [server._session for server in servers if hasattr(server, "_session")]


def _settings(**given: Any) -> Any:
    from chromadb.config import Settings

    return Settings(_env_file=None, anonymized_telemetry=False, **given)


def load() -> None:
    """Import Chroma, which looks into the environment and a `.env` where we are, and may not like it."""
    try:
        import chromadb  # noqa: F401
    except ValidationError as error:
        names = ", ".join(sorted({str(fault["loc"][0]) for fault in error.errors(include_input=False)}))
        raise VectorsUnavailable(f"Chroma does not start with {names.upper()} as set here") from error
    logger = logging.getLogger("chromadb")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
