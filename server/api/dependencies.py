"""Parameters and look-ups that routes share."""

from typing import Annotated

from fastapi import Depends, Path
from starlette.requests import HTTPConnection

from graph.errors import UnknownThread
from graph.supervisor import Supervisor
from memory.records.threads import ThreadRow
from server.api.schemas import ThreadId


# HTTPConnection instead of Request, because WebSockets use it too.
def _supervisor(connection: HTTPConnection) -> Supervisor:
    supervisor: Supervisor = connection.app.state.supervisor
    return supervisor


def client_of(connection: HTTPConnection) -> str:
    """Return the address of the client, empty on a socket without addresses."""
    return connection.client.host if connection.client else ""


ClientDep = Annotated[str, Depends(client_of)]
"""The address of the client, which the log keeps beside its answers."""

SupervisorDep = Annotated[Supervisor, Depends(_supervisor)]
ThreadPath = Annotated[ThreadId, Path(description="A thread.")]


async def find_thread(supervisor: Supervisor, thread_id: str) -> ThreadRow:
    """Return a stored thread. Raises UnknownThread."""
    row = await supervisor.journal.threads.get(thread_id)
    if row is None:
        raise UnknownThread(f"there is no thread {thread_id}")
    return row
