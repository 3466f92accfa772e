"""What routes are given of the application that they belong to."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from graph.settings import Settings
from graph.supervisor import Supervisor


def _supervisor(connection: HTTPConnection) -> Supervisor:
    found: Supervisor = connection.app.state.supervisor
    return found


def _settings(connection: HTTPConnection) -> Settings:
    found: Settings = connection.app.state.settings
    return found


Supervised = Annotated[Supervisor, Depends(_supervisor)]
Configured = Annotated[Settings, Depends(_settings)]
